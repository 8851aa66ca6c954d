"""The Efficient U-Net of the paper: one network for the image, the layout, or both.

Every size is in `UNetConfig`, so that the paper's 697 M parameters and a 4 M laptop model are the same code. The
network knows noise levels (log-SNR) and text states, never datasets, schedules or files.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gcdp.errors import ConfigError
from gcdp.network.blocks import (
    GROUPS,
    SKIP_SCALE,
    Downsample,
    MultiKernelStem,
    NoiseLevelEmbedding,
    ResidualBlock,
    TransformerBlock,
    Upsample,
)
from gcdp.network.conditioning import TextConditioner, TextContext
from gcdp.validation import require_range


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the network. The defaults are the paper's base model.

    image_channels or num_classes may be 0: that half is then absent. `own_ends` gives each half its own layers at
    full resolution, where the paper's halves share them. `embedding_scale` is the standard deviation of the layout
    embedding at the start; pixels of images have about 0.5. `low_resolution` adds the input port of the
    super-resolution stage: a noised low-resolution pair and its noise level.
    """

    image_channels: int = 3
    num_classes: int = 20
    layout_embedding: int = 3
    embedding_scale: float = 1.0
    own_ends: bool = False
    low_resolution: bool = False
    stem_width: int = 128
    stem_kernels: tuple[int, ...] = (3, 7, 15)
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    blocks: tuple[int, ...] = (2, 4, 8, 8)
    self_attention: tuple[bool, ...] = (False, True, True, True)
    cross_attention: tuple[bool, ...] = (False, True, True, True)
    heads: int = 8
    head_width: int = 64
    time_width: int = 512
    text_width: int = 1024
    context_width: int = 128
    context_latents: int = 32
    resampler_depth: int = 2

    def __post_init__(self) -> None:
        lengths = {len(v) for v in (self.widths, self.blocks, self.self_attention, self.cross_attention)}
        if len(lengths) != 1:
            raise ConfigError("widths, blocks, self_attention and cross_attention must have one entry a level")
        if not self.image_channels and not self.num_classes:
            raise ConfigError("image_channels and num_classes are both 0, nothing would be generated: set one")
        require_range(self, "image_channels num_classes blocks resampler_depth", 0)
        require_range(self, "layout_embedding stem_width stem_kernels widths heads head_width time_width", 1)
        require_range(self, "text_width context_width context_latents", 1)
        require_range(self, "embedding_scale", 0)
        if any(w % GROUPS for w in (*self.widths, self.stem_width)):
            raise ConfigError(f"widths and stem_width must be multiples of {GROUPS} (group normalization)")
        if not self.widths or not self.stem_kernels or any(k % 2 == 0 for k in self.stem_kernels):
            raise ConfigError("widths and stem_kernels must not be empty, and kernels must be odd")

    @property
    def halves(self) -> dict[str, int]:
        """Input channels of each half that is there."""
        channels = {"image": self.image_channels, "layout": self.layout_embedding if self.num_classes else 0}
        return {half: count * (1 + self.low_resolution) for half, count in channels.items() if count}

    @property
    def downsampling(self) -> int:
        """Factor by which height and width must be divisible."""
        return 2 ** len(self.widths)


class Prediction(NamedTuple):
    """Network output: image (B, 3, H, W), layout logits (B, K, H, W), and the feature maps asked for."""

    image: Tensor | None
    layout: Tensor | None
    features: dict[str, Tensor]


class LowResolution(NamedTuple):
    """Condition of super-resolution: noised pair enlarged to (H, W) and its log-SNR (B,)."""

    x: Tensor | None
    y: Tensor | None
    log_snr: Tensor


class Level(nn.Module):
    """One resolution: an entry block that reads the text, further blocks, and one transformer block.

    On the way up (`skip_width` > 0) the entry block and every further block first take one skip connection each.
    """

    def __init__(self, config: UNetConfig, level: int, width_in: int, width: int, skip_width: int = 0):
        super().__init__()
        context = config.context_width if config.cross_attention[level] else None
        common = {"time_width": config.time_width, "heads": config.heads, "head_width": config.head_width}
        self.entry = ResidualBlock(width_in + skip_width, width, context_width=context, **common)
        self.blocks = nn.ModuleList(
            ResidualBlock(width + skip_width, width, gate=True, **common) for _ in range(config.blocks[level])
        )
        self.transformer = None
        if config.self_attention[level]:
            self.transformer = TransformerBlock(width, context, config.heads, config.head_width)

    def forward(self, h: Tensor, time: Tensor, context: TextContext, skips: list[Tensor] | None = None):
        """Returns the map after the level and the maps after each block, for the skip connections."""
        made = []
        for block in [self.entry, *self.blocks]:
            if skips is not None:
                h = torch.cat([h, skips.pop() * SKIP_SCALE], 1)
            h = block(h, time, context) if block is self.entry else block(h, time)
            made.append(h)
        if self.transformer is not None:
            h = self.transformer(h, context)
            made[-1] = h
        return h, made


