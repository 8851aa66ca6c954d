"""Less memory for more work: blocks of the U-Net forget what they computed, and compute it again for the gradient.

What a block keeps for its backward pass, convolutions' inputs, normalized maps and attention, is several times its
input. With its input alone kept, memory falls by that factor, and a step takes one more forward pass of the blocks
(Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from gcdp.errors import ConfigError
from gcdp.network.blocks import ResidualBlock, TransformerBlock

BLOCKS = (ResidualBlock, TransformerBlock)


def recompute_blocks(network: nn.Module) -> None:
    """Let every residual and transformer block of a network keep its inputs alone for the backward pass.

    Losses and gradients stay the same to the bit, and so do the names of the weights. Nothing random happens in the
    blocks, so no state of a generator is kept. Raises ConfigError for a network without such blocks.
    """
    blocks = [module for module in network.modules() if isinstance(module, BLOCKS)]
    if not blocks:
        raise ConfigError(f"train.checkpoint_activations is for diffusion networks, not for {type(network).__name__}")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
