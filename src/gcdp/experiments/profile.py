"""Profiles: typed, validated settings read from `params/<profile>.yaml`.

Domains share the sections of a profile, save for what `domains.<domain>.changes` says: `load_profile(name, domain)` is
the profile as one domain sees it. `gcdp.experiments.selection` chooses which profile runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcdp.data.enlarging import FACTOR
from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.errors import ConfigError
from gcdp.experiments.params import merged, repository_root, tracked
from gcdp.experiments.sections import (
    BASE,
    SPLITS,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    RefereeConfig,
    SampleConfig,
    SamplingConfig,
    StudyConfig,
    TextConfig,
)
from gcdp.experiments.sections_figures import DirectionsConfig, FeaturesConfig, GuidanceConfig, StrokesConfig
from gcdp.network.unet import UNetConfig
from gcdp.training.recipe import TIMES, TrainConfig
from gcdp.validation import build, require_one_of, require_range, to_dict

CHANGEABLE = (
    "models", "diffusion", "unet", "train", "sampling", "sample", "referee", "evaluate", "study", "features",
    "directions", "guidance", "strokes",
)  # fmt: skip

ENLARGING = ("enlarger", "cascade", "resized")  # kinds of models of domains that enlarge others
# What a domain that enlarges another leaves out, unless its `changes` say otherwise.
WITHOUT_FIGURES = {
    "study": StudyConfig(),
    "features": FeaturesConfig(),
    "directions": DirectionsConfig(),
    "guidance": GuidanceConfig(),
    "strokes": StrokesConfig(),
}

__all__ = [
    "SPLITS", "DataConfig", "DirectionsConfig", "EvaluateConfig", "FeaturesConfig", "GuidanceConfig", "ModelConfig",
    "Profile", "RefereeConfig", "SampleConfig", "SamplingConfig", "StrokesConfig", "StudyConfig", "TextConfig",
    "TrainConfig", "load_profile", "repository_root",
]  # fmt: skip


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
    sampling: SamplingConfig = SamplingConfig()
    sample: SampleConfig = SampleConfig()
    referee: RefereeConfig = RefereeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    study: StudyConfig = StudyConfig()
    features: FeaturesConfig = FeaturesConfig()
    directions: DirectionsConfig = DirectionsConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    strokes: StrokesConfig = StrokesConfig()
    released: str = ""  # profile whose weights are released in weights/; empty: train from scratch
    short_run: int = 0  # steps of the demonstration run beside released weights

    def __post_init__(self) -> None:
        require_range(self, "short_run", 0)
        for name, model in self.models.items():
            self._check_model(name, model)
        for name in (*self.sample.models, *self.evaluate.models, *self.study.models, *self.study.full_size):
            self.model(name)
        self._check_features()
        self._check_directions()
        self._check_guidance()
        self._check_strokes()
        for name, data in self.domains.items():
            unet = self.for_domain(name).unet
            factor = unet.downsampling
            if data.size[0] % factor or data.size[1] % factor:
                raise ConfigError(
                    f"domains.{name}.size {list(data.size)} must be multiples of {factor}: the network halves "
                    f"them {len(unet.widths)} times (unet.widths)"
                )
            if data.enlarges and len(self.domains) > 1:
                self._check_enlarging(name, data)

    def for_domain(self, name: str) -> Profile:
        """The profile as one domain sees it: its sections with what the domain's `changes` say, merged deeply.

        Raises ConfigError for an unknown domain, section or setting.
        """
        data = self.domain(name)
        whole = len(self.domains) > 1  # else it is such a view already
        changed: dict[str, Any] = dict(WITHOUT_FIGURES) if data.enlarges and whole else {}
        for section, values in data.changes.items():
            where = f"domains.{name}.changes.{section}"  # the file is named by `load_profile`
            require_one_of(f"domains.{name}.changes: section", section, CHANGEABLE)
            if not isinstance(values, dict):
                raise ConfigError(f"{where} must be a mapping of names to values, got {values!r}")
            former = changed.get(section, getattr(self, section))
            if section == "models":
                models = merged({model: to_dict(config) for model, config in former.items()}, values)
                changed[section] = {
                    model: build(ModelConfig, {} if config is None else config, f"{where}.{model}")
                    for model, config in models.items()
                }
            else:
                changed[section] = build(type(former), merged(to_dict(former), values), where)
        if not changed:
            return self
        try:
            return replace(self, domains={name: replace(data, changes={})}, **changed)
        except ConfigError as error:
            raise ConfigError(f"domains.{name}.changes: {error}") from error

    def _check_model(self, name: str, model: ModelConfig) -> None:
        """Refuse unknown settings of a model early."""
        GaussianCategoricalDiffusion.from_config(self.diffusion_for(name), num_classes=2)
        recipe, both = self.train_for(name), model.image and model.layout
        if recipe.times != "joint" and not both:
            raise ConfigError(
                f"models.{name}.train: times '{recipe.times}' needs both halves: leave image and layout true"
            )
        if recipe.labeled < 1 and not (both and recipe.times == "joint"):
            raise ConfigError(
                f"models.{name}.train: labeled {recipe.labeled:g} needs both halves and times 'joint': leave it at 1"
            )
        self._changed(self.unet, name, "unet")
        for role, part in model.parts.items():
            if not self.model(part).trained:
                raise ConfigError(f"models.{name}.parts: '{part}' is no trained model of its own: name one that is")
            needed = {BASE: "diffusion", "enlarger": "enlarger"}.get(role, self.model(part).kind)
            if self.model(part).kind != needed:
                raise ConfigError(f"models.{name}.parts.{role}: '{part}' must be of kind '{needed}': name one that is")

    def _check_enlarging(self, name: str, data: DataConfig) -> None:
        """Refuse a domain whose pairs are not those of the smaller one at twice the size."""
        smaller, where = _pick(self.domains, data.enlarges, "domain", self.name), f"domains.{name}.enlarges"
        if smaller.enlarges or tuple(data.size) != tuple(FACTOR * side for side in smaller.size):
            raise ConfigError(
                f"{where}: size must be {[FACTOR * side for side in smaller.size]}, {FACTOR} times that of "
                f"{data.enlarges}, which enlarges nothing itself; got {list(data.size)}"
            )
        for key in ("source", "counts", "splits", "seed", "captions_per_pair"):
            if getattr(data, key) != getattr(smaller, key):
                raise ConfigError(f"{where}: '{key}' must be that of {data.enlarges}: both hold the same pairs")

    def _check_features(self) -> None:
        """Refuse models that Fig. 8 cannot compare, and times beyond T."""
        for name, layout in zip(self.features.models, (True, False)):
            model = self.model(name)
            if (model.kind, model.image, model.layout) != ("diffusion", True, layout):
                halves = "both halves" if layout else "the image alone"
                raise ConfigError(f"features.models: '{name}' must be a diffusion of {halves}: name one that is")
            if self.features.times[-1] > self.diffusion_for(name).T:
                raise ConfigError(f"features.times must be at most T = {self.diffusion_for(name).T}: lower them")

    def _check_directions(self) -> None:
        """Refuse models that cannot take their part in Fig. 9 and what is compared with it."""
        for role, name in self.directions.models.items():
            model, recipe = self.model(name), self.train_for(name)
            if (model.kind, model.image, model.layout) != ("diffusion", True, True):
                raise ConfigError(f"directions.{role}: '{name}' must be a diffusion of both halves: name one that is")
            times = role if role in TIMES else "joint"
            if recipe.times != times or (role in ("any", "few_layouts") and recipe.diagonal >= 1):
                needed = f"times '{times}'" + (
                    " and diagonal below 1" if times == "joint" and role != "diagonal" else ""
                )
                raise ConfigError(f"directions.{role}: '{name}' must be trained with {needed}: name one that is")
            if (recipe.labeled < 1) != (role == "few_layouts"):
                raise ConfigError(f"directions.{role}: '{name}' has labeled {recipe.labeled:g}: name another model")

    def _check_guidance(self) -> None:
        """Refuse a model that has but one half to guide."""
        if name := self.guidance.model:
            model = self.model(name)
            if not (model.image and model.layout) or model.kind != "diffusion":
                raise ConfigError(f"guidance.model: '{name}' must be a diffusion of both halves: name one that is")

    def _check_strokes(self) -> None:
        """Refuse models that cannot be painted with as their role says."""
        for role, name in self.strokes.models.items():
            model = self.model(name)
            if not model.image or model.layout != (role == "joint") or model.kind not in ("diffusion", "latent"):
                halves = "both halves" if role == "joint" else "the image alone"
                raise ConfigError(f"strokes.{role}: '{name}' must be a diffusion of {halves}: name one that is")

    def domain(self, name: str) -> DataConfig:
        """Settings of one domain. Raises ConfigError for an unknown name."""
        return _pick(self.domains, name, "domain", self.name)

    def model(self, name: str) -> ModelConfig:
        """Settings of one model. Raises ConfigError for an unknown name."""
        return _pick(self.models, name, "model", self.name)

    def domain_of(self, domain: str, role: str) -> str:
        """The domain in which a part of a composed model is trained: the smaller one for the part `base`."""
        return self.domain(domain).enlarges if role == BASE else domain

    def belongs(self, model: str) -> bool:
        """Whether a model can draw in the domain whose view this is: models of enlarging kinds where it enlarges."""
        views = [data.enlarges for data in self.domains.values()]  # a domain that enlarges is seen alone
        return (self.model(model).kind in ENLARGING) == (len(views) == 1 and bool(views[0]))

    def unet_for(self, model: str, num_classes: int, text_width: int) -> UNetConfig:
        """The network of one model, with the sizes that data and text decide filled in."""
        halves, unet = self.model(model), self._changed(self.unet, model, "unet")
        return replace(
            unet,
            image_channels=unet.image_channels if halves.image else 0,
            num_classes=num_classes if halves.layout else 0,
            text_width=text_width,
            low_resolution=halves.kind == "enlarger",
        )

    def diffusion_for(self, model: str) -> DiffusionConfig:
        """The process of one model."""
        return self._changed(self.diffusion, model, "diffusion")

    def train_for(self, model: str) -> TrainConfig:
        """The recipe of one model."""
        return self._changed(self.train, model, "train")

    def _changed(self, section: Any, model: str, name: str) -> Any:
        """A section with what the model of that name does otherwise."""
        changes = getattr(self.model(model), name)
        return build(type(section), {**to_dict(section), **changes}, f"models.{model}.{name}") if changes else section

    def data_folder(self, domain: str) -> Path:
        """data/<profile>/<domain>"""
        return repository_root() / "data" / self.name / domain

    def raw_folder(self, domain: str) -> Path:
        """Where the source files of a domain lie: its `root`, else data/<profile>/<domain>/raw, or those of the
        smaller domain that it enlarges."""
        data = self.domain(domain)
        return repository_root() / data.root if data.root else self.data_folder(data.enlarges or domain) / "raw"

    def released_name(self, domain: str, what: str) -> str:
        """The folder of weights/ with released weights of a model, a referee or a study; empty: none are used."""
        return f"{self.released}-{domain}-{what}" if self.released else ""

    def results_folder(self, *parts: str) -> Path:
        """results/<profile>/..., created if needed."""
        folder = repository_root().joinpath("results", self.name, *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def load_profile(name: str, domain: str | None = None) -> Profile:
    """Read and validate params/<name>.yaml; with a domain, as that domain sees it (`Profile.for_domain`).

    Raises ConfigError naming the file, the key and the remedy.
    """
    profile = make_profile(name, tracked(name))
    return profile if domain is None else profile.for_domain(domain)


def make_profile(name: str, content: dict[str, Any]) -> Profile:
    """A profile from the content of its file, validated. Raises ConfigError naming the file, the key and the remedy."""
    if "name" in content:
        raise ConfigError(f"params/{name}.yaml: 'name' is unknown: a profile is called as its file")
    return build(Profile, {"name": name, **content}, f"params/{name}.yaml")


def _pick(table: dict[str, Any], name: str, kind: str, profile: str) -> Any:
    if name not in table:
        raise ConfigError(f"profile '{profile}' has no {kind} '{name}': choose one of {', '.join(table)}")
    return table[name]
