"""Building blocks of the Efficient U-Net: residual blocks, attention, context gating, resampling, text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8
SKIP_SCALE = 2**-0.5


class TextContext(NamedTuple):
    """Tokens (B, N, C) that attention reads, and a pooled vector (B, E) that joins the noise embedding.

    `weights` (B, N, H, W), at any size, multiply the attention of each pixel to each token; 0 hides a token from a
    pixel, above 1 draws attention to it. None: all are 1.
    """

    tokens: Tensor
    pooled: Tensor
    weights: Tensor | None = None

    def __getitem__(self, rows) -> TextContext:  # select examples, not fields
        return TextContext(*(None if field is None else field[rows] for field in self))

    @classmethod
    def concatenate(cls, contexts: Sequence[TextContext]) -> TextContext:
        """The examples of several contexts in one batch; all of them have weights, or none."""
        return cls(*(None if fields[0] is None else torch.cat(fields) for fields in zip(*contexts, strict=True)))

    def bias(self, size: tuple[int, int]) -> Tensor | None:
        """Logarithms of the weights for a map of H x W pixels, added to attention scores: (B, H W, N), or None."""
        if self.weights is None:
            return None
        return F.adaptive_avg_pool2d(self.weights, size).flatten(2).transpose(1, 2).log()


class NoiseLevelEmbedding(nn.Module):
    """log-SNR (B,) -> (B, width), by fixed Fourier features and a two-layer network."""

    def __init__(self, width: int, frequencies: int = 16):
        super().__init__()
        # periods from far above the range of log-SNR (+-15) down to one nat
        rates = 2 * math.pi / torch.logspace(math.log10(60), 0, frequencies)
        self.register_buffer("rates", rates, persistent=False)
        self.net = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, log_snr: Tensor) -> Tensor:
        phase = log_snr[:, None] * self.rates
        return self.net(torch.cat([log_snr[:, None] / 15, phase.sin(), phase.cos()], 1))


class Attention(nn.Module):
    """Multi-query attention (keys and values shared across heads) with pre-normalization.

    Queries come from `h` (B, N, C). Keys and values come from h itself when `own` is set, and from `context`
    (B, M, D) where given; `mask` (B, M) hides padding of the context, `bias` (B, N, M) is added to the scores of each
    query and each token of the context.
    """

    def __init__(self, width: int, context_width: int | None, heads: int, head_width: int, own: bool = True):
        super().__init__()
        self.heads, self.own = heads, own
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head_width, bias=False) if own else None
        self.context_kv = None
        if context_width:
            self.context_kv = nn.Sequential(nn.LayerNorm(context_width), nn.Linear(context_width, 2 * head_width))
        self.to_out = nn.Linear(heads * head_width, width, bias=False)

    def forward(
        self, h: Tensor, context: Tensor | None = None, mask: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        h = self.norm(h)
        q = self.to_q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        parts = [self.to_kv(h)] if self.own else []
        if self.context_kv is not None:
            parts.append(self.context_kv(context))
            if mask is not None:
                seen = torch.ones(*h.shape[:2], dtype=torch.bool, device=h.device)
                mask = torch.cat([seen, mask], 1) if self.own else mask
        k, v = torch.cat(parts, 1)[:, None].chunk(2, -1)
        mask = None if mask is None else mask[:, None, None]
        if bias is not None and self.context_kv is not None:  # a mask of numbers: those of h itself have none
            mask = F.pad(bias, (k.shape[2] - bias.shape[2], 0))[:, None].to(q.dtype)
        return self.to_out(_attend(q, k, v, mask).transpose(1, 2).flatten(2))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention of q (B, heads, N, d) on shared k, v (B, 1, M, d); mask (B, 1, 1 or N, M), True or added."""
    if q.device.type == "cpu":  # the fused kernel's backward pass is 3 times slower than plain products there
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1).to(v.dtype) @ v
    k, v = (z.expand(-1, q.shape[1], -1, -1) for z in (k, v))
    return F.scaled_dot_product_attention(q, k, v, mask)


