"""Captions of faces composed from attributes, and which attributes a caption cannot name together.

The sentences are those of Multi-Modal CelebA-HQ: "This woman has bangs, and wavy blond hair. She is wearing earrings."
`gcdp.data.attributes` reads them back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from gcdp.data.attributes import AttributeTable

MAN, WOMAN = "man", "woman"
_WORDS = {MAN: "man|he|his|him|male|gentleman|guy|boy", WOMAN: "woman|she|her|hers|female|lady|girl"}
# Attributes of one sex, as CelebA has them and the drawn faces too.
_OF = {
    MAN: ("5_o_Clock_Shadow", "Beard", "Goatee", "Mustache", "Sideburns"),
    WOMAN: ("Heavy_Makeup", "Wearing_Lipstick"),
}
# At most one of each group is true of a face.
_ONE_OF = (
    ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bald"),
    ("Straight_Hair", "Wavy_Hair", "Bald"),
    ("Pale_Skin", "Dark_Skin"),
    ("Long_Hair", "Bald"),
    ("Bangs", "Bald"),
    ("Bangs", "Receding_Hairline"),
)
# What the first hides the picture cannot show.
_HIDES = (("Wearing_Hat", "Bangs"), ("Wearing_Hat", "Bushy_Eyebrows"), ("Bangs", "Bushy_Eyebrows"))
_HIDES += (("Beard", "Double_Chin"), ("Wearing_Hat", "Bald"), ("Wearing_Hat", "Receding_Hairline"))
_IS = ("Attractive", "Bald", "Chubby", "Smiling", "Young")
_WEARS = ("Eyeglasses", "Heavy_Makeup")  # beside those whose name says so
_ARTICLE = {"beard": "a", "double chin": "a", "goatee": "a", "mustache": "a", "hat": "a", "necklace": "a"}
_ARTICLE |= {"necktie": "a", "big nose": "a", "pointy nose": "a", "receding hairline": "a", "oval face": "an"}
_ARTICLE |= {"5 o'clock shadow": "a"}


class Style(NamedTuple):
    """Choices that leave the meaning of a caption alone: which subject, which verb, the order of its clauses."""

    subject: int
    verb: str
    clauses: tuple[int, int, int]


def draw_style(rng: np.random.Generator) -> Style:
    """A style at random."""
    verb = ("wears", "is wearing")[int(rng.integers(2))]
    return Style(int(rng.integers(12)), verb, tuple(int(i) for i in rng.permutation(3)))


def sex_in_caption(caption: str) -> str:
    """`MAN` or `WOMAN` as a caption's nouns and pronouns say, "" where they say nothing or both."""
    found = [sex for sex, words in _WORDS.items() if re.search(rf"(?<!\w)(?:{words})(?!\w)", caption, re.IGNORECASE)]
    return found[0] if len(found) == 1 else ""


def foreign_to(table: AttributeTable, sex: str) -> frozenset[int]:
    """Attributes that a caption of this sex cannot name; none where it is unknown."""
    other = {MAN: WOMAN, WOMAN: MAN}.get(sex)
    return frozenset(table.names.index(name) for name in _OF.get(other, ()) if name in table.names)


def contradictions(table: AttributeTable) -> np.ndarray:
    """Which two attributes no caption can name together, bool (A, A), symmetric."""
    pairs = [pair for group in _ONE_OF for pair in combinations(group, 2)]
    pairs += [*_HIDES, *product(_OF[MAN], _OF[WOMAN])]
    index = {name: k for k, name in enumerate(table.names)}
    found = np.zeros((len(index), len(index)), bool)
    for first, second in pairs:
        if first in index and second in index:
            found[index[first], index[second]] = found[index[second], index[first]] = True
    return found


def caption_naming(attributes: Sequence[int], table: AttributeTable, sex: str, style: Style) -> str:
    """Caption that names these attributes, of nameable ones, in the order given; without any, "This is a woman."."""
    subjects = (f"This {sex}", f"The {sex}", "This person", "He" if sex == MAN else "She") if sex else ()
    subjects = subjects or ("This person", "The person")
    subject = subjects[style.subject % len(subjects)]
    if not len(attributes):
        return f"{subject} is a {sex or 'person'}." if subject.endswith("person") else f"This is a {sex}."
    follower = {MAN: "He", WOMAN: "She"}.get(sex, subject)
    clauses = _clauses([int(k) for k in attributes], table, style)
    said = [clauses[i] for i in style.clauses if clauses[i]]
    starts = [subject] + [follower] * (len(said) - 1)
    return " ".join(f"{start} {clause}." for start, clause in zip(starts, said, strict=True))


def _clauses(attributes: list[int], table: AttributeTable, style: Style) -> list[str]:
    """Predicates: what the person has, wears and is; empty ones where nothing is named."""
    words: dict[str, list[str]] = {"has": [], style.verb: [], "is": []}
    hair = [table.phrases[k][0].removesuffix(" hair") for k in attributes if table.phrases[k][0].endswith(" hair")]
    for k in attributes:
        name, phrase = table.names[k], table.phrases[k][0]
        if phrase.endswith(" hair"):
            phrase, hair = " ".join([*hair, "hair"]) if hair else "", []  # one noun for all of them
        worn = name in _WEARS or name.startswith("Wearing_")
        verb = style.verb if worn else "is" if name in _IS else "has"
        words[verb] += [f"{_ARTICLE[phrase]} {phrase}" if phrase in _ARTICLE else phrase] if phrase else []
    return [f"{verb} {_joined(found)}" if found else "" for verb, found in words.items()]


def _joined(words: list[str]) -> str:
    """Enumeration: "a and b", "a, b, and c"."""
    if len(words) < 3:
        return " and ".join(words)
    return f"{', '.join(words[:-1])}, and {words[-1]}"
