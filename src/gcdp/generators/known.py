"""What a call of `Pipeline.sample` knows beforehand, checked, and how the rest is drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcdp.data.images import to_tensor
from gcdp.diffusion.joint import GaussianCategoricalDiffusion
from gcdp.diffusion.outpainting import Known, RePaint
from gcdp.diffusion.paths import LEADS, Path, along, find_path
from gcdp.diffusion.sampling import ReverseProcess, ReverseSettings
from gcdp.errors import ConfigError, DataError
from gcdp.training.checkpoint import ModelCard

HALVES = {"images": "image", "layouts": "layout"}
RESAMPLINGS = {"image": 5, "layout": 1}  # of the paper's Fig. 9, where such a half is drawn


@dataclass(frozen=True)
class Given:
    """Known halves as tensors, one row a caption; a mask is True where its half is known, None says everywhere."""

    image: Tensor | None = None
    layout: Tensor | None = None
    image_mask: Tensor | None = None
    layout_mask: Tensor | None = None

    def everywhere(self, half: str) -> bool:
        """Whether no pixel of "image" or "layout" is left to draw."""
        mask = getattr(self, f"{half}_mask")
        return getattr(self, half) is not None and (mask is None or bool(mask.all()))

    def rows(self, chosen: slice, total: int) -> Given:
        """Some of the rows, with the last of them repeated up to `total`."""

        def padded(part: Tensor | None) -> Tensor | None:
            if part is None:
                return None
            part = part[chosen]
            return torch.cat([part, part[-1:].expand(total - len(part), *part.shape[1:])])

        return Given(*(padded(getattr(self, each.name)) for each in fields(self)))


def read_given(
    card: ModelCard, process: GaussianCategoricalDiffusion, device: torch.device, count: int, halves: dict[str, Any]
) -> Given:
    """The known halves of a call for `count` captions, on a device.

    `halves`: "images" uint8 (B, H, W, 3), "layouts" (B, H, W), "mask_images" and "mask_layouts" bool (B, H, W), each
    None where it is not given. Raises DataError for a half or mask that the model has not, a mask without its half, and
    shapes, types or class ids that do not fit.
    """
    have = {"images": process.gaussian is not None, "layouts": process.categorical is not None}
    masks = {}
    for half, name in HALVES.items():
        mask = halves[f"mask_{half}"]
        for key in (half, f"mask_{half}"):
            if halves[key] is not None and not have[half]:
                raise DataError(f"this model has no {name} half: leave `{key}` out")
        if mask is not None and halves[half] is None:
            raise DataError(f"mask_{half} is given without {half}: give both, or leave the mask out")
        masks[name] = None if mask is None else _mask(f"mask_{half}", mask, (count, *card.size), device)
    image, layout = halves["images"], halves["layouts"]
    return Given(
        None if image is None else _image(image, (count, *card.size, 3), device),
        None if layout is None else _layout(layout, (count, *card.size), card.classes.num_classes, device),
        masks["image"],
        masks["layout"],
    )


def _mask(name: str, mask: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    mask = np.asarray(mask)
    if mask.shape != shape or mask.dtype != bool:
        raise DataError(f"{name} must be bool {shape}, True where known, got {mask.dtype} {mask.shape}")
    return torch.from_numpy(mask.copy()).to(device)


def _image(images: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    images = np.asarray(images)
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError(f"images must be uint8 {shape}, got {images.dtype} {images.shape}")
    return to_tensor(images, device)


def _layout(layouts: Any, shape: tuple[int, ...], classes: int, device: torch.device) -> Tensor:
    y = torch.as_tensor(np.asarray(layouts).astype(np.int64))
    if tuple(y.shape) != shape:
        raise DataError(f"layouts must have shape {shape}, got {tuple(y.shape)}")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise DataError(f"layouts hold a class id outside 0..{classes - 1}: map it to the model's classes first")
    return y.to(device)


@dataclass(frozen=True)
class Route:
    """How pairs are drawn: along which path, which halves are told as clean, and which go by replacement.

    `direct` and `replaced` name halves, "image" or "layout"; `resamplings` is 1 where nothing is replaced.
    """

    path: Path
    direct: tuple[str, ...]
    replaced: tuple[str, ...]
    resamplings: int
    described: Any

    @property
    def facts(self) -> dict[str, Any]:
        """For the settings of samples. `network_calls` counts those of each pair, guidance or not."""
        method = "direct" if self.direct else "joint"
        if self.replaced:
            method = "direct and repaint" if self.direct else "repaint"
        calls = self.resamplings * (len(self.path) - 1)
        facts = {"method": method, "path": self.described, "network_calls": calls}
        return {**facts, "resamplings": self.resamplings} if self.replaced else facts

    def keywords(self, given: Given) -> dict[str, Any]:
        """Path and clean halves, for `ReverseProcess.run`."""
        return {"path": self.path, **{half: getattr(given, half) for half in self.direct}}

    def reverse(
        self, process: GaussianCategoricalDiffusion, settings: ReverseSettings, given: Given, image_jump: Callable
    ) -> ReverseProcess:
        """The reverse process for one network batch."""
        if not self.replaced:
            return ReverseProcess(process, settings)
        parts: dict[str, Tensor] = {}
        for half in self.replaced:
            values, mask = getattr(given, half), getattr(given, f"{half}_mask")
            everywhere = torch.ones(len(values), *values.shape[-2:], dtype=torch.bool, device=values.device)
            parts |= {half: values, f"{half}_mask": everywhere if mask is None else mask}
        return RePaint(process, settings, Known(**parts), self.resamplings, image_jump)


def find_route(
    given: Given,
    known_halves: Sequence[str],
    process: GaussianCategoricalDiffusion,
    num_steps: int,
    path: str | float | Sequence[Sequence[int]],
    resamplings: int | None,
) -> Route:
    """The route for known halves.

    A half that is known everywhere and may be told as clean (`known_halves`) is; everything else that is known goes by
    replacement, since the network is told one noise level a half. Raises ConfigError where nothing is left to draw, or
    the path does not fit what is known.
    """
    halves = [name for name, there in (("image", process.gaussian), ("layout", process.categorical)) if there]
    held = [name for name in halves if getattr(given, name) is not None]
    whole = [name for name in held if getattr(given, f"{name}_mask") is None]
    if whole and len(whole) == len(halves):
        verb = "images and layouts are both given" if len(halves) == 2 else f"{whole[0]}s are given"
        raise ConfigError(f"{verb}, so nothing is left to draw: leave one out, or say by a mask where it is known")
    direct = tuple(name for name in whole if f"{name}s" in known_halves)
    replaced = tuple(name for name in held if name not in direct)
    schedule = (process.gaussian or process.categorical).schedule
    route = find_path(path, schedule, num_steps)
    described = _described(path, route)
    if direct:
        if described != "diagonal":
            raise ConfigError(f"path is given, but {direct[0]}s are known: their time is 0 throughout, leave path out")
        route = along(schedule.steps(num_steps), *(0 if name in direct else None for name in ("image", "layout")))
    for name, end in zip(("image", "layout"), route[-1], strict=True):
        if end and name in held:
            raise ConfigError(f"the path leaves {name}s out, but {name}s are given: leave one of the two out")
    if resamplings is None:
        asked = "image" in halves and not given.everywhere("image")
        resamplings = RESAMPLINGS["image" if asked else "layout"]
    return Route(route, direct, replaced, resamplings if replaced else 1, described)


def _described(path: str | float | Sequence[Sequence[int]], route: Path) -> str | float | list[list[int]]:
    """A path as settings keep it: its name or lead, or its pairs of times."""
    if isinstance(path, Real):
        return {lead: name for name, lead in LEADS.items()}.get(path, float(path))
    return path if isinstance(path, str) else [list(times) for times in route]
