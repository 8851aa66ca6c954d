"""Errors a user can act on: each message names the file or parameter and the remedy in one sentence."""

import math


class GCDPError(ValueError):
    """Base of every error that the user, not the code, has to resolve."""


class ConfigError(GCDPError):
    """A profile, parameter or name is unknown or out of range."""


class DataError(GCDPError):
    """A pair, caption or data folder cannot be used as it is."""


class CheckpointError(GCDPError):
    """A checkpoint is missing, damaged or belongs to another configuration."""


class TrainingError(GCDPError):
    """Training had to stop; the message says what was kept."""


def require_range(settings: object, names: str, low: float, high: float = math.inf) -> None:
    """Raise ConfigError unless low <= value <= high for every number in the named fields of `settings`.

    `names` is separated by blanks; a field may hold one number or a tuple of them. NaN is outside every range.
    """
    for name in names.split():
        value = getattr(settings, name)
        if not all(low <= number <= high for number in (value if isinstance(value, tuple) else (value,))):
            limits = f"at least {low}" if high == math.inf else f"within {low}..{high}"
            raise ConfigError(f"{name} must be {limits}, got {list(value) if isinstance(value, tuple) else value}")
