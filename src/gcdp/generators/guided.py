"""The network as the reverse process calls it: guided by text, in batches of one size, at one precision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from gcdp.devices import has_bfloat16
from gcdp.diffusion.sampling import Denoiser, Guidance
from gcdp.network.conditioning import TextContext
from gcdp.network.unet import LowResolution, UNet
from gcdp.validation import require_one_of

CPU_ROWS = 8  # a row costs the same from 8 rows on
GPU_PIXELS = 2**20  # of all rows together: 128 rows of 64x128, 512 of 32x64; fewer leave a GPU idle
CONTEXTS = 8192  # captions whose contexts are kept, 18 KB each in the paper's network
DTYPES = ("auto", "float32", "bfloat16")


def network_rows(device: torch.device, pixels: int) -> int:
    """Rows of every call of a network that draws maps of so many pixels, whatever is asked for.

    Other numbers of rows round differently in the last bit, and one label drawn otherwise changes the rest of its
    picture.
    """
    return max(CPU_ROWS, min(512, GPU_PIXELS // pixels)) if device.type == "cuda" else CPU_ROWS


class GuidedNetwork:
    """A frozen network with its text encoder.

    Args:
        unet: its weights are laid out channels last, in place; they must not change, since contexts are kept.
        encode: captions (B) -> states (B, L, D) and mask (B, L), as `TextEncoder.encode`.
        dtype: what the network computes in, but for its heads: "float32", "bfloat16", or "auto", which is bfloat16
            where the device has instructions for it and float32 elsewhere. Either gives equal pairs for equal seeds on
            one machine; the pairs of the two differ in detail, so ask for "float32" to compare machines.
        pixels: of one map that the network draws.

    Raises ConfigError for an unknown dtype.
    """

    def __init__(
        self,
        unet: UNet,
        encode: Callable[[list[str]], tuple[Tensor, Tensor]],
        dtype: str = "auto",
        pixels: int = 64 * 128,
    ):
        require_one_of("dtype", dtype, DTYPES)
        self.unet, self.encode = unet.to(memory_format=torch.channels_last), encode
        self.device = next(unet.parameters()).device
        self.rows = network_rows(self.device, pixels)
        fastest = "bfloat16" if has_bfloat16(self.device) else "float32"
        self.dtype = fastest if dtype == "auto" else dtype
        self._contexts: OrderedDict[str, TextContext] = OrderedDict()

    def batch_size(self, guidance: Guidance) -> int:
        """Captions in one call of the network; under guidance each takes two rows, with and without its text."""
        return self.rows // 2 if _both(guidance) else self.rows

    def context(self, captions: Sequence[str | None]) -> TextContext:
        """One row for each caption, that of no text for None. The last `CONTEXTS` captions are encoded once."""
        null = self.unet.null_context(1)
        return TextContext.concatenate([null if text is None else self._encoded(text) for text in captions])

    def denoiser(self, context: TextContext, guidance: Guidance, low: LowResolution | None = None) -> Denoiser:
        """The guided network for the captions of `context`, `batch_size(guidance)` of them.

        `low` is the condition of a network that enlarges, one row a caption.
        """
        null = _as_long(self.unet.null_context(len(context.pooled)), context)
        both = _both(guidance)
        text = TextContext.concatenate([null, context]) if both else null if guidance.ignores_text() else context
        if both and low is not None:
            low = LowResolution(*(_twice(part) for part in low))

        def denoise(x, y, log_snr_x, log_snr_y):
            x = None if x is None else x.contiguous(memory_format=torch.channels_last)
            inputs = x, y, log_snr_x, log_snr_y
            if both:
                inputs = (_twice(part) for part in inputs)
            with self._precision():
                output = self.unet(*inputs, text, low)
            if not both:
                return output.image, output.layout
            return _mixed(guidance, guidance.image, output.image), _mixed(guidance, guidance.layout, output.layout)

        return denoise

    def _encoded(self, caption: str) -> TextContext:
        # one caption at a time: encoders round differently in batches of another padded length
        if caption not in self._contexts:
            states, mask = self.encode([caption])
            self._contexts[caption] = self.unet.encode_text(states.to(self.device), mask.to(self.device))
            if len(self._contexts) > CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(caption)
        return self._contexts[caption]

    def _precision(self) -> AbstractContextManager:
        return nullcontext() if self.dtype == "float32" else torch.autocast(self.device.type, torch.bfloat16)


def _as_long(null: TextContext, context: TextContext) -> TextContext:
    """The context of no text with as many tokens as another has; those that it lacks are hidden by their weights."""
    if context.weights is None:
        return null
    weights, own = torch.zeros_like(context.weights), null.tokens.shape[1]
    weights[:, :own] = 1
    tokens = F.pad(null.tokens, (0, 0, 0, context.tokens.shape[1] - own))
    return TextContext(tokens, null.pooled, weights)


def _twice(rows: Tensor | None) -> Tensor | None:
    return None if rows is None else torch.cat([rows, rows])


def _both(guidance: Guidance) -> bool:
    return guidance.needs_null() and not guidance.ignores_text()


def _mixed(guidance: Guidance, scale: float, output: Tensor | None) -> Tensor | None:
    """Guided output of the two halves of a batch, without text and with it."""
    return None if output is None else guidance.mix(scale, *output.chunk(2))
