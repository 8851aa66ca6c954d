"""Reading and writing files of pairs: every defect becomes one DataError that names the file and a remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gcdp.errors import DataError

INDEX_MODES = ("L", "P", "1", "I", "I;16")


def require_folder(folder: Path, remedy: str) -> Path:
    """Return ``folder``; raises DataError with ``remedy`` where it does not exist."""
    if not folder.is_dir():
        raise DataError(f"folder {folder} does not exist: {remedy}.")
    return folder


def _decode(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"{path} does not exist: restore it, or remove its counterpart from the dataset.")
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}): copy or download the file again.") from error
    return picture


def read_image(path: Path) -> Image.Image:
    """RGB Pillow image, turned upright where its EXIF says so; raises DataError (missing, truncated)."""
    return ImageOps.exif_transpose(_decode(path)).convert("RGB")


def read_layout(path: Path) -> np.ndarray:
    """Integer ids (H, W) of a one-channel picture (palette pictures give their indices); raises DataError."""
    picture = _decode(path)
    if picture.mode not in INDEX_MODES:
        raise DataError(
            f"{path} has mode {picture.mode}: save the layout as a one-channel PNG with one class id a pixel."
        )
    return np.asarray(picture).astype(np.int32)


def check_same_size(image: Image.Image, layout: np.ndarray, image_path: Path, layout_path: Path) -> None:
    """Raise DataError where image and layout differ in size."""
    if image.size != layout.shape[::-1]:
        raise DataError(
            f"{layout_path} is {layout.shape[1]}x{layout.shape[0]} but its image {image_path.name} is "
            f"{image.width}x{image.height} (width x height): export both at one size."
        )


def split_order(names: list[str]) -> list[str]:
    """``train``, ``val``, ``test`` first, then other splits by name."""
    usual = ["train", "val", "test"]
    return sorted(names, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def subfolders(folder: Path) -> list[Path]:
    """Visible folders inside ``folder``, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
