"""Gaussian-categorical diffusion: images and their semantic layouts, generated together from text.

The rooms, in the order in which they may import each other: `diffusion` and `network` hold the method, `text`, `data`
and `toy` bring pairs and captions, `training` and `generators` make models, `evaluation` measures what they draw,
`experiments` knows profiles, `reporting` draws figures and tables.
"""

from __future__ import annotations

from gcdp.errors import CheckpointError, ConfigError, DataError, GCDPError, TrainingError

__version__ = "0.1.0"
__all__ = ["CheckpointError", "ConfigError", "DataError", "GCDPError", "TrainingError", "load_pipeline"]


def __getattr__(name: str):
    # torch and transformers are imported only once a pipeline is asked for
    if name == "load_pipeline":
        from gcdp.generators.loading import load_pipeline

        return load_pipeline
    raise AttributeError(f"module 'gcdp' has no attribute '{name}'")
