"""Images made elsewhere (Lafite, GANformer, Semantic Palette, ...) as samples that can be scored beside ours.

folder/<any name>.png (.jpg, .jpeg)     the images; "2.png" comes before "10.png"
folder/captions.jsonl                   {"file": "<any name>.png", "caption": "..."} a line, or
folder/captions.txt                     one caption a line, in the order of the images
folder/layouts/<any name>.png           optional: one class id a pixel, by the class table
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.data.images import resize_pair
from gcdp.data.sources.files import check_same_size, read_image, read_layout, require_folder
from gcdp.data.sources.folder import IMAGE_SUFFIXES
from gcdp.errors import ConfigError, DataError
from gcdp.generators.samples import Samples


def open_external(
    folder: str | Path, classes: ClassTable, size: tuple[int, int], unconditional: bool = False
) -> Samples:
    """Read a folder of images made elsewhere, cropped to the aspect ratio of `size` (H, W) and resized to it.

    Images are resized with antialiasing and layouts by nearest label, as the real pairs are. The result has images
    uint8 (N, H, W, 3), layouts uint8 (N, H, W) or None without `folder`/layouts, one caption an image, no seeds,
    and the file names under settings["files"].

    Args:
        folder: see the head of this module.
        classes: what the ids of the layouts mean.
        size: height and width in pixels.
        unconditional: the images were made without text: no captions are read, every caption is "".

    Raises DataError for a missing or empty folder, an unreadable image or layout, captions that are missing or do
    not fit the images, one layout too few or too many, and ids that the table lacks; ConfigError for a size < 1.
    """
    size = int(size[0]), int(size[1])
    if min(size) < 1:
        raise ConfigError(f"size is {size}: give height and width of at least one pixel")
    folder = require_folder(Path(folder), "give the folder with the images made elsewhere")
    files = _images(folder)
    captions = [""] * len(files) if unconditional else _captions(folder, files)
    layouts = _layouts(folder / "layouts", files)
    pairs = [_load(path, layout, classes, size) for path, layout in zip(files, layouts, strict=True)]
    images = np.stack([image for image, _ in pairs])
    labels = np.stack([layout for _, layout in pairs]) if layouts[0] is not None else None
    settings = {"source": str(folder), "files": [path.name for path in files]}
    return Samples(images, labels, captions, [], settings)


def _images(folder: Path) -> list[Path]:
    """Visible images of a folder in natural order: runs of digits count as numbers."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise DataError(f"{folder} holds no .png, .jpg or .jpeg file: give the folder that holds the images directly.")
    return sorted(found, key=lambda path: (_natural(path.name), path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _captions(folder: Path, files: Sequence[Path]) -> list[str]:
    listed, plain = folder / "captions.jsonl", folder / "captions.txt"
    if listed.is_file():
        return _listed_captions(listed, files)
    if not plain.is_file():
        raise DataError(
            f"{folder} has neither captions.jsonl nor captions.txt: write the captions that the images were made "
            "from, or open the folder with unconditional=True."
        )
    captions = [line.strip() for line in _lines(plain)]
    if len(captions) != len(files) or not all(captions):
        raise DataError(
            f"{plain} holds {sum(map(bool, captions))} captions on {len(captions)} lines for {len(files)} images: "
            "write one caption a line, in the order of the file names."
        )
    return captions


def _listed_captions(path: Path, files: Sequence[Path]) -> list[str]:
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        name, caption = _row(line, path, number)
        if name in found:
            raise DataError(f"{path} lists {name} twice: keep the line with the caption that it was made from.")
        found[name] = caption
    names = {file.name for file in files}
    for name, problem in [(n, "lacks a line for") for n in names - found.keys()] + [
        (n, "names a missing image,") for n in found.keys() - names
    ]:
        raise DataError(
            f"{path} {problem} {name} ({len(found)} captions for {len(files)} images): give each image one line."
        )
    return [found[file.name] for file in files]


def _row(line: str, path: Path, number: int) -> tuple[str, str]:
    try:
        row = json.loads(line)
        name, caption = row["file"], row["caption"]
        good = isinstance(name, str) and isinstance(caption, str) and bool(caption.strip())
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise DataError(
            f'{path} line {number} is malformed: each line needs {{"file": "...", "caption": "..."}}, both not empty.'
        )
    return name, caption


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not readable UTF-8 text ({error}): save it as UTF-8.") from error


def _layouts(folder: Path, files: Sequence[Path]) -> list[Path | None]:
    """The layout file of each image, matched by name without suffix; all None without the folder."""
    if not folder.is_dir():
        return [None] * len(files)
    there = {p.stem: p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith(".")}
    stems = [file.stem for file in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1}) if len(set(stems)) < len(stems) else []
    if twice:
        raise DataError(f"two images of {folder.parent} share the layout {twice[0]}.png: rename or remove one.")
    for stem in sorted(set(stems) ^ there.keys()):
        raise DataError(
            f"{folder} holds {len(there)} layouts for {len(files)} images, {stem}.png fits only one side: give each "
            "image one layout of its name, or remove the folder."
        )
    return [there[stem] for stem in stems]


def _load(path: Path, layout_path: Path | None, classes: ClassTable, size: tuple[int, int]):
    """Image uint8 (H, W, 3) and layout uint8 (H, W) at `size`; the layout is all zero where there is none."""
    image = read_image(path)
    if layout_path is None:
        return resize_pair(image, np.zeros((image.height, image.width), np.uint8), size)
    layout = read_layout(layout_path)
    check_same_size(image, layout, path, layout_path)
    outside = np.unique(layout[(layout < 0) | (layout >= classes.num_classes)])
    if outside.size:
        raise DataError(
            f"{layout_path} holds id {outside[0]}, but class table {classes.name!r} has ids "
            f"0..{classes.num_classes - 1}: relabel the pixels by that table."
        )
    return resize_pair(image, layout.astype(np.uint8), size)
