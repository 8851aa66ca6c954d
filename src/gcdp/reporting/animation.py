"""The reverse chain of pairs as an animated GIF: each frame holds the pairs of one time, image above layout.

Labels keep their exact colors; the pictures share what is left of one palette, so that equal pairs give equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gcdp.data.classes import ClassTable
from gcdp.errors import DataError

CELL = 144  # pixels that a picture is at least wide once enlarged
GAP, BAND, TEXT_POINTS = 6, 26, 18  # pixels between pictures, and of the line of text
STEP_MS, LAST_MS = 160, 2000
MAX_BYTES = 1_500_000
COLORS = (128, 64, 32)  # of the pictures: more of them while the file stays small enough
THINNED = (1, 2, 4)  # after that every second or fourth frame
PAPER, INK = (255, 255, 255), (40, 40, 40)


def save_chain(
    path: str | Path,
    times: Sequence[int],
    images: np.ndarray | None,
    layouts: np.ndarray | None,
    classes: ClassTable | None,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write a GIF that shows N chains side by side, holds the last frame for two seconds and starts over.

    Args:
        times: s of each frame, in the order shown; written beneath the pairs.
        images: uint8 (F, N, H, W, 3), or None for layouts alone.
        layouts: integers (F, N, H, W), or None for images alone.
        classes: table of the layouts; may be None where `layouts` is.
        max_bytes: of the file. Colors of the pictures are merged, then frames left out, until it is no larger; the
            last of these files is written where none is small enough.

    Raises DataError where there is nothing to draw or the numbers of times, images and layouts differ.
    """
    halves = [np.asarray(half) for half in (images, layouts) if half is not None]
    shapes = {half.shape[:4] for half in halves}
    if len(shapes) != 1 or 0 in min(shapes) or {len(half) for half in halves} != {len(times)}:
        raise DataError(
            f"an animation needs images, layouts and times of one number > 0, got {len(times)} times and halves of "
            f"shape {', '.join(str(half.shape) for half in halves) or 'none'}."
        )
    for thinned, colors in product(THINNED, COLORS):
        shown = range(len(times) - 1, -1, -thinned)[::-1]  # the last frame always
        content = _encoded(shown, colors, times, images, layouts, classes)
        if len(content) <= max_bytes:
            break
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _encoded(shown: Sequence[int], colors: int, times, images, layouts, classes: ClassTable | None) -> bytes:
    """The file with the frames `shown`, whose pictures share `colors` colors."""
    fixed = [PAPER, INK]
    if layouts is not None:
        layouts = np.asarray(layouts)[list(shown)] + len(fixed)  # from class ids to places in the palette
        fixed += [tuple(int(value) for value in color) for color in classes.colors]
    palette = Image.new("P", (1, 1))
    if images is not None:
        images = np.asarray(images)[list(shown)]
        images, free = _indexed(images, min(colors, 256 - len(fixed)))
        images, fixed = images + len(fixed), fixed + free
    palette.putpalette([value for color in fixed for value in color])
    frames = []
    for number, place in enumerate(shown):
        halves = [half[number] for half in (images, layouts) if half is not None]
        frame = Image.fromarray(_sheet(halves))
        frame.putpalette(palette.getpalette())
        _write(frame, f"s = {times[place]}")
        frames.append(frame)
    file, milliseconds = io.BytesIO(), [STEP_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=False)
    return file.getvalue()


def _indexed(images: np.ndarray, colors: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Pictures (F, N, H, W, 3) as places in a palette of their own, (F, N, H, W), and that palette.

    The last frames, which are nearly clean, choose half of it: noise alone would take nearly all colors.
    """
    late = images[-max(1, len(images) // 4) :]
    halves = _flat(images).quantize(colors - colors // 2), _flat(late).quantize(colors // 2)
    values = [value for half in halves for value in (half.getpalette() or [])]
    palette = [tuple(values[i : i + 3]) for i in range(0, len(values), 3)]
    table = Image.new("P", (1, 1))
    table.putpalette(values)
    found = np.asarray(_flat(images).quantize(palette=table, dither=Image.Dither.NONE), np.uint8)
    return found.reshape(images.shape[:-1]), palette


def _flat(images: np.ndarray) -> Image.Image:
    """All pictures (..., H, W, 3) one beneath the other."""
    return Image.fromarray(np.ascontiguousarray(images).reshape(-1, images.shape[-2], 3))


def _sheet(halves: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (N, H, W) of each half, enlarged, side by side and one half above the other: palette places uint8."""
    count, height, width = halves[0].shape
    scale = -(-CELL // width)
    tall, wide = scale * height, scale * width
    size = GAP + len(halves) * (tall + GAP) + BAND, GAP + count * (wide + GAP)
    sheet = np.zeros(size, np.uint8)
    for row, half in enumerate(halves):
        large = half.astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
        for column, picture in enumerate(large):
            top, left = GAP + row * (tall + GAP), GAP + column * (wide + GAP)
            sheet[top : top + tall, left : left + wide] = picture
    return sheet


def _write(frame: Image.Image, text: str) -> None:
    """Write a line into the band at the lower edge."""
    pen = ImageDraw.Draw(frame)
    pen.fontmode = "1"  # no gray edges, which the palette lacks
    place = frame.width // 2, frame.height - BAND // 2 - GAP // 2
    pen.text(place, text, fill=1, font=ImageFont.load_default(TEXT_POINTS), anchor="mm")
