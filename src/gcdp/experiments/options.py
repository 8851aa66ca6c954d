"""The settings that only one kind of model has: `models.<model>.options` of a profile."""

from __future__ import annotations

from gcdp.data.enlarging import EnlargerConfig
from gcdp.errors import ConfigError
from gcdp.experiments.profile import Profile
from gcdp.generators.cascade import CascadeConfig
from gcdp.generators.latent import LatentConfig
from gcdp.generators.pixel_classifier import PixelClassifierConfig
from gcdp.validation import build

OPTIONS = {
    "latent": LatentConfig,
    "pixel_classifier": PixelClassifierConfig,
    "enlarger": EnlargerConfig,
    "cascade": CascadeConfig,
}


def options(profile: Profile, model: str):
    """The settings that only this kind of model has, None where it has none. Raises ConfigError for unknown ones."""
    config, where = profile.model(model), f"params/{profile.name}.yaml: models.{model}.options"
    if config.kind not in OPTIONS:
        if config.options:
            raise ConfigError(f"{where}: kind '{config.kind}' has none")
        return None
    return build(OPTIONS[config.kind], config.options, where)
