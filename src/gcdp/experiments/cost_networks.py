"""Parameters, operations and memory of networks, counted on the meta device, which knows shapes and computes nothing.

An operation is one multiplication or addition of a matrix product or a convolution; what else a network does is not
counted (`torch.utils.flop_counter`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gcdp.evaluation.referees.alignment import TwoTower, TwoTowerConfig
from gcdp.evaluation.referees.attributes import AttributeNet, AttributeNetConfig
from gcdp.evaluation.referees.segmenter import SegmentationNet, SegmenterConfig
from gcdp.generators.autoencoder import AutoencoderConfig, diffusers_class
from gcdp.network.unet import LowResolution, Prediction, UNet, UNetConfig
from gcdp.training.recipe import TrainConfig

TOKENS = 48  # of a caption, assumed: special tokens included
BACKWARD = 2  # forward passes that the gradient of one costs: two matrix products for each of its own
FLOAT = 4  # bytes
# The architecture of Stable Diffusion's autoencoder, of which a profile knows the name alone.
STABLE_DIFFUSION = AutoencoderConfig(widths=(128, 256, 512, 512), blocks=2, groups=32, attention=True)
T5_LARGE = {"vocab_size": 32128, "d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


@dataclass(frozen=True)
class NetworkCost:
    """One network on one pair.

    Args:
        parameters: their number, and `hidden` that of those which Muon trains.
        forward: operations of a forward pass.
        kept: bytes in float32 that a forward pass leaves for the gradient, weights left out.
    """

    parameters: int
    hidden: int
    forward: int
    kept: int

    def step_operations(self, batch: int) -> int:
        """Of a training step: forward, and twice as many for the gradient."""
        return (1 + BACKWARD) * self.forward * batch

    def memory(self, recipe: TrainConfig, batch: int) -> int:
        """Bytes that a training step takes at least, with so many pairs on one device.

        Weights, gradients and average in float32, the optimizer's moments, and the larger of what is kept for the
        gradient and of the copy by which the average is updated. In half precision what is kept takes half the bytes,
        beside a copy of the weights.
        """
        weights = FLOAT * self.parameters
        muon = self.hidden if recipe.optimizer == "muon" else 0
        moments = FLOAT * (muon + 2 * (self.parameters - muon))
        kept = self.kept * batch if recipe.precision == "no" else (self.kept * batch + weights) // 2
        return 3 * weights + moments + max(kept, weights)


def meta_unet(config: UNetConfig) -> UNet:
    """The network without storage."""
    with torch.device("meta"):
        return UNet(config)


def meta_forward(unet: UNet, pairs: int, size: tuple[int, int], tokens: int = TOKENS) -> Prediction:
    """What a network without storage predicts for so many pairs of a size (H, W), the text encoded as well."""
    with torch.device("meta"):
        x, y = torch.zeros(pairs, unet.config.image_channels, *size), torch.zeros(pairs, *size, dtype=torch.int64)
        level, keep = torch.zeros(pairs), torch.ones(pairs, dtype=torch.bool)
        states, mask = torch.zeros(pairs, tokens, unet.config.text_width), torch.ones(pairs, tokens, dtype=torch.bool)
    x, y = x if unet.config.image_channels else None, y if unet.config.num_classes else None
    low = LowResolution(x, y, level) if unet.config.low_resolution else None
    # The heads ask whether autocast is on, and that question knows no meta device.
    with mock.patch.object(torch, "is_autocast_enabled", lambda *device: False):
        return unet(x, y, level, level, unet.encode_text(states, mask, keep), low)


@cache
def count_unet(config: UNetConfig, size: tuple[int, int]) -> NetworkCost:
    """A U-Net on a pair of a size (H, W) and its caption."""
    unet = meta_unet(config)
    return counted(unet, lambda: meta_forward(unet, 1, size), unet.hidden_matrices())


@cache
def count_referee(
    config: SegmenterConfig | AttributeNetConfig | TwoTowerConfig, size: tuple[int, int], outputs: int
) -> NetworkCost:
    """A referee that is trained here, on an image of a size (H, W).

    `outputs`: classes or attributes; of a two-tower network the width of the text.
    """
    kind = {SegmenterConfig: SegmentationNet, AttributeNetConfig: AttributeNet, TwoTowerConfig: TwoTower}[type(config)]
    with torch.device("meta"):
        network, x = kind(config, outputs), [torch.zeros(2, 3, *size)]
        x += [torch.zeros(2, outputs)] if kind is TwoTower else []
    found = counted(network, lambda: network(*x), network.hidden_matrices())  # batch norm wants more than one image
    return NetworkCost(found.parameters, found.hidden, found.forward // 2, found.kept // 2)


@cache
def count_autoencoder(config: AutoencoderConfig, size: tuple[int, int]) -> tuple[NetworkCost, NetworkCost]:
    """The encoder and the decoder of latent diffusion, on an image of a size (H, W)."""
    config = STABLE_DIFFUSION if config.pretrained else config
    with torch.device("meta"):
        network, x = diffusers_class()(**config.architecture()), torch.zeros(1, 3, *size)
        latents = torch.zeros(1, config.channels, *(side // config.factor for side in size))
    encoder = counted(network.encoder, lambda: network.encoder(x), [])
    return encoder, counted(network.decoder, lambda: network.decoder(latents), [])


@cache
def count_encoder(name: str) -> NetworkCost:
    """A frozen text encoder of a profile on one caption; any T5 counts as the large one."""
    from transformers import BertConfig, BertModel, T5Config, T5EncoderModel

    large = "t5" in name
    with torch.device("meta"):
        network = T5EncoderModel(T5Config(**T5_LARGE)) if large else BertModel(BertConfig(**MINILM))
        ids = torch.zeros(1, TOKENS, dtype=torch.int64)
        return counted(network, lambda: network(input_ids=ids), [])


def text_width(name: str) -> int:
    """Channels of the token states of a text encoder of a profile."""
    return T5_LARGE["d_model"] if "t5" in name else MINILM["hidden_size"]


def counted(network: nn.Module, forward: Callable[[], Any], hidden: list[nn.Parameter]) -> NetworkCost:
    """What a forward pass of a network costs; `hidden` are the parameters that Muon would train."""
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held here, so that no other takes its place
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
        forward()
    return NetworkCost(
        sum(parameter.numel() for parameter in network.parameters()),
        sum(parameter.numel() for parameter in hidden),
        counter.get_total_flops(),
        sum(storage.nbytes() for storage in kept.values()),
    )
