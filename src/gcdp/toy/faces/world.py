"""A world of faces drawn by program, written as a CelebAMask-HQ tree so that the reader of the real data reads it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gcdp.data.sources.celeba import ATTRIBUTES, CAPTIONS, IMAGES, MAPPING, MASKS, PARTITION, PER_FOLDER
from gcdp.toy.faces.face import Drawing
from gcdp.toy.faces.person import COLUMNS
from gcdp.toy.tree import SPLITS, Tree, write_once

# Training faces are numbered first: with more of them every other face has another number, so it does not grow.
TREE = Tree((IMAGES, MASKS, CAPTIONS[0], ATTRIBUTES, MAPPING, PARTITION), Path(__file__).parent, grows=False)


def generate(root: Path, counts: dict[str, int], seed: int = 0) -> None:
    """Write a drawn world as a CelebAMask-HQ tree with the captions of Multi-Modal CelebA-HQ.

    Faces are numbered from 0: the training faces first, then those of val and test; the mapping and partition
    files tell the splits. A face depends on (seed, split, index in the split) alone, so splits are disjoint, and a
    stopped run resumes: files already there are left as they are. `world.json` notes what was asked for; another
    world, other counts or changed drawing code start the tree anew.

    Args:
        root: folder to write into.
        counts: faces per split; splits are "train", "val" and "test".
        seed: non-negative integer of the world.

    Raises:
        ConfigError: a split is unknown or a count is negative.
        DataError: `root` holds a tree that was not drawn by this function.
    """
    root = Path(root)
    counts, rows = TREE.fill(root, counts, {"seed": seed}, partial(_write_face, root, seed))
    _write_lists(root, rows, counts)


def _write_face(root: Path, seed: int, number: int, split: str, index: int) -> dict[str, bool]:
    """Write what is missing of one face; its attributes."""
    drawing = Drawing(seed, SPLITS[split], index)
    for name, mask in drawing.parts.items():
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        path = root / MASKS / str(number // PER_FOLDER) / f"{number:05d}_{name}.png"
        write_once(path, partial(picture.save, format="PNG", compress_level=1))
    _write_text(root / CAPTIONS[0] / f"{number}.txt", drawing.captions)
    path = root / IMAGES / f"{number}.jpg"
    if not path.exists():
        write_once(path, partial(Image.fromarray(drawing.image()).save, format="JPEG", quality=95, subsampling=0))
    return drawing.attributes


def _write_lists(root: Path, rows: list[dict[str, bool]], counts: dict[str, int]) -> None:
    """Attribute list, and the official split as a mapping to made-up original numbers with their partition."""
    listed = [f"{k}.jpg  " + " ".join("1" if row[name] else "-1" for name in COLUMNS) for k, row in enumerate(rows)]
    _write_text(root / ATTRIBUTES, [str(len(rows)), " ".join(COLUMNS), *listed])
    original = [f"{7 * k + 4:06d}.jpg" for k in range(len(rows))]
    mapped = [f"{k} {7 * k + 3} {name}" for k, name in enumerate(original)]
    _write_text(root / MAPPING, ["idx orig_idx orig_file", *mapped])
    splits = [number for split, number in SPLITS.items() for _ in range(counts[split])]
    _write_text(root / PARTITION, [f"{name} {split}" for name, split in zip(original, splits, strict=True)])


def _write_text(path: Path, lines: list[str]) -> None:
    write_once(path, lambda partial: partial.write_text("\n".join(lines) + "\n", encoding="utf-8"))
