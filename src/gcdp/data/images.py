"""Pixels: from uint8 to [-1, 1] and back, and the one way in which a pair is brought to another size."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

GRAY_LEVELS = 127.5
"""Gray levels of uint8 in one unit of [-1, 1]."""


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Images uint8 (..., H, W, 3) -> float32 (..., 3, H, W) in [-1, 1], a copy on ``device``.

    Computed on the CPU, because other devices may divide with another rounding.
    """
    x = torch.from_numpy(np.array(images)).movedim(-1, -3)  # a copy: memory maps are read-only
    return x.float().div_(GRAY_LEVELS).sub_(1).to(device)


def to_uint8(x: Tensor) -> np.ndarray:
    """Images (..., 3, H, W) in [-1, 1], on any device -> uint8 (..., H, W, 3); what lies outside is clipped."""
    return x.clamp(-1, 1).add(1).mul(GRAY_LEVELS).round().byte().movedim(-3, -1).cpu().numpy()


def resize_pair(
    image: Image.Image,
    layout: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Image and layout (h, w) -> uint8 (H, W, 3) and uint8 (H, W) at ``size`` (H, W).

    Both are cut from one ``box`` (left, top, right, bottom) in pixels, by default the largest centered one with the
    aspect ratio of ``size``. The image is resized with Pillow's LANCZOS, whose kernel widens with the reduction
    (antialiased); the layout takes the nearest label.
    """
    box = box or _center_box(*image.size, size)
    target = (size[1], size[0])
    pixels = image.resize(target, Image.Resampling.LANCZOS, box=box)
    labels = Image.fromarray(layout).resize(target, Image.Resampling.NEAREST, box=box)
    return np.asarray(pixels), np.asarray(labels)


def resize_larger(
    image: Image.Image, layout: np.ndarray, size: tuple[int, int], factor: int
) -> tuple[np.ndarray, np.ndarray]:
    """The pair at ``factor`` times ``size`` (H, W), image and layout placed to each other as `resize_pair` does at
    ``size``: uint8 (nH, nW, 3) and uint8 (nH, nW).

    Where the center of a pixel falls between two pixels of the source, as in every reduction by an even number, the
    label is that of the right or lower one, half a pixel ahead of the image. If that happens at ``size`` alone, the
    image is read half a pixel earlier: a network would otherwise learn outlines that are off from those it is held to.
    """
    large, box = (size[0] * factor, size[1] * factor), _center_box(*image.size, size)
    ahead = [
        _label_offset(start, end, count) - _label_offset(start, end, count * factor)
        for start, end, count in ((box[0], box[2], size[1]), (box[1], box[3], size[0]))
    ]
    pixels, labels = resize_pair(image, layout, large, box)
    if any(ahead):
        padded = Image.fromarray(np.pad(np.asarray(image), ((1, 1), (1, 1), (0, 0)), mode="edge"))
        moved = tuple(edge + 1 - step for edge, step in zip(box, ahead * 2, strict=True))
        pixels = np.asarray(padded.resize((large[1], large[0]), Image.Resampling.LANCZOS, box=moved))
    return pixels, labels


def _label_offset(start: float, end: float, count: int) -> float:
    """Source pixels by which the label that `resize_pair` takes lies ahead of the center of its pixel."""
    step = (end - start) / count
    return 0.5 if step.is_integer() and (start + step / 2).is_integer() else 0.0


def _center_box(width: int, height: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Largest centered box (left, top, right, bottom) with the aspect ratio of ``size`` (H, W)."""
    box_width = min(width, height * size[1] / size[0])
    box_height = min(height, width * size[0] / size[1])
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, min(left + box_width, width), min(top + box_height, height)
