"""Profiles: typed, validated settings read from `params/<profile>.yaml`; `params.yaml` says which one runs.

Run `python -m gcdp.experiments.profile use smoke` to choose one; edit `params.yaml` to run fewer domains or models.
Every profile spells out its sections, because DVC tracks them one by one. Domains share them, save for what the section
`changes` says: `load_profile(name, domain)` is the profile as one domain sees it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from gcdp.diffusion.joint import DiffusionConfig, GaussianCategoricalDiffusion
from gcdp.errors import ConfigError
from gcdp.experiments.sections import (
    SPLITS,
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    RefereeConfig,
    SampleConfig,
    StudyConfig,
    TextConfig,
)
from gcdp.network.unet import UNetConfig
from gcdp.training.recipe import TrainConfig
from gcdp.validation import build, require_one_of, require_range, to_dict

CHANGEABLE = ("models", "diffusion", "unet", "train", "sample", "referee", "evaluate", "study")

__all__ = [
    "SPLITS", "DataConfig", "EvaluateConfig", "ModelConfig", "Profile", "RefereeConfig", "SampleConfig", "StudyConfig",
    "TextConfig", "TrainConfig", "load_profile", "repository_root", "selected", "use",
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
    sample: SampleConfig = SampleConfig()
    referee: RefereeConfig = RefereeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    study: StudyConfig = StudyConfig()
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)  # domain -> section -> what it has otherwise
    released: str = ""  # profile whose weights are released in weights/; empty: train from scratch
    short_run: int = 0  # steps of the demonstration run beside released weights

    def __post_init__(self) -> None:
        require_range(self, "short_run", 0)
        for name, model in self.models.items():
            self._check_model(name, model)
        for name in (*self.sample.models, *self.evaluate.models, *self.study.models, *self.study.ablations):
            self.model(name)
        for name in self.changes:
            require_one_of("changes: domain", name, self.domains)
        for name, data in self.domains.items():
            unet = self.for_domain(name).unet
            factor = unet.downsampling
            if data.size[0] % factor or data.size[1] % factor:
                raise ConfigError(
                    f"domains.{name}.size {list(data.size)} must be multiples of {factor}: the network halves "
                    f"them {len(unet.widths)} times (unet.widths)"
                )

    def for_domain(self, name: str) -> Profile:
        """The profile as one domain sees it: its sections with what `changes` says of the domain.

        A key of `models` replaces that model, or adds it; a mapping inside another section is replaced whole.
        Raises ConfigError for an unknown domain, section or setting.
        """
        self.domain(name)
        changed = {}
        for section, values in (self.changes.get(name) or {}).items():
            where = f"changes.{name}.{section}"  # the file is named by `load_profile`
            require_one_of(f"changes.{name}: section", section, CHANGEABLE)
            if not isinstance(values, dict):
                raise ConfigError(f"{where} must be a mapping of names to values, got {values!r}")
            former = getattr(self, section)
            if section == "models":
                new = {model: build(ModelConfig, config or {}, f"{where}.{model}") for model, config in values.items()}
                changed[section] = former | new
            else:
                changed[section] = build(type(former), {**to_dict(former), **values}, where)
        if not changed:
            return self
        try:
            return replace(self, changes={}, domains={name: self.domains[name]}, **changed)
        except ConfigError as error:
            raise ConfigError(f"changes.{name}: {error}") from error

    def _check_model(self, name: str, model: ModelConfig) -> None:
        """Refuse unknown settings of a model early."""
        GaussianCategoricalDiffusion.from_config(self.diffusion_for(name), num_classes=2)
        times = self.train_for(name).times
        if times != "joint" and not (model.image and model.layout):
            raise ConfigError(f"models.{name}.train: times '{times}' needs both halves: leave image and layout true")
        self._changed(self.unet, name, "unet")
        for part in model.parts.values():
            if not self.model(part).trained:
                raise ConfigError(f"models.{name}.parts: '{part}' is no trained model of its own: name one that is")

    def domain(self, name: str) -> DataConfig:
        """Settings of one domain. Raises ConfigError for an unknown name."""
        return _pick(self.domains, name, "domain", self.name)

    def model(self, name: str) -> ModelConfig:
        """Settings of one model. Raises ConfigError for an unknown name."""
        return _pick(self.models, name, "model", self.name)

    def unet_for(self, model: str, num_classes: int, text_width: int) -> UNetConfig:
        """The network of one model, with the sizes that data and text decide filled in."""
        halves, unet = self.model(model), self._changed(self.unet, model, "unet")
        return replace(
            unet,
            image_channels=unet.image_channels if halves.image else 0,
            num_classes=num_classes if halves.layout else 0,
            text_width=text_width,
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
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "params").is_dir() and (folder / "dvc.yaml").is_file():
            return folder
    raise ConfigError(f"no params/ folder above {here}: run from inside the repository")


def load_profile(name: str, domain: str | None = None) -> Profile:
    """Read and validate params/<name>.yaml; with a domain, as that domain sees it (`Profile.for_domain`).

    Raises ConfigError naming the file, the key and the remedy.
    """
    content = _read_profile(name)
    if "name" in content:
        raise ConfigError(f"params/{name}.yaml: 'name' is unknown: a profile is called as its file")
    profile = build(Profile, {"name": name, **content}, f"params/{name}.yaml")
    return profile if domain is None else profile.for_domain(domain)


def selected() -> dict[str, Any]:
    """What `params.yaml` selects: {"profile", "domains", "models", "sampled", "evaluated"}."""
    return _read_yaml(repository_root() / "params.yaml")


def use(name: str) -> None:
    """Select a profile: rewrite `params.yaml` with all domains and models of that profile.

    `models` are trained, `sampled` drawn from for Fig. 5, `evaluated` by the referees; an entry is one stage of each.
    `described` are the domains whose captions name attributes: only they have a Fig. 1 and 7, only `listed`, the
    others, whose captions name every class, a Fig. 6.
    """
    profile = load_profile(name)
    chosen: dict[str, Any] = {"models": {}, "sampled": {}, "evaluated": {}}
    seen = {domain: profile.for_domain(domain).referee for domain in profile.domains}
    described = [domain for domain, referee in seen.items() if referee.attributes.name and referee.alignment.name]
    lists = {"described": described, "listed": [domain for domain in profile.domains if domain not in described]}
    for domain in profile.domains:
        for key, models in _stages(profile.for_domain(domain)).items():
            chosen[key] |= {f"{domain}-{model}": {"domain": domain, "model": model} for model in models}
    text = (
        "# Written by `python -m gcdp.experiments.profile use <name>`; take lines out to run fewer domains or models.\n"
    )
    text += yaml.safe_dump({"profile": name, "domains": list(profile.domains), **lists}, sort_keys=False)
    text += yaml.safe_dump(chosen, sort_keys=False, default_flow_style=None)
    (repository_root() / "params.yaml").write_text(text)


def _stages(profile: Profile) -> dict[str, list[str]]:
    """Which models of one domain are trained, sampled and evaluated."""
    drawn = [model for model, config in profile.models.items() if config.kind == "diffusion"]
    evaluated, sampled = profile.evaluate.models or profile.models, profile.sample.models or drawn
    needed = {*evaluated, *sampled}
    needed |= {part for model in needed for part in profile.model(model).parts.values()}
    trained = [model for model, config in profile.models.items() if model in needed and config.trained]
    return {"models": trained, "sampled": list(sampled), "evaluated": list(evaluated)}


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
        sys.exit("usage: python -m gcdp.experiments.profile use PROFILE")
    try:
        use(sys.argv[2])
    except ConfigError as error:
        sys.exit(f"error: {error}")
