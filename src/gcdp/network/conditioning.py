"""Text conditioning: frozen token states become a short context for attention and one vector for the time path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcdp.network.blocks import Attention, TextContext, feed_forward


class Resampler(nn.Module):
    """Perceiver resampler: learned latents read any number of tokens into a fixed number."""

    def __init__(self, width: int, latents: int, depth: int, heads: int, head_width: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, width, heads, head_width), feed_forward(width, 4)]) for _ in range(depth)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        latents = self.latents.to(tokens.dtype).expand(len(tokens), -1, -1)
        for attention, feed in self.layers:
            latents = latents + attention(latents, tokens, mask)
            latents = latents + feed(latents)
        return latents


class TextConditioner(nn.Module):
    """Encoder states -> TextContext. A dropped caption (classifier-free guidance) becomes a learned null token.

    Padding is masked instead of being replaced by nulls, so a caption's context does not depend on how long
    its neighbors in the batch are.

    Args:
        text_width: width of the encoder's states.
        width: width of the context tokens.
        time_width: width of the noise embedding.
        latents: context tokens made by the resampler (the paper: 32 read + 4 pooled = 36).
    """

    POOLED_TOKENS = 4

    def __init__(self, text_width, width, time_width, latents, depth, heads, head_width):
        super().__init__()
        self.project = nn.Linear(text_width, width)
        self.null_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.null_pooled = nn.Parameter(torch.zeros(1, time_width))
        self.resampler = Resampler(width, latents, depth, heads, head_width)
        self.pooled_tokens = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width * self.POOLED_TOKENS))
        self.pooled = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, mask: Tensor, keep: Tensor | None = None) -> TextContext:
        """states (B, L, D), mask (B, L) bool, keep (B,) bool: False drops that caption."""
        tokens = self.project(states)
        if keep is not None:
            mask = mask & keep[:, None]
        tokens = torch.cat([self.null_token.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], 1)
        mask = torch.cat([mask.new_ones(len(mask), 1), mask], 1)
        weights = mask[..., None].to(tokens.dtype)
        mean = (tokens * weights).sum(1) / weights.sum(1)
        summary = self.pooled_tokens(mean).unflatten(-1, (self.POOLED_TOKENS, -1))
        context = self.norm(torch.cat([self.resampler(tokens, mask), summary], 1))
        present = mask[:, 1:].any(1, keepdim=True)
        pooled = self.pooled(mean)
        return TextContext(context, torch.where(present, pooled, self.null_pooled.to(pooled.dtype)))

    def null(self, count: int) -> TextContext:
        """What `count` captions become where `keep` drops them: the context of no text."""
        device = self.null_token.device
        states = torch.zeros(1, 1, self.project.in_features, device=device)
        tokens, pooled, _ = self(states, torch.zeros(1, 1, dtype=torch.bool, device=device))
        return TextContext(tokens.expand(count, -1, -1), pooled.expand(count, -1))
