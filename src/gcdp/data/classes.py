"""Class tables: names, colors, caption phrases and left-right twins of the classes of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gcdp.errors import DataError
from gcdp.storage import read_json

STREET_TEMPLATE = "An image of an urban street view with {classes}."
PLAIN_TEMPLATE = "An image with {classes}."


@dataclass(frozen=True)
class ClassTable:
    """The K classes of a layout, by index.

    ``phrases`` are how captions call the classes (default: the names), ``unlabeled`` is the index that
    captions and scores leave out, ``twins`` are pairs of indices that trade places in a mirror image
    (left eye, right eye), ``template`` is the caption with ``{classes}`` where the phrases go.
    Raises DataError for tables that contradict themselves.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    phrases: tuple[str, ...] = ()
    unlabeled: int | None = None
    twins: tuple[tuple[int, int], ...] = ()
    template: str = PLAIN_TEMPLATE

    def __post_init__(self):
        if not self.phrases:
            object.__setattr__(self, "phrases", tuple(self.names))
        self._check()

    def _check(self) -> None:
        count = len(self.names)
        for problem, found in (
            ("needs 1 to 256 classes", not 1 <= count <= 256),
            ("needs one color and one phrase a class", {len(self.colors), len(self.phrases)} != {count}),
            ("names a class twice", len({name.lower() for name in self.names}) != count),
            ("uses a caption phrase twice", len({phrase.lower() for phrase in self.phrases}) != count),
            ("has an empty name or phrase", not all(self.names + self.phrases)),
            ("has a color outside 0..255", not all(_is_color(color) for color in self.colors)),
            (
                "has an unlabeled index outside the table",
                self.unlabeled is not None and not 0 <= self.unlabeled < count,
            ),
            ("needs twins that are disjoint pairs of its indices", not self._twins_are_valid()),
            ("needs exactly one {classes} in its caption template", self.template.count("{classes}") != 1),
        ):
            if found:
                raise DataError(f"class table {self.name!r} {problem}: correct its classes file.")

    def _twins_are_valid(self) -> bool:
        flat = [index for pair in self.twins for index in pair]
        pairs = all(len(pair) == 2 for pair in self.twins)
        return pairs and len(set(flat)) == len(flat) and all(0 <= index < len(self.names) for index in flat)

    @property
    def num_classes(self) -> int:
        """K, the unlabeled class included."""
        return len(self.names)

    @property
    def labeled(self) -> tuple[int, ...]:
        """Indices of all classes but the unlabeled one."""
        return tuple(index for index in range(self.num_classes) if index != self.unlabeled)

    def colorize(self, layout) -> np.ndarray:
        """Layout (..., H, W) of indices -> uint8 colors (..., H, W, 3); raises DataError outside 0..K-1."""
        layout = np.asarray(layout)
        if layout.size and (layout.min() < 0 or layout.max() >= self.num_classes):
            raise DataError(f"layout holds indices outside 0..{self.num_classes - 1} of table {self.name!r}.")
        return np.asarray(self.colors, dtype=np.uint8)[layout]

    def swap_twins(self, layout: np.ndarray) -> np.ndarray:
        """Layout (..., H, W) with left and right classes exchanged, as a mirror image needs; same dtype."""
        if not self.twins:
            return layout
        swapped = np.arange(self.num_classes, dtype=layout.dtype)
        for left, right in self.twins:
            swapped[[left, right]] = right, left
        return swapped[layout]

    def to_dict(self) -> dict:
        """JSON form, the format of ``classes.json``."""
        rows = zip(self.names, self.colors, self.phrases, strict=True)
        return {
            "name": self.name,
            "classes": [
                {"id": index, "name": name, "color": list(color), "phrase": phrase}
                for index, (name, color, phrase) in enumerate(rows)
            ],
            "unlabeled": self.unlabeled,
            "twins": [list(pair) for pair in self.twins],
            "caption_template": self.template,
        }

    @classmethod
    def from_dict(cls, data: dict) -> ClassTable:
        """Table from its JSON form: ``name``, ``classes`` (``id``, ``name``, ``color``, optional ``phrase``),
        ``unlabeled`` (index or null), optional ``twins`` (pairs of indices), optional ``caption_template``.

        Where they are absent, twins are the classes "left ..." and "right ...", and street-like tables
        (at least half of the labeled names are Cityscapes names) speak in capitalized plurals.
        Raises DataError.
        """
        try:
            rows = sorted(data["classes"], key=lambda row: row["id"])
            names = tuple(str(row["name"]) for row in rows)
            if [row["id"] for row in rows] != list(range(len(rows))):
                raise DataError(f"class table {data['name']!r} needs the ids 0..{len(rows) - 1}, each once.")
            unlabeled = data.get("unlabeled")
            streets = _is_street_like(names, unlabeled)
            return cls(
                name=str(data["name"]),
                names=names,
                colors=tuple(tuple(int(value) for value in row["color"]) for row in rows),
                phrases=tuple(
                    str(row.get("phrase", plural(name) if streets else name))
                    for row, name in zip(rows, names, strict=True)
                ),
                unlabeled=unlabeled,
                twins=tuple((int(a), int(b)) for a, b in data.get("twins", _mirrored(names))),
                template=data.get("caption_template", STREET_TEMPLATE if streets else PLAIN_TEMPLATE),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"class table is malformed ({error!r}): give name, classes (id, name, color) and unlabeled."
            ) from error

    @classmethod
    def from_json(cls, path: str | Path) -> ClassTable:
        """Table from a ``classes.json``; raises DataError naming the file."""
        path = Path(path)
        data = read_json(path, "write one with name, classes (id, name, color) and unlabeled")
        try:
            return cls.from_dict(data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def _is_color(color) -> bool:
    return len(color) == 3 and all(0 <= value <= 255 for value in color)


def _mirrored(names: tuple[str, ...]) -> list[tuple[int, int]]:
    """Pairs ("left x", "right x") of indices."""
    index = {name.lower(): position for position, name in enumerate(names)}
    twins = {name: f"right {name[5:]}" for name in index if name.startswith("left ")}
    return [(index[left], index[right]) for left, right in twins.items() if right in index]


def _is_street_like(names: tuple[str, ...], unlabeled: int | None) -> bool:
    labeled = [name.lower() for index, name in enumerate(names) if index != unlabeled]
    return 2 * sum(name in _CITYSCAPES_NAMES for name in labeled) >= len(labeled) > 0


def plural(name: str) -> str:
    """Capitalized plural of a class name: "traffic sign" -> "Traffic signs", "person" -> "People"."""
    if name.lower() in _CITYSCAPES_NAMES:
        return _CITYSCAPES_PHRASES[_CITYSCAPES_NAMES.index(name.lower())]
    if name.endswith(("s", "x", "ch", "sh")):
        name += "es"
    elif name.endswith("y") and name[-2:-1] not in tuple("aeiou"):
        name = name[:-1] + "ies"
    else:
        name += "s"
    return name[:1].upper() + name[1:]


_CITYSCAPES_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "unlabeled",
)  # fmt: skip
_CITYSCAPES_PHRASES = (
    "Roads", "Sidewalks", "Buildings", "Walls", "Fences", "Poles", "Traffic lights", "Traffic signs",
    "Vegetations", "Terrains", "Skies", "People", "Riders", "Cars", "Trucks", "Buses", "Trains",
    "Motorcycles", "Bicycles", "Unlabeled",
)  # fmt: skip
_CITYSCAPES_COLORS = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
    (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
    (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32), (0, 0, 0),
)  # fmt: skip

