"""The sections of a profile as frozen dataclasses, each with the ranges that it checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gcdp.diffusion.sampling import ReverseSettings
from gcdp.errors import ConfigError
from gcdp.evaluation.referees.alignment import TwoTowerConfig
from gcdp.evaluation.referees.attributes import AttributeNetConfig
from gcdp.evaluation.referees.segmenter import SegmenterConfig
from gcdp.evaluation.spoiling import SpoilingConfig
from gcdp.training.recipe import TrainConfig
from gcdp.validation import require_one_of, require_range

SPLITS = ("train", "val", "test")


# kinds of models, and the parts that a composed kind is made of
KINDS = {
    "diffusion": (),
    "latent": (),
    "two_stage": ("layout", "image"),
    "pixel_classifier": ("image",),
    "enlarger": (),
    "cascade": ("base", "enlarger"),
    "resized": ("base",),
}
BASE = "base"  # the part that draws smaller pairs, of a domain that enlarges another


@dataclass(frozen=True)
class DataConfig:
    """Where pairs come from and how they are stored. `size` is (height, width).

    `enlarges` names the domain with the same pairs at half the size, for super-resolution: models of the kinds
    `enlarger`, `cascade` and `resized` belong to such a domain, and the part `base` of the last two to the smaller one.
    """

    source: str
    size: tuple[int, int]
    root: str = ""  # empty for generated worlds, which are written to data/<profile>/<domain>/raw
    counts: dict[str, int] = field(default_factory=dict)  # scenes a split, generated worlds only
    splits: dict[str, str] = field(default_factory=dict)  # which split of the source plays train, val and test
    seed: int = 0
    captions_per_pair: int = 2  # at most so many of a source's own captions; 0 takes all of them
    subset_seed: int = 0  # with the seed of a training draws the smaller subsets of the train split
    rescale: tuple[float, float] = (1.0, 1.2)
    flip: bool = True
    enlarges: str = ""
    changes: dict[str, Any] = field(default_factory=dict)  # section of the profile -> what this domain has otherwise

    def __post_init__(self) -> None:
        require_range(self, "size rescale", 1)
        require_range(self, "seed captions_per_pair subset_seed", 0)
        for name, table in (("counts", self.counts), ("splits", self.splits)):
            for split in table:
                require_one_of(f"{name}: split", split, SPLITS)


@dataclass(frozen=True)
class TextConfig:
    """The frozen encoder; `folder` is a local copy of its files."""

    encoder: str = "all-MiniLM-L6-v2"
    max_tokens: int = 256
    folder: str = ""

    def __post_init__(self) -> None:
        require_range(self, "max_tokens", 1)


@dataclass(frozen=True)
class ModelConfig:
    """One model: which halves it has, of which kind it is, and what it does otherwise than its profile.

    `diffusion`, `unet` and `train` hold only the settings in which the model differs from the profile's sections of
    these names. `parts` names the models that a composed kind is made of, `options` is what only its kind has.
    """

    kind: str = "diffusion"
    image: bool = True
    layout: bool = True
    parts: dict[str, str] = field(default_factory=dict)
    diffusion: dict[str, Any] = field(default_factory=dict)
    unet: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.image or self.layout):
            raise ConfigError("image and layout are both false, nothing would be generated: set one")
        require_one_of("kind", self.kind, KINDS)
        if set(self.parts) != set(KINDS[self.kind]):
            needed = ", ".join(KINDS[self.kind]) or "none"
            raise ConfigError(f"parts of a model of kind '{self.kind}' must name: {needed}; got {sorted(self.parts)}")

    @property
    def trained(self) -> bool:
        """Whether it is a network of its own; a composed model is made of others."""
        return not KINDS[self.kind]


@dataclass(frozen=True)
class SamplingConfig:
    """How every pair is drawn, be it for Fig. 5, an evaluation or a study; see `gcdp.diffusion.sampling`.

    `guidances` is the grid of scales that evaluation and study try; 1 is the plain model, 0 ignores the text. A latent
    model takes no `threshold`.
    """

    num_steps: int = 100
    eta: float = 1.0
    order: int = 1
    threshold: float = 0.95
    guidances: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)

    def __post_init__(self) -> None:
        require_range(self, "num_steps", 1)
        require_range(self, "guidances", 0)
        ReverseSettings(**self.keywords())  # checks the rest
        if not self.guidances or list(self.guidances) != sorted(set(self.guidances)):
            raise ConfigError("guidances must be at least one scale, in rising order")

    def keywords(self) -> dict[str, Any]:
        """All settings but the grid, as keywords of the `sample` of any model."""
        return {name: getattr(self, name) for name in ("num_steps", "eta", "order", "threshold")}


@dataclass(frozen=True)
class SampleConfig:
    """Which pairs are drawn for Fig. 5: `num_samples` by each of `models` (default: all), at one guidance.

    `guidance` is one scale for both halves, or [image, layout].
    """

    models: tuple[str, ...] = ()
    num_samples: int = 64
    guidance: float | tuple[float, float] = 3.0
    seed: int = 0
    split: str = "test"

    def __post_init__(self) -> None:
        require_range(self, "num_samples", 1)
        require_range(self, "guidance seed", 0)
        require_one_of("split", self.split, SPLITS)


@dataclass(frozen=True)
class AttributesConfig:
    """The referee that reads attributes off images. `classifier` is ours, trained here; empty: there is none.

    `root` is a folder of aligned CelebA images to train it on, those of CelebA-HQ left out; without one it learns from
    the scenes of the layout referee.
    """

    name: str = ""
    root: str = ""
    network: AttributeNetConfig = AttributeNetConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        require_one_of("name", self.name, ("", "classifier"))


@dataclass(frozen=True)
class AlignmentConfig:
    """Who scores text against image: `two_tower`, ours and trained here, or the name of a CLIP; empty: nobody."""

    name: str = ""
    folder: str = ""  # local copy of a CLIP's files
    network: TwoTowerConfig = TwoTowerConfig()
    train: TrainConfig = TrainConfig()


@dataclass(frozen=True)
class RefereeConfig:
    """The network that reads layouts off images. `segmenter` is ours, trained here; other names are pretrained.

    `spoiling` is what all networks trained here learn to see through; by default their images are clean.
    """

    name: str = "segmenter"
    folder: str = ""  # local copy of a pretrained referee's files
    scenes: int = 0  # generated worlds only: scenes drawn to train it; 0 takes the train split
    network: SegmenterConfig = SegmenterConfig()
    train: TrainConfig = TrainConfig()
    spoiling: SpoilingConfig = SpoilingConfig()
    attributes: AttributesConfig = AttributesConfig()
    alignment: AlignmentConfig = AlignmentConfig()

    def __post_init__(self) -> None:
        require_range(self, "scenes", 0)


@dataclass(frozen=True)
class EvaluateConfig:
    """How `models` (default: all) are scored: on `num_samples` captions of `split`, at every scale of `sampling`.

    `area_rate` calibrates the smallest area that counts as shown: real scenes without a class may trip it in at most
    this share of cases. For each label `swaps_per_label` captions are drawn with and without it, at the chosen scale;
    0 leaves the effect of naming out.
    """

    models: tuple[str, ...] = ()
    num_samples: int = 500
    area_rate: float = 0.05
    split: str = "test"
    seed: int = 0
    swaps_per_label: int = 40

    def __post_init__(self) -> None:
        require_range(self, "num_samples", 1)
        require_range(self, "seed swaps_per_label", 0)
        require_range(self, "area_rate", 0, 1)
        require_one_of("split", self.split, SPLITS)


@dataclass(frozen=True)
class StudyConfig:
    """Repeated trainings behind the claims: every model with every seed on every number of training pairs.

    `models` are trained on all `sizes` (numbers of pairs; "all" takes all of them), ours first, the image-only model
    second; `full_size` are further models, trained on all pairs alone, with the first `full_size_seeds` of the seeds
    (0: with all). Each seed has its own subset of the pairs. The guidance of a model at a size is chosen from the grid
    of `sampling` on `num_val` validation captions. `num_samples` test captions are drawn, and `swaps` of them for each
    label in two versions, with and without it.
    """

    models: tuple[str, ...] = ()
    full_size: tuple[str, ...] = ()
    sizes: tuple[int | str, ...] = ("all",)
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    full_size_seeds: int = 0
    num_samples: int = 500
    num_val: int = 250
    swaps: int = 40
    seed: int = 0  # of the swaps

    def __post_init__(self) -> None:
        require_range(self, "num_samples num_val swaps", 1)
        require_range(self, "seeds full_size_seeds seed", 0)
        for name in ("models", "full_size", "sizes", "seeds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError(f"{name} names an entry twice: take one out")
        if set(self.models) & set(self.full_size):
            raise ConfigError("full_size repeats some of models: take them out, they are trained on all sizes")
        for size in self.sizes:
            if size != "all" and (isinstance(size, str) or size < 1):
                raise ConfigError(f"sizes must be numbers of pairs of at least 1, or 'all', got {size!r}")

    @property
    def compared(self) -> tuple[str, str]:
        """Our model and the image-only one. Raises ConfigError where `models` does not name two."""
        if len(self.models) < 2:
            raise ConfigError("study.models must name two models that are compared, such as [joint, gaussian]")
        return self.models[0], self.models[1]