class End(nn.Module):
    """The layers at full resolution, of one half or of both: stem, last upsampling, last block and heads."""

    def __init__(self, config: UNetConfig, halves: Sequence[str]):
        super().__init__()
        c, width = config, config.stem_width
        self.halves = tuple(halves)
        self.stem = MultiKernelStem(sum(c.halves[half] for half in halves), width, c.stem_kernels)
        self.upsample = Upsample(c.widths[0], width)
        self.last = ResidualBlock(2 * width, width, c.time_width, gate=True)
        out = {"image": c.image_channels, "layout": c.num_classes}
        self.heads = nn.ModuleDict({half: _zero(nn.Conv2d(width, out[half], 3, padding=1)) for half in halves})

    def enter(self, inputs: dict[str, Tensor]) -> Tensor:
        """Inputs (B, channels, H, W) of each half -> (B, stem_width, H, W)."""
        return self.stem(torch.cat([inputs[half] for half in self.halves], 1))

    def leave(self, h: Tensor, first: Tensor, time: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The trunk's map at half resolution, and what `enter` made -> predictions, and the map that they are read
        from."""
        h = self.last(torch.cat([self.upsample(h), first * SKIP_SCALE], 1), time)
        return {half: _exact(head, h) for half, head in self.heads.items()}, h


class UNet(nn.Module):
    """x_t, y_t, their noise levels and the text -> predictions for both halves."""

    # First and last layers, and what reads noise levels and token states: AdamW's under Muon too.
    EDGES = ("embed", "noise", "low_noise", "text.project", "text.null", "text.resampler.latents")

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = c = config
        self.embed_layout = _embedding(c) if c.num_classes else None
        self.embed_low_layout = _embedding(c) if c.num_classes and c.low_resolution else None
        self.low_noise = NoiseLevelEmbedding(c.time_width) if c.low_resolution else None
        self.noise_x = NoiseLevelEmbedding(c.time_width) if c.image_channels else None
        self.noise_y = NoiseLevelEmbedding(c.time_width) if c.num_classes else None
        self.text = TextConditioner(
            c.text_width, c.context_width, c.time_width, c.context_latents, c.resampler_depth, c.heads, c.head_width
        )
        groups = [[half] for half in c.halves] if c.own_ends else [list(c.halves)]
        self.ends = nn.ModuleList(End(c, group) for group in groups)

        ins = (c.stem_width * len(groups), *c.widths[:-1])
        order = range(len(c.widths))
        self.downsample = nn.ModuleList(Downsample(ins[i], c.widths[i]) for i in order)
        self.down = nn.ModuleList(Level(c, i, c.widths[i], c.widths[i]) for i in order)
        deepest = c.widths[-1]
        context = c.context_width if c.cross_attention[-1] else None
        common = {"time_width": c.time_width, "heads": c.heads, "head_width": c.head_width}
        self.mid_in = ResidualBlock(deepest, deepest, context_width=context, **common)
        self.mid_attention = TransformerBlock(deepest, None, c.heads, c.head_width)
        self.mid_out = ResidualBlock(deepest, deepest, context_width=context, **common)
        self.up = nn.ModuleList(Level(c, i, c.widths[i], c.widths[i], skip_width=c.widths[i]) for i in order)
        self.upsample = nn.ModuleList(Upsample(c.widths[i], ins[i]) for i in order if i)

    @property
    def tap_names(self) -> list[str]:
        """Names under which `forward` returns internal feature maps."""
        levels = range(len(self.down))
        return [f"down.{i}" for i in levels] + ["mid"] + [f"up.{i}" for i in reversed(levels)] + self._ends()

    def _ends(self) -> list[str]:
        """Taps of the last maps: "last", or one for each half with its own end."""
        return ["last"] if len(self.ends) == 1 else [f"last.{end.halves[0]}" for end in self.ends]

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Matrices and kernels between the first and the last layers, which Muon may train."""
        return [
            p
            for name, p in self.named_parameters()
            if p.ndim > 1 and not name.startswith(self.EDGES) and ".stem." not in name and ".heads." not in name
        ]

    @property
    def heads(self) -> dict[str, nn.Conv2d]:
        """The last layer of each half."""
        return {half: head for end in self.ends for half, head in end.heads.items()}

    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters())

    def encode_text(self, states: Tensor, mask: Tensor, keep: Tensor | None = None) -> TextContext:
        """Encoder states (B, L, D) and mask (B, L) -> context; it does not depend on the noise level."""
        return self.text(states, mask, keep)

    def null_context(self, count: int) -> TextContext:
        """The context of no text, `count` times: what classifier-free guidance starts from."""
        return self.text.null(count)

    def forward(
        self,
        x: Tensor | None,
        y: Tensor | None,
        log_snr_x: Tensor,
        log_snr_y: Tensor,
        text: TextContext,
        low: LowResolution | None = None,
        taps: Collection[str] = (),
    ) -> Prediction:
        """x (B, 3, H, W) and labels y (B, H, W), each at its own noise level (B,).

        The heads compute in float32 under autocast too: guidance and the KL multiply the rounding of their outputs.
        `taps` names feature maps to return. Raises ValueError where the shape does not fit the network, a half is
        missing or a tap is unknown.
        """
        if not set(taps) <= set(self.tap_names):
            unknown = min(set(taps) - set(self.tap_names))
            raise ValueError(f"the network has no tap '{unknown}': choose from {', '.join(self.tap_names)}")
        inputs = self._inputs(x, y, low)
        firsts = [end.enter(inputs) for end in self.ends]
        h = torch.cat(firsts, 1)
        time = self._time(log_snr_x, log_snr_y, text, low)
        skips, features = [], {}

        def tap(name: str, h: Tensor) -> Tensor:
            if name in taps:
                features[name] = h
            return h

        for i, (downsample, level) in enumerate(zip(self.downsample, self.down, strict=True)):
            h, made = level(downsample(h), time, text)
            skips.extend(made)
            tap(f"down.{i}", h)
        h = self.mid_attention(self.mid_in(h, time, text), None)
        h = tap("mid", self.mid_out(h, time, text))
        for i in reversed(range(len(self.up))):
            h, _ = self.up[i](h, time, text, skips)
            tap(f"up.{i}", h)
            h = self.upsample[i - 1](h) if i else h
        made = {}
        for name, end, first in zip(self._ends(), self.ends, firsts, strict=True):
            predictions, last = end.leave(h, first, time)
            made |= predictions
            tap(name, last)
        return Prediction(made.get("image"), made.get("layout"), features)

    def _time(self, log_snr_x, log_snr_y, text: TextContext, low: LowResolution | None) -> Tensor:
        time = text.pooled
        if self.noise_x is not None:
            time = time + self.noise_x(log_snr_x)
        if self.noise_y is not None:
            time = time + self.noise_y(log_snr_y)
        return time if self.low_noise is None else time + self.low_noise(low.log_snr)

    def _inputs(self, x: Tensor | None, y: Tensor | None, low: LowResolution | None) -> dict[str, Tensor]:
        if self.config.low_resolution != (low is not None):
            raise ValueError("a super-resolution network needs `low`, and only such a network takes it")
        if (x is None and self.noise_x is not None) or (y is None and self.noise_y is not None):
            raise ValueError("a half is missing: the network takes every half that it predicts, noised or clean")
        parts = {"image": [x], "layout": [] if self.embed_layout is None else [_embedded(self.embed_layout, y)]}
        if low is not None:
            parts["image"] += [low.x]
            parts["layout"] += [] if self.embed_low_layout is None else [_embedded(self.embed_low_layout, low.y)]
        inputs = {half: torch.cat(parts[half], 1) for half in self.config.halves}
        height, width = next(iter(inputs.values())).shape[2:]
        if height % self.config.downsampling or width % self.config.downsampling:
            raise ValueError(f"height and width must be multiples of {self.config.downsampling}, got {height}x{width}")
        return inputs


def _embedding(config: UNetConfig) -> nn.Embedding:
    embedding = nn.Embedding(config.num_classes, config.layout_embedding)
    nn.init.normal_(embedding.weight, std=config.embedding_scale)
    return embedding


def _embedded(embedding: nn.Embedding, labels: Tensor) -> Tensor:
    """Labels (B, H, W) -> (B, channels, H, W)."""
    return embedding(labels).permute(0, 3, 1, 2)


def _exact(head: nn.Conv2d, h: Tensor) -> Tensor:
    if not torch.is_autocast_enabled(h.device.type):
        return head(h)
    with torch.autocast(h.device.type, enabled=False):
        return head(h.float())


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv
