"""Captions composed from layouts, and the way back from a caption to the classes that it names."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from gcdp.data.classes import ClassTable
from gcdp.errors import ConfigError, DataError
from gcdp.storage import atomic_write


def caption_with(class_ids, classes: ClassTable) -> str:
    """Caption that names ``class_ids`` in the given order, in the template of their table: "... with A, B and C."

    Without any class the placeholder goes, together with the preposition before it.
    """
    template = classes.template
    phrases = [classes.phrases[index] for index in class_ids]
    if not phrases:
        return re.sub(r"(\s+(with|of|showing|containing))?\s*\{classes\}", "", template)
    listing = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return template.replace("{classes}", listing)


def caption_of(layout: np.ndarray, classes: ClassTable, rng: np.random.Generator) -> str:
    """Caption naming every class present in ``layout`` (H, W), the unlabeled one never, in random order."""
    present = [int(index) for index in np.unique(layout) if index != classes.unlabeled]
    return caption_with(rng.permutation(present).astype(int).tolist(), classes)


@lru_cache(maxsize=64)
def _matcher(classes: ClassTable) -> tuple[re.Pattern, dict[str, int]]:
    words = {classes.names[index].lower(): index for index in classes.labeled}
    # A phrase wins over an equal name of another class: captions are written with phrases.
    words.update({classes.phrases[index].lower(): index for index in classes.labeled})
    # Longest first, so that "traffic sign" is not read as a shorter class inside it.
    options = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{options})(?!\w)", re.IGNORECASE), words


def _without_frame(caption: str, template: str) -> str:
    """The part of a caption inside its template, so that a word of the template never counts as a class."""
    before, after = template.split("{classes}")
    if caption.startswith(before) and caption.endswith(after) and len(caption) >= len(before) + len(after):
        return caption[len(before) : len(caption) - len(after)]
    return caption


def classes_in_caption(caption: str, classes: ClassTable) -> list[int]:
    """Sorted indices of the classes that a caption names, by phrase or name; inverse of ``caption_of``."""
    pattern, words = _matcher(classes)
    inside = _without_frame(caption, classes.template)
    return sorted({words[found.lower()] for found in pattern.findall(inside)})


def mirror_caption(caption: str, classes: ClassTable) -> str:
    """Caption of the mirror image: phrases (or names) of left-right twins trade places."""
    if not classes.twins:
        return caption
    twin = {a: b for pair in classes.twins for a, b in (pair, pair[::-1])}
    pattern, words = _matcher(classes)

    def exchange(match: re.Match) -> str:
        found = match.group()
        index = words[found.lower()]
        if index not in twin:
            return found
        called = classes.phrases if found.lower() == classes.phrases[index].lower() else classes.names
        other = called[twin[index]]
        return other[:1].upper() + other[1:] if found[:1].isupper() else other

    return pattern.sub(exchange, caption)


def with_mirrors(captions: list[list[str]], classes: ClassTable) -> list[str]:
    """Every distinct caption, and its mirror where the table has twins: what a text cache has to hold."""
    flat = [caption for group in captions for caption in group]
    return list(dict.fromkeys(flat + [mirror_caption(caption, classes) for caption in flat]))


def write_captions(store, path: str | Path, per_pair: int = 1, seed: int = 0) -> None:
    """Write ``{"key", "captions"}`` a line, in store order; the captions of pair i depend on (seed, i) only.

    A source's own captions, where the store holds them, are written as they are, the first ``per_pair`` of a
    pair at most, all of them where ``per_pair`` is 0; otherwise ``per_pair`` captions are composed from the
    stored layout. Raises ConfigError where ``per_pair`` < 0, or 0 for a pair without captions of its own.
    """
    if per_pair < 0 or (per_pair == 0 and not (store.captions and all(store.captions))):
        raise ConfigError(
            f"per_pair is {per_pair}: ask for at least one caption a pair (0, all of them, needs a source that "
            "brings captions for every pair)."
        )
    with atomic_write(Path(path), DataError) as partial, partial.open("w", encoding="utf-8") as stream:
        for index, key in enumerate(store.keys):
            captions = store.captions[index] if store.captions else None
            if captions:
                captions = captions[: per_pair or None]
            else:
                rng = np.random.default_rng([seed, index])
                layout = store.layouts[index]
                captions = [caption_of(layout, store.classes, rng) for _ in range(per_pair)]
            stream.write(json.dumps({"key": key, "captions": captions}, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[dict]:
    """Validated objects of a captions file; raises DataError naming file and line."""
    if not path.is_file():
        raise DataError(f"captions file {path} does not exist: write it from the stored layouts first.")
    rows = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                rows.append(_row(line, path, number))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8.") from error
    return rows


def _row(line: str, path: Path, number: int) -> dict:
    try:
        row = json.loads(line)
        captions = row["captions"]
        good = isinstance(row["key"], str) and isinstance(captions, list) and len(captions) > 0
        good = good and all(isinstance(caption, str) and caption.strip() for caption in captions)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise DataError(
            f'{path} line {number} is malformed: each line needs {{"key": "...", "captions": ["...", ...]}} '
            "with at least one caption."
        )
    return row


def read_captions(path: str | Path, keys: list[str] | None = None) -> list[list[str]]:
    """Captions of every pair, in file order; with ``keys`` (of a store) the file must list exactly these.

    Raises DataError for a missing or malformed file, or one that belongs to another store.
    """
    path = Path(path)
    rows = read_rows(path)
    if not rows:
        raise DataError(f"captions file {path} is empty: write it again.")
    if keys is not None and [row["key"] for row in rows] != list(keys):
        raise DataError(f"{path} lists other pairs than the store: write the captions again from this store.")
    return [row["captions"] for row in rows]
