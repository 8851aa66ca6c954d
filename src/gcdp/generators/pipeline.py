"""A trained model ready to use: captions in, pairs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcdp.devices import default_device
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.sampling import Guidance, Noise, ReverseProcess, ReverseSettings, sample_seeds
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.generators.samples import Samples
from gcdp.network.unet import TextContext, UNet
from gcdp.text.encoder import load_encoder
from gcdp.training.checkpoint import ModelCard, load_model

# The network always sees batches of this size: other sizes round differently in the last bit, and one label drawn
# otherwise changes the rest of its picture.
NETWORK_BATCH = {"cpu": 16, "cuda": 64}


class Pipeline:
    """Network, process and text encoder of one checkpoint. Made by `load_pipeline`."""

    def __init__(self, unet: UNet, process: GaussianCategoricalDiffusion, card: ModelCard, text):
        self.unet, self.process, self.card = unet, process, card
        self._text = text
        self.device = next(unet.parameters()).device
        self._batch = NETWORK_BATCH.get(self.device.type, 16)

    @property
    def classes(self):
        """The class table of the layouts."""
        return self.card.classes

    @torch.inference_mode()
    def sample(
        self,
        captions: str | Sequence[str],
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 2.0,
        seed: int | Sequence[int] = 0,
        *,
        images: np.ndarray | None = None,
        layouts: np.ndarray | None = None,
        eta: float = 1.0,
        threshold: float = 0.95,
        final: str = "mode",
        order: int = 1,
        progress: bool = False,
        on_step: Callable[[slice, int, np.ndarray | None, np.ndarray | None], None] | None = None,
    ) -> Samples:
        """Draw one pair for each caption.

        Args:
            captions: one string or several.
            num_steps: jumps of the reverse process, 1..T.
            guidance: one scale for both halves, or (image, layout); 1 is the plain model, 0 ignores the text.
            seed: one number for the whole call, or one a caption. Equal caption and seed give an equal pair on the
                same machine, whatever else is drawn beside it.
            images, layouts: a known half, uint8 (B, H, W, 3) or (B, H, W); the other half is then drawn given it.
            eta, threshold, final, order: see `ReverseSettings`.
            progress: show a progress bar over batches.
            on_step: called as on_step(rows, s, images, layouts) after every jump to time s, for one network batch
                at a time: `rows` says which captions it holds, the arrays are their noisy pairs, in the form of
                `Samples`. It only looks on; the pairs drawn are the same without it.

        Raises ConfigError for settings out of range, DataError for captions that the encoder cannot take or known
        halves of the wrong shape.
        """
        captions = _checked_captions(captions)
        seeds = _seeds(seed, len(captions))
        guidance = Guidance.of(guidance)
        reverse = ReverseProcess(self.process, ReverseSettings(num_steps, eta, threshold, final, order))
        if images is not None and layouts is not None:
            raise ConfigError("images and layouts are both given, so nothing is left to draw: leave one of them out")
        known = self._known_image(images, len(captions)), self._known_layout(layouts, len(captions))
        drawn = []
        for start in _bar(range(0, len(captions), self._batch), progress):
            rows = slice(start, start + self._batch)
            part = [None if half is None else half[rows] for half in known]
            look = None if on_step is None else partial(on_step, slice(start, start + len(captions[rows])))
            drawn.append(self._sample_batch(captions[rows], seeds[rows], part, guidance, reverse, look))
        x, y = (None if part[0] is None else np.concatenate(part) for part in zip(*drawn, strict=True))
        settings = {
            "num_steps": num_steps,
            "guidance_image": guidance.image,
            "guidance_layout": guidance.layout,
            "eta": eta,
            "threshold": threshold,
            "final": final,
            "order": order,
            "card": self.card.hash(),
        }
        return Samples(x, y, captions, seeds, settings)

    def _sample_batch(self, captions, seeds, known, guidance, reverse, look=None):
        """At most one network batch, padded with repeats of the last sample to its full size."""
        count, padding = len(captions), self._batch - len(captions)
        captions, seeds = captions + captions[-1:] * padding, seeds + seeds[-1:] * padding
        known = [None if h is None else torch.cat([h, h[-1:].expand(padding, *h.shape[1:])]) for h in known]
        denoise = self._denoiser(self._context(captions), guidance)
        hook = None if look is None else lambda s, x, y: look(s, *self._arrays(x, y, count))
        size, channels = self._map_size, self.card.unet.image_channels
        drawn = reverse.run(denoise, size, Noise(seeds, self.device), *known, on_step=hook, channels=channels)
        return self._arrays(*drawn, count)

    @property
    def _map_size(self) -> tuple[int, int]:
        """Height and width of what the network draws."""
        return self.card.size

    def _arrays(self, x: Tensor | None, y: Tensor | None, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The first `count` pairs of a network batch as uint8 images (B, H, W, 3) and layouts (B, H, W)."""
        images = None if x is None else to_uint8(self._pixels(x)[:count])
        return images, None if y is None else y[:count].byte().cpu().numpy()

    def _pixels(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] of what the network draws, one network batch at a time."""
        return x

    def _context(self, captions: list[str]) -> TextContext:
        # one caption at a time: encoders round differently in batches of another padded length
        unique = list(dict.fromkeys(captions))
        parts = {}
        for caption in unique:
            states, mask = self._text([caption])
            parts[caption] = self.unet.encode_text(states.to(self.device), mask.to(self.device))
        chosen = [parts[caption] for caption in captions]
        return TextContext(*(torch.cat(fields) for fields in zip(*chosen, strict=True)))

    def _denoiser(self, context: TextContext, guidance: Guidance):
        null = None
        if guidance.needs_null():
            width, count = self.card.unet.text_width, len(context.tokens)
            states = torch.zeros(count, 1, width, device=self.device)
            null = self.unet.encode_text(states, torch.zeros(count, 1, dtype=torch.bool, device=self.device))

        def denoise(x, y, log_snr_x, log_snr_y):
            if guidance.ignores_text():
                unconditional = self.unet(x, y, log_snr_x, log_snr_y, null)
                return unconditional.image, unconditional.layout
            conditional = self.unet(x, y, log_snr_x, log_snr_y, context)
            if null is None:
                return conditional.image, conditional.layout
            unconditional = self.unet(x, y, log_snr_x, log_snr_y, null)
            return (
                guidance.mix(guidance.image, unconditional.image, conditional.image),
                guidance.mix(guidance.layout, unconditional.layout, conditional.layout),
            )

        return denoise

    def _known_image(self, images, count: int) -> Tensor | None:
        if images is None:
            return None
        if self.process.gaussian is None:
            raise DataError("this model has no image half: leave `images` out")
        images = np.asarray(images)
        if images.shape != (count, *self.card.size, 3) or images.dtype != np.uint8:
            raise DataError(f"images must be uint8 {(count, *self.card.size, 3)}, got {images.dtype} {images.shape}")
        x = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return x.to(self.device)

    def _known_layout(self, layouts, count: int) -> Tensor | None:
        if layouts is None:
            return None
        if self.process.categorical is None:
            raise DataError("this model has no layout half: leave `layouts` out")
        y = torch.as_tensor(np.asarray(layouts).astype(np.int64))
        classes = self.classes.num_classes
        if tuple(y.shape) != (count, *self.card.size):
            raise DataError(f"layouts must have shape {(count, *self.card.size)}, got {tuple(y.shape)}")
        if count and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise DataError(f"layouts hold a class id outside 0..{classes - 1}: map it to the model's classes first")
        return y.to(self.device)


def load_pipeline(path: str | Path, device: str | None = None, text_folder: str | Path | None = None) -> Pipeline:
    """Load a model folder (model.safetensors + config.json) with the text encoder it was trained with.

    Args:
        path: the folder, e.g. weights/toy-streets-joint or results/<profile>/models/<domain>-<model>.
        device: "cpu", "cuda", ...; by default CUDA where there is one.
        text_folder: local copy of the encoder's files, for encoders that are not embedded.

    Raises CheckpointError for a missing, damaged or incompatible checkpoint, ConfigError for an unknown encoder.
    """
    unet, process, card = load_model(Path(path))
    if card.unet.image_channels not in (0, 3):
        raise CheckpointError(f"{path} draws latents, not images: open it with gcdp.generators.latent.load_latent")
    encoder = load_encoder(card.encoder, max_tokens=card.max_tokens, folder=text_folder)
    return Pipeline(unet.to(default_device(device)), process, card, encoder.encode)


def _checked_captions(captions: str | Sequence[str]) -> list[str]:
    captions = [captions] if isinstance(captions, str) else list(captions)
    if not captions or not all(isinstance(caption, str) for caption in captions):
        raise DataError("captions must be one string or a list of at least one string")
    return captions


def _seeds(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed a caption. Raises ConfigError for another number of them, or one that is no integer >= 0."""
    if isinstance(seed, Integral):
        return sample_seeds(int(seed), count)
    seeds = list(seed) if isinstance(seed, Iterable) else [seed]
    if not all(isinstance(s, Integral) and s >= 0 for s in seeds):
        raise ConfigError(f"seed must be an integer of at least 0, or one for each caption, got {seed!r}")
    if len(seeds) != count:
        raise ConfigError(f"seed holds {len(seeds)} numbers for {count} captions: give one for each")
    return [int(s) for s in seeds]


def to_uint8(x: Tensor) -> np.ndarray:
    """Images (B, 3, H, W) in [-1, 1] as uint8 (B, H, W, 3)."""
    return x.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _bar(batches, progress: bool):
    if not progress:
        return batches
    from tqdm import tqdm

    return tqdm(batches, "sampling", unit="batch", mininterval=5)