CITYSCAPES = ClassTable(
    name="cityscapes",
    names=_CITYSCAPES_NAMES,
    colors=_CITYSCAPES_COLORS,
    phrases=_CITYSCAPES_PHRASES,
    unlabeled=19,
    template=STREET_TEMPLATE,
)


def _train_ids() -> tuple[int, ...]:
    label_ids = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    table = [19] * 34
    for train_id, label_id in enumerate(label_ids):
        table[label_id] = train_id
    return tuple(table)


CITYSCAPES_TRAIN_ID: tuple[int, ...] = _train_ids()
"""Train id of each of the 34 label ids of the ``labelIds`` files; everything void becomes 19, unlabeled."""

_CELEBA_NAMES = (
    "background", "skin", "nose", "eyeglasses", "left eye", "right eye", "left brow", "right brow", "left ear",
    "right ear", "mouth", "upper lip", "lower lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
_CELEBA_COLORS = (
    (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204), (0, 255, 255),
    (255, 204, 204), (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204),
    (255, 51, 153), (0, 204, 204), (0, 51, 0), (255, 153, 51), (0, 204, 0),
)  # fmt: skip

CELEBA = ClassTable(
    name="celebamask-hq",
    names=_CELEBA_NAMES,
    colors=_CELEBA_COLORS,
    phrases=tuple("earrings" if name == "earring" else name for name in _CELEBA_NAMES),
    twins=tuple(_mirrored(_CELEBA_NAMES)),
)
"""The face parts of CelebAMask-HQ; left is the person's left, at the right side of the picture."""
