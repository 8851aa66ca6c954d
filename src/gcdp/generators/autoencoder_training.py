"""Training of the autoencoder of latent diffusion: the error of reconstruction and a little KL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gcdp.data.pairs import PairDataset
from gcdp.generators.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    diffusers_class,
    pretrained_autoencoder,
    reconstruction,
    standardized,
)
from gcdp.training.loop import fit
from gcdp.training.recipe import TrainConfig
from gcdp.training.step import Losses
from gcdp.validation import to_dict

FIRST_LOG_VARIANCE = -6.0  # of the latents before training


class _Objective(nn.Module):
    """Reconstruction and KL in one forward pass, so that DDP and autocast wrap encoder and decoder."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean absolute error, and KL to a standard normal in nats a pixel value; both scalar."""
        posterior = self.network.encode(x).latent_dist
        mean, std = posterior.mean.float(), posterior.std.float()
        noise = torch.randn(mean.shape, generator=generator).to(mean.device, non_blocking=True)
        error = (self.network.decode(mean + std * noise).sample.float() - x).abs().mean()
        return error, posterior.kl().float().sum() / x.numel()


def train_autoencoder(
    config: AutoencoderConfig,
    pairs: PairDataset,
    recipe: TrainConfig,
    state_folder: Path,
    validation: PairDataset | None,
    accelerator: Accelerator,
) -> Autoencoder:
    """The autoencoder of `config`: trained on the images of `pairs`, resumable from `state_folder`, or published.

    Of the recipe its own steps and rate are replaced, and what saves memory is left to the diffusion. `facts` of the
    result hold the error of reconstruction on `validation`.

    Raises ConfigError for a published autoencoder that cannot be had, and what `gcdp.training.loop.fit` raises.
    """
    if config.pretrained:
        network, architecture = pretrained_autoencoder(config.pretrained)
        facts = {"pretrained": config.pretrained}
    else:
        network, architecture = _trained(config, pairs, recipe, state_folder, accelerator), config.architecture()
        facts = {"images": len(pairs), "steps": config.steps, "config": to_dict(config)}
    autoencoder = standardized(network.to(accelerator.device), architecture, pairs, facts)
    if validation is not None:
        autoencoder.facts["reconstruction"] = reconstruction(autoencoder, validation)
    return autoencoder


def _trained(config: AutoencoderConfig, pairs, recipe: TrainConfig, state_folder: Path, accelerator) -> nn.Module:
    recipe = replace(recipe, optimizer="adamw", steps=config.steps, learning_rate=config.learning_rate)
    recipe = replace(recipe, accumulate=1, checkpoint_activations=False)  # they are for the diffusion
    torch.manual_seed(recipe.seed)
    network = diffusers_class()(**config.architecture())
    with torch.no_grad():  # a posterior as wide as its prior would drown what the encoder has yet to learn
        network.quant_conv.bias[config.channels :] = FIRST_LOG_VARIANCE

    def loss(forward, batch: dict, generator: torch.Generator) -> Losses:
        error, kl = forward(batch["x"], generator)
        return Losses(error + config.kl_weight * kl, {"image": error})

    objective, label = _Objective(network), "training of the autoencoder"
    identity = {"autoencoder": {key: value for key, value in to_dict(config).items() if key != "steps"}}
    result = fit(objective, loss, pairs, recipe, state_folder, identity, accelerator, label=label)
    objective.load_state_dict(result.weights)
    return network
