"""Errors a user can act on: each message names the file or parameter and the remedy in one sentence."""


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