class TransformerBlock(nn.Module):
    """Self-attention that also sees the text, then a feed-forward layer, on a feature map (B, C, H, W)."""

    def __init__(self, width: int, context_width: int | None, heads: int, head_width: int, expansion: int = 2):
        super().__init__()
        self.attention = Attention(width, context_width, heads, head_width)
        self.feed_forward = feed_forward(width, expansion)

    def forward(self, h: Tensor, context: TextContext | None) -> Tensor:
        tokens = h.flatten(2).transpose(1, 2)
        read = (None, None, None) if context is None else (context.tokens, None, context.bias(h.shape[2:]))
        tokens = tokens + self.attention(tokens, *read)
        tokens = tokens + self.feed_forward(tokens)
        return tokens.transpose(1, 2).unflatten(2, h.shape[2:])


def feed_forward(width: int, expansion: int) -> nn.Sequential:
    """LayerNorm, widen, GELU, narrow."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width * expansion), nn.GELU(), nn.Linear(width * expansion, width)
    )


class ContextGate(nn.Module):
    """Global-context gating: an attention-pooled summary of the map scales every channel."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Conv2d(width, 1, 1)
        hidden = max(3, width // 2)
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width), nn.Sigmoid())

    def forward(self, h: Tensor) -> Tensor:
        weights = self.score(h).flatten(1).softmax(-1)
        summary = torch.einsum("bcn,bn->bc", h.flatten(2), weights.to(h.dtype))
        return h * self.net(summary)[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two normalized 3x3 convolutions; the noise level scales and shifts between them.

    With `context_width` the text is read between the two by cross-attention, with `gate` the result is gated.
    """

    def __init__(self, width_in, width, time_width, context_width=None, heads=8, head_width=64, gate=False):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, width_in), nn.Conv2d(width_in, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * width))
        self.cross = Attention(width, context_width, heads, head_width, own=False) if context_width else None
        self.gate = ContextGate(width) if gate else nn.Identity()
        self.shortcut = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()

    def forward(self, h: Tensor, time: Tensor, context: TextContext | None = None) -> Tensor:
        out = self.conv1(F.silu(self.norm1(h)))
        if self.cross is not None:
            tokens = out.flatten(2).transpose(1, 2)
            read = self.cross(tokens, context.tokens, bias=context.bias(out.shape[2:]))
            out = out + read.transpose(1, 2).unflatten(2, out.shape[2:])
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, 1)
        out = self.conv2(F.silu(self.norm2(out) * (1 + scale) + shift))
        return self.gate(out) + self.shortcut(h)


class Downsample(nn.Module):
    """Halve the resolution without losing a number: 2x2 blocks become channels, then a 1x1 convolution."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(4 * width_in, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(F.pixel_unshuffle(h, 2))


class Upsample(nn.Module):
    """Double the resolution by pixel shuffle; the four sub-pixels start equal, so no 2-pixel grid is built in."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width_in, 4 * width, 1)
        with torch.no_grad():
            seed = torch.empty(width, width_in, 1, 1, device=self.conv.weight.device)
            nn.init.kaiming_uniform_(seed, a=math.sqrt(5))
            self.conv.weight.copy_(seed.repeat_interleave(4, 0))
            self.conv.bias.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return F.pixel_shuffle(F.silu(self.conv(h)), 2)


class MultiKernelStem(nn.Module):
    """Parallel convolutions of several kernel sizes; the smaller the kernel, the more channels it gets."""

    def __init__(self, channels: int, width: int, kernels: tuple[int, ...]):
        super().__init__()
        widths = [width // 2 ** (i + 1) for i in range(len(kernels) - 1)]
        widths.append(width - sum(widths))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, w, k, padding=k // 2) for w, k in zip(widths, sorted(kernels), strict=True)
        )

    def forward(self, h: Tensor) -> Tensor:
        return torch.cat([conv(h) for conv in self.convs], 1)
