"""The DatasetDDPM rival: an image-only diffusion, and a classifier that reads labels off its inner features.

Baranchuk et al. (2022): an image is noised to a few small times, the frozen network denoises it, and its feature
maps, upsampled and stacked, describe every pixel. A small ensemble learns from labeled pairs to name the pixel's
class, and then labels the images that the same network generates. The classifier never changes the images.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from gcdp.data.images import to_tensor
from gcdp.diffusion.sampling import Guidance
from gcdp.errors import CheckpointError, ConfigError, DataError, TrainingError
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.samples import Samples
from gcdp.network.unet import UNet
from gcdp.validation import build, require_one_of, require_range, to_dict
from gcdp.weights import Guard, load_weights

GUARD = Guard("fit the pixel classifier again")


@dataclass(frozen=True)
class PixelClassifierConfig:
    """What is read off the network, and how the classifier learns. The defaults fit 32x64 pictures and one CPU core."""

    taps: tuple[str, ...] = ()  # feature maps (`UNet.tap_names`); empty reads the way up: mid, up.*, last
    times: tuple[float, ...] = (0.05, 0.15, 0.25)  # noise times as shares of T
    pairs: int = 500  # labeled pairs to learn from, chosen by the seed; all where there are fewer
    pixels: int = 256  # random pixels of each of them
    hidden: tuple[int, ...] = (128, 32)
    members: int = 3  # classifiers whose probabilities are averaged
    epochs: int = 4  # passes over the pixels
    batch_size: int = 256  # pixels a step
    learning_rate: float = 2e-3  # of Adam, with cosine decay
    text_drop: float = 0.2  # share of pairs read with the null text: images made without text are labeled too
    seed: int = 0  # decides pairs, pixels, noise and weights

    def __post_init__(self) -> None:
        require_range(self, "times text_drop", 0, 1)
        require_range(self, "pairs pixels hidden members epochs", 1)
        require_range(self, "batch_size", 2)
        require_range(self, "learning_rate seed", 0)
        if not self.times or 0 in self.times:
            raise ConfigError(f"times must be shares of T above 0, at least one, got {list(self.times)}")


class PixelEnsemble(nn.Module):
    """Features of pixels (N, D) -> class probabilities (N, K), the mean of the members."""

    def __init__(self, width: int, num_classes: int, config: PixelClassifierConfig):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        widths, self.members = (width, *config.hidden), nn.ModuleList()
        for _ in range(config.members):
            layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.BatchNorm1d(b)) for a, b in zip(widths, widths[1:])]
            self.members.append(nn.Sequential(*layers, nn.Linear(widths[-1], num_classes)))

    def forward(self, features: Tensor) -> Tensor:
        features = (features - self.mean) * self.scale
        return torch.stack([member(features).softmax(1) for member in self.members]).mean(0)


class FeatureReader:
    """Reads features of every pixel off the network; all images get the same noise, so only image and text count."""

    def __init__(self, pipeline: Pipeline, config: PixelClassifierConfig):
        if pipeline.process.gaussian is None or pipeline.process.categorical is not None:
            raise ConfigError("a pixel classifier reads an image-only model: train one with layout: false")
        names = pipeline.unet.tap_names
        for tap in config.taps:
            require_one_of("tap", tap, names)
        self.pipeline, self.size = pipeline, pipeline.card.size
        self.taps = config.taps or tuple(name for name in names if not name.startswith("down."))
        self.times = [max(1, round(share * pipeline.process.T)) for share in config.times]
        generator = torch.Generator().manual_seed(config.seed)
        self.noise = torch.randn(len(self.times), 1, 3, *self.size, generator=generator).to(pipeline.device)

    def read(self, images: np.ndarray, captions: Sequence[str | None] | None) -> Iterator[Tensor]:
        """Yield features float32 (D, H, W) of one image after another; arguments and errors as in `label`."""
        _check_count(images, captions)
        images, captions = np.asarray(images), [None] * len(images) if captions is None else list(captions)
        if images.shape[1:] != (*self.size, 3) or images.dtype != np.uint8:
            raise DataError(f"images must be uint8 {('N', *self.size, 3)}, got {images.dtype} {images.shape}")
        batch = self.pipeline.network.rows  # of one size, as in sampling: other sizes round differently
        for start in range(0, len(images), batch):
            part, texts = images[start : start + batch], captions[start : start + batch]
            padding = batch - len(part)
            x = to_tensor(np.concatenate([part, np.repeat(part[-1:], padding, 0)]), self.pipeline.device)
            maps = self._maps(x, texts + texts[-1:] * padding)
            for row in range(len(part)):
                yield torch.cat([F.interpolate(m[row : row + 1], self.size, mode="bilinear")[0] for m in maps])

    @torch.no_grad()
    def _maps(self, x: Tensor, captions: list[str | None]) -> list[Tensor]:
        """Feature maps (B, C, h, w), one for each time and tap, always in float32."""
        process, maps = self.pipeline.process, []
        context = self.pipeline.network.context([caption or None for caption in captions])
        for time_, noise in zip(self.times, self.noise, strict=True):
            t = torch.full((len(x),), time_)
            x_t = process.gaussian.q_sample(x, t, noise.expand_as(x))
            levels = [level.to(x.device) for level in process.log_snr(t, t)]
            found = self.pipeline.unet(x_t, None, *levels, context, taps=self.taps).features
            maps += [found[tap].float() for tap in self.taps]
        return maps


class PixelClassifier:
    """An ensemble with the network that it reads. Made by `fit_pixel_classifier` or `load_pixel_classifier`.

    `facts`: pairs, pixels, features and seconds of the fit.
    """

    def __init__(self, pipeline: Pipeline, ensemble: PixelEnsemble, config: PixelClassifierConfig, facts: dict):
        self.pipeline, self.config, self.facts = pipeline, config, facts
        self.ensemble = ensemble.eval().requires_grad_(False)
        self._reader = FeatureReader(pipeline, config)

    @torch.no_grad()
    def label(self, images: np.ndarray, captions: Sequence[str | None] | None = None) -> np.ndarray:
        """Layouts uint8 (N, H, W) of images uint8 (N, H, W, 3) and the captions they were made with.

        A caption that is None or empty, and `captions` None, stand for images made without text. A layout depends on
        its own image and caption only. Raises DataError for images of another size or another number of captions.
        """
        layouts = [np.zeros((0, *self.pipeline.card.size), np.uint8)]
        for features in self._reader.read(images, captions):
            best = self.ensemble(features.flatten(1).T).argmax(1)
            layouts.append(best.view(1, *features.shape[1:]).byte().cpu().numpy())
        return np.concatenate(layouts)

    def save(self, folder: str | Path) -> None:
        """Write model.safetensors and config.json into `folder`, each atomically; the network is not copied."""
        network = weights_hash(self.pipeline.unet)
        card = {"classifier": to_dict(self.config), "network": network, "facts": self.facts}
        GUARD.save(Path(folder), self.ensemble.state_dict(), card)


def load_pixel_classifier(folder: str | Path, pipeline: Pipeline) -> PixelClassifier:
    """Load a classifier for the network that it was fitted on.

    Raises CheckpointError for a missing, damaged or altered folder, or one that was fitted on another network.
    """
    card, path = GUARD.read(folder), Path(folder) / GUARD.card
    try:
        config = build(PixelClassifierConfig, card["classifier"], str(path))
        network, facts, width = card["network"], card["facts"], card["facts"]["features"]
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not the card of a pixel classifier ({error}): {GUARD.remedy}") from error
    if network != weights_hash(pipeline.unet):
        raise CheckpointError(f"{folder} was fitted on another network: load that one, or fit the classifier again")
    ensemble = PixelEnsemble(width, pipeline.classes.num_classes, config)
    ensemble = load_weights(ensemble, GUARD.weights(folder, card), pipeline.device)
    return PixelClassifier(pipeline, ensemble, config, facts)


def weights_hash(unet: UNet) -> str:
    """SHA-256 over all weights of a network: two trainings of one configuration have different ones."""
    return hashlib.sha256(save({k: v.cpu().contiguous() for k, v in unet.state_dict().items()})).hexdigest()


def fit_pixel_classifier(
    pipeline: Pipeline,
    images: np.ndarray,
    layouts: np.ndarray,
    captions: Sequence[str] | None = None,
    config: PixelClassifierConfig | None = None,
    progress: bool = False,
) -> PixelClassifier:
    """Learn labels uint8 (N, H, W) of images uint8 (N, H, W, 3) from the network's features, by cross-entropy.

    `captions` of the pairs may be None. Equal arguments fit an equal classifier on the same machine.

    Raises ConfigError for a network that is not image-only or lacks a tap, DataError for pairs that do not fit it or
    each other, TrainingError where the loss stops being finite.
    """
    config, started = config or PixelClassifierConfig(), time.perf_counter()
    reader, classes = FeatureReader(pipeline, config), pipeline.classes
    _check_pairs(pipeline, images, layouts, captions)
    features, labels = _pixels(reader, images, layouts, captions, config, progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        ensemble = PixelEnsemble(features.shape[1], classes.num_classes, config).to(pipeline.device)
    ensemble.mean, ensemble.scale = features.mean(0), 1 / features.std(0).clamp(min=1e-6)
    features = (features - ensemble.mean) * ensemble.scale
    for number, member in enumerate(ensemble.members):
        _fit_member(member, features, labels, config, number)
    facts = {"pairs": min(config.pairs, len(images)), "pixels": len(labels), "features": features.shape[1]}
    facts["seconds"] = time.perf_counter() - started
    return PixelClassifier(pipeline, ensemble, config, facts)


def _check_pairs(pipeline: Pipeline, images: np.ndarray, layouts: np.ndarray, captions: Sequence | None) -> None:
    wanted, count = (len(images), *pipeline.card.size), pipeline.classes.num_classes
    if layouts.shape != wanted or not len(images) or not 0 <= layouts.min() <= layouts.max() < count:
        raise DataError(f"layouts must have shape {wanted}, at least one, and ids 0..{count - 1}, got {layouts.shape}")
    _check_count(images, captions)


def _check_count(images: np.ndarray, captions: Sequence | None) -> None:
    if captions is not None and len(captions) != len(images):
        raise DataError(f"{len(captions)} captions for {len(images)} images: give one for each, or none at all")


def _pixels(reader, images, layouts, captions, config, progress) -> tuple[Tensor, Tensor]:
    """Features (P, D) and labels (P,) of random pixels of random pairs."""
    rng = np.random.default_rng(config.seed)
    rows = np.sort(rng.permutation(len(images))[: config.pairs])
    dropped = rng.random(len(rows)) < config.text_drop
    texts = [None if captions is None or drop else captions[row] for row, drop in zip(rows, dropped, strict=True)]
    features, labels = [], []
    described = tqdm(reader.read(images[rows], texts), "features", len(rows), disable=not progress, mininterval=5)
    for row, found in zip(rows, described, strict=True):
        places = rng.permutation(layouts[row].size)[: config.pixels]
        features.append(found.flatten(1)[:, torch.from_numpy(places).to(found.device)].T)
        labels.append(torch.from_numpy(layouts[row].reshape(-1)[places].astype(np.int64)))
    return torch.cat(features), torch.cat(labels).to(features[0].device)


def _fit_member(member, features: Tensor, labels: Tensor, config, number: int) -> None:
    generator = torch.Generator().manual_seed(config.seed * 1000 + number)
    optimizer = torch.optim.Adam(member.parameters(), config.learning_rate)
    size = min(config.batch_size, len(labels))
    batches = len(labels) // size  # the rest of an epoch is left out: batch normalization wants full batches
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * batches)
    for _ in range(config.epochs):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for rows in order[: batches * size].split(size):
            loss = F.cross_entropy(member(features[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    if not torch.isfinite(loss):
        raise TrainingError("the loss of the pixel classifier is not finite: lower learning_rate")


class PixelClassifierPipeline:
    """Image diffusion and pixel classifier as one generator of pairs; `card` is the card of the diffusion."""

    def __init__(self, classifier: PixelClassifier):
        self.classifier, self.pipeline = classifier, classifier.pipeline
        self.classes, self.card, self.dtype = self.pipeline.classes, self.pipeline.card, self.pipeline.dtype
        self.known_halves: tuple[str, ...] = ()  # see `Pipeline.known_halves`

    def sample(
        self,
        captions: str | Sequence[str],
        num_steps: int = 50,
        guidance: float | Sequence[float] | Guidance = 2.0,
        seed: int | Sequence[int] = 0,
        **settings: Any,
    ) -> Samples:
        """Images of `Pipeline.sample`, labeled (as without text at guidance 0); arguments and errors as there."""
        drawn = self.pipeline.sample(captions, num_steps, guidance, seed, **settings)
        layouts = self.classifier.label(drawn.images, drawn.captions if Guidance.of(guidance).image else None)
        return Samples(drawn.images, layouts, drawn.captions, drawn.seeds, {**drawn.settings, "labels": "pixels"})
