"""The gradient of each loss by module of a network: which of the two decides what a shared module learns.

The layout loss counts as in training, times `layout_weight`, so the ratio of the two norms is proportional to it. With
it, and with the scale of the layout embedding, the ratio is set before a long run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gcdp.data.batches import collate
from gcdp.data.pairs import PairDataset
from gcdp.network.unet import UNet
from gcdp.training.diffusion import ConditionedUNet, DiffusionLoss
from gcdp.training.loop import placed, step_generator

# Parts of the network outside its ends and levels: first piece of a parameter's name -> module.
PARTS = {"embed_layout": "layout embedding", "embed_low_layout": "layout embedding", "text": "text"}
PARTS |= dict.fromkeys(("noise_x", "noise_y", "low_noise"), "noise levels")
PARTS |= dict.fromkeys(("mid_in", "mid_attention", "mid_out"), "mid")
ALL = "all"


@dataclass(frozen=True)
class ModuleGradients:
    """Gradients of the image loss and of `layout_weight` times the layout loss in the parameters of one module.

    `image` and `layout` are their norms, root mean squares over batches; `cosine` is that of the angle between them,
    NaN where one of the two is zero.
    """

    module: str
    image: float
    layout: float
    cosine: float

    @property
    def ratio(self) -> float:
        """Norm of the layout's gradient in units of the image's; NaN or infinite where the image's is zero."""
        if self.image:
            return self.layout / self.image
        return math.inf if self.layout else math.nan


def modules(unet: UNet) -> dict[str, list[nn.Parameter]]:
    """Parameters by module, in the order of computation; each parameter is in one module.

    "layout embedding", "text", "noise levels", then the stem of each end ("image stem", or "stem" where the halves
    share one), down.i and up.i with the change of resolution before and after them, "mid", and of each end its
    last upsampling and block ("image end") and its heads ("image head").
    """
    found = defaultdict(list)
    for name, parameter in unet.named_parameters():
        found[_module(unet, name)].append(parameter)
    levels, owners = range(len(unet.down)), [_owner(unet, i) for i in range(len(unet.ends))]
    order = ["text", "noise levels", "layout embedding", *(f"{owner}stem" for owner in owners)]
    order += [*(f"down.{i}" for i in levels), "mid", *(f"up.{i}" for i in reversed(levels))]
    order += [*(f"{owner}end" for owner in owners), *(f"{half} head" for half in unet.config.halves)]
    return {module: found[module] for module in order if module in found}


def _module(unet: UNet, name: str) -> str:
    first, *rest = name.split(".")
    if first in PARTS:
        return PARTS[first]
    if first == "ends":
        end, kind, *deeper = rest
        if kind == "heads":
            return f"{deeper[0]} head"
        return _owner(unet, int(end)) + ("stem" if kind == "stem" else "end")
    # upsample[i] follows up[i + 1]
    return {"downsample": f"down.{rest[0]}", "upsample": f"up.{int(rest[0]) + 1}"}.get(first, f"{first}.{rest[0]}")


def _owner(unet: UNet, end: int) -> str:
    """Prefix of the modules of an end: its half, nothing where it is the only end."""
    return "" if len(unet.ends) == 1 else f"{unet.ends[end].halves[0]} "


def fixed_batches(
    loss: DiffusionLoss, pairs: PairDataset, count: int, device: str | torch.device = "cpu", seed: int = 0
) -> list[dict[str, Tensor]]:
    """`count` batches of the recipe's size on `device`, noised at times of the recipe; the same in every call.

    The pairs are taken in order, from the first again where they end.
    """
    made, size = [], loss.config.batch_size
    for number in range(count):
        rows = [row % len(pairs) for row in range(number * size, (number + 1) * size)]
        batch = placed(collate([pairs[(row, 0)] for row in rows], pairs.text), torch.device(device))
        made.append(loss.prepare(batch, step_generator(seed, number, 0)))
    return made


def gradients_by_module(unet: UNet, loss: DiffusionLoss, batches: Sequence[dict[str, Tensor]]) -> list[ModuleGradients]:
    """A row for each of `modules`, and a last one, "all", for the whole network.

    Args:
        unet: a network of both halves, on the device of the batches, frozen or not; it stays as it is.
        loss: of its process, whose `layout_weight` counts.
        batches: what `loss.prepare` made, such as `fixed_batches`.

    Raises ValueError for no batch, or a process without one of the halves.
    """
    process = loss.process
    if not batches or process.gaussian is None or process.categorical is None:
        raise ValueError("gradients of two losses need a process of both halves and at least one batch")
    unet = deepcopy(unet).requires_grad_(True)  # loaded networks are frozen
    parts, weights = modules(unet), {"image": 1.0, "layout": process.layout_weight}
    sums = {module: torch.zeros(3, dtype=torch.float64) for module in parts}
    for given in batches:
        losses = loss.compute(ConditionedUNet(unet), given).parts
        for module, products in _products(parts, {half: weights[half] * losses[half] for half in weights}).items():
            sums[module] += products
    sums[ALL] = sum(sums.values())
    return [_row(module, (products / len(batches)).tolist()) for module, products in sums.items()]


def _products(parts: dict[str, list[nn.Parameter]], losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inner products (image, image), (layout, layout), (image, layout) of the gradients of one batch, by module."""
    flat = [parameter for parameters in parts.values() for parameter in parameters]
    gradients = [
        torch.autograd.grad(losses[half], flat, retain_graph=half == "image", materialize_grads=True)
        for half in ("image", "layout")
    ]
    pairs = zip(*([g.double().flatten() for g in each] for each in gradients), strict=True)
    products = iter([torch.stack([a @ a, b @ b, a @ b]).cpu() for a, b in pairs])
    return {module: sum(next(products) for _ in parameters) for module, parameters in parts.items()}


def _row(module: str, products: list[float]) -> ModuleGradients:
    image, layout, both = products
    norms = math.sqrt(image), math.sqrt(layout)
    return ModuleGradients(module, *norms, both / math.prod(norms) if all(norms) else math.nan)
