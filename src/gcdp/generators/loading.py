"""From a model folder to the pipeline that draws its pairs."""

from __future__ import annotations

from pathlib import Path

from gcdp.devices import default_device
from gcdp.errors import CheckpointError
from gcdp.generators.cascade import Cascade, Enlarger
from gcdp.generators.pipeline import Pipeline
from gcdp.text.encoder import load_encoder
from gcdp.training.checkpoint import load_card, load_model

BASE, ENLARGER = "base", "enlarger"  # folders of a cascade


def load_pipeline(
    path: str | Path, device: str | None = None, text_folder: str | Path | None = None, dtype: str = "auto"
) -> Pipeline | Enlarger | Cascade:
    """Load a model folder (model.safetensors + config.json) with the text encoder it was trained with.

    Args:
        path: the folder, e.g. weights/toy-streets-joint or results/<profile>/models/<domain>-<model>. That of a latent
            model holds its autoencoder too; one with folders "base" and "enlarger" is a cascade of both.
        device: "cpu", "cuda", ...; by default CUDA where there is one.
        text_folder: local copy of the encoder's files, for encoders that are not embedded.
        dtype: "auto", "float32" or "bfloat16", see `GuidedNetwork`.

    Raises CheckpointError for a missing, damaged or incompatible checkpoint, ConfigError for an unknown encoder or
    dtype, or where a latent model needs diffusers and it is not installed.
    """
    path = Path(path)
    if (path / BASE).is_dir():
        parts = (load_pipeline(path / part, device, text_folder, dtype) for part in (BASE, ENLARGER))
        return Cascade(*parts)
    card = load_card(path)
    if "autoencoder" in card.training:
        from gcdp.generators.latent import load_latent  # brings the training code along

        return load_latent(path, device, text_folder, dtype=dtype)
    if card.unet.image_channels not in (0, 3):
        raise CheckpointError(f"{path} draws latents, but its config.json names no autoencoder: train the model again")
    unet, process, card = load_model(path)
    device = default_device(device)
    encoder = load_encoder(card.encoder, max_tokens=card.max_tokens, folder=text_folder)
    return (Enlarger if card.unet.low_resolution else Pipeline)(unet.to(device), process, card, encoder.encode, dtype)
