"""Profiles: typed, validated settings read from `params/<profile>.yaml`; `params.yaml` says which one runs.

Run `python -m gcdp.config use smoke` to choose a profile, and edit `params.yaml` to run fewer domains or models.
Every profile spells out its sections, because DVC tracks them one by one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from gcdp.errors import ConfigError
from gcdp.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.settings import build, require_one_of, require_range
from gcdp.unet import UNetConfig

SPLITS = ("train", "val", "test")
PRECISIONS = ("no", "fp16", "bf16")


@dataclass(frozen=True)
class DataConfig:
    """Where pairs come from and how they are stored. `size` is (height, width)."""

    source: str
    size: tuple[int, int]
    root: str = ""  # empty for generated worlds, which are written to data/<profile>/<domain>/raw
    fallback: str = ""  # where the source is looked for when the first place does not exist
    counts: dict[str, int] = field(default_factory=dict)  # scenes a split, generated worlds only
    splits: dict[str, str] = field(default_factory=dict)  # which split of the source plays train, val and test
    seed: int = 0
    captions_per_pair: int = 2
    rescale: tuple[float, float] = (1.0, 1.2)
    flip: bool = True

    def __post_init__(self) -> None:
        require_range(self, "size captions_per_pair rescale", 1)
        require_range(self, "seed", 0)
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
    """Which halves a model has."""

    image: bool = True
    layout: bool = True

    def __post_init__(self) -> None:
        if not (self.image or self.layout):
            raise ConfigError("image and layout are both false, nothing would be generated: set one")


@dataclass(frozen=True)
class TrainConfig:
    """The training recipe. `batch_size` is global over all processes; the defaults are the authors'."""

    steps: int = 300_000
    batch_size: int = 8
    learning_rate: float = 1.2e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: int = 0
    decay: bool = False  # cosine decay of the rate to zero over the run
    clip: float = 0.0  # largest gradient norm; 0 leaves gradients alone
    ema_decay: float = 0.9999
    ema_every: int = 10
    text_drop: float = 0.1
    diagonal: float = 1.0  # share of examples with t_x = t_y; the rest draw them independently
    precision: str = "no"  # as accelerate names it: no, fp16, bf16
    compile: bool = False
    workers: int = 0
    seed: int = 0
    log_every: int = 50
    validate_every: int = 1000
    validate_pairs: int = 128
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        require_range(self, "steps batch_size ema_every log_every validate_every checkpoint_every", 1)
        require_range(self, "weight_decay warmup clip workers seed validate_pairs", 0)
        require_range(self, "learning_rate betas ema_decay text_drop diagonal", 0, 1)
        require_one_of("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class SampleConfig:
    """How pairs are drawn. Guidance 1 is the plain conditional model, 0 ignores the text."""

    num_samples: int = 64
    num_steps: int = 100
    guidance_image: float = 3.0
    guidance_layout: float = 3.0
    threshold: float = 0.95
    seed: int = 0
    split: str = "test"

    def __post_init__(self) -> None:
        require_range(self, "num_samples num_steps", 1)
        require_range(self, "guidance_image guidance_layout seed", 0)
        require_range(self, "threshold", 0, 1)
        require_one_of("split", self.split, SPLITS)


@dataclass(frozen=True)
class Profile:
    """One file of `params/`, validated."""

    name: str
    domains: dict[str, DataConfig]
    models: dict[str, ModelConfig]
    text: TextConfig = TextConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    unet: UNetConfig = UNetConfig()
    train: TrainConfig = TrainConfig()
    sample: SampleConfig = SampleConfig()
    released: str = ""  # profile whose weights are released in weights/; empty: train from scratch
    short_run: int = 0  # steps of the demonstration run beside released weights

    def __post_init__(self) -> None:
        require_range(self, "short_run", 0)
        GaussianCategoricalDiffusion.from_config(self.diffusion, num_classes=2)  # refuses unknown names early
        factor = self.unet.downsampling
        for name, data in self.domains.items():
            if data.size[0] % factor or data.size[1] % factor:
                raise ConfigError(
                    f"domains.{name}.size {list(data.size)} must be multiples of {factor}: the network halves "
                    f"them {len(self.unet.widths)} times (unet.widths)"
                )

    def domain(self, name: str) -> DataConfig:
        """Settings of one domain. Raises ConfigError for an unknown name."""
        return _pick(self.domains, name, "domain", self.name)

    def model(self, name: str) -> ModelConfig:
        """Settings of one model. Raises ConfigError for an unknown name."""
        return _pick(self.models, name, "model", self.name)

    def unet_for(self, model: str, num_classes: int, text_width: int) -> UNetConfig:
        """The network of one model, with the sizes that data and text decide filled in."""
        halves = self.model(model)
        return replace(
            self.unet,
            image_channels=self.unet.image_channels if halves.image else 0,
            num_classes=num_classes if halves.layout else 0,
            text_width=text_width,
        )

    def data_folder(self, domain: str) -> Path:
        """data/<profile>/<domain>"""
        return repository_root() / "data" / self.name / domain

    def raw_folder(self, domain: str) -> Path:
        """Where the source files of a domain lie: its root, or the fallback where only that exists."""
        data = self.domain(domain)
        root = repository_root() / data.root if data.root else self.data_folder(domain) / "raw"
        fallback = repository_root() / data.fallback
        return fallback if data.fallback and fallback.is_dir() and not root.exists() else root

    def results_folder(self, *parts: str) -> Path:
        """results/<profile>/..., created if needed."""
        folder = repository_root().joinpath("results", self.name, *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def repository_root() -> Path:
    """The folder that holds `params/`: the nearest one above the working folder, else the source checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "params").is_dir() and (folder / "dvc.yaml").is_file():
            return folder
    raise ConfigError(f"no params/ folder above {here}: run from inside the repository")


def load_profile(name: str) -> Profile:
    """Read and validate params/<name>.yaml. Raises ConfigError naming the file, the key and the remedy."""
    content = _read_profile(name)
    if "name" in content:
        raise ConfigError(f"params/{name}.yaml: 'name' is unknown: a profile is called as its file")
    return build(Profile, {"name": name, **content}, f"params/{name}.yaml")


def selected() -> dict[str, Any]:
    """What `params.yaml` selects: {"profile", "domains", "models"}."""
    return _read_yaml(repository_root() / "params.yaml")


def use(name: str) -> None:
    """Select a profile: rewrite `params.yaml` with all domains and models of that profile."""
    profile = load_profile(name)
    text = "# Written by `python -m gcdp.config use <profile>`; edit the lists to run fewer domains or models.\n"
    chosen = {"profile": name, "domains": list(profile.domains), "models": list(profile.models)}
    (repository_root() / "params.yaml").write_text(text + yaml.safe_dump(chosen, sort_keys=False))


def _read_profile(name: str) -> dict[str, Any]:
    path = repository_root() / "params" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigError(f"profile '{name}' is unknown: choose one of {known}, or add params/{name}.yaml")
    return _read_yaml(path)


def _read_yaml(path: Path) -> dict[str, Any]:
    name = path.relative_to(repository_root()).as_posix()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1}, {error.problem}" if mark else str(error).splitlines()[0]
        raise ConfigError(f"{name} cannot be read as YAML ({reason}): correct the file") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must hold a mapping of names to values")
    return content


def _pick(table: dict[str, Any], name: str, kind: str, profile: str) -> Any:
    if name not in table:
        raise ConfigError(f"profile '{profile}' has no {kind} '{name}': choose one of {', '.join(table)}")
    return table[name]


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "use":
        sys.exit("usage: python -m gcdp.config use PROFILE")
    try:
        use(sys.argv[2])
    except ConfigError as error:
        sys.exit(f"error: {error}")
