"""Captions composed from attributes: read back as what they name, in plain English, one sex a caption."""

import numpy as np
import pytest

from gcdp.data.attributes import _WORDINGS, AttributeTable, attributes_in_caption
from gcdp.data.face_captions import (
    MAN,
    WOMAN,
    Style,
    caption_naming,
    contradictions,
    draw_style,
    foreign_to,
    sex_in_caption,
)

TABLE = AttributeTable.of(list(_WORDINGS))
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sex", [MAN, WOMAN, ""])
def test_captions_of_any_attributes_are_read_back(sex):
    for _ in range(300):
        order = RNG.permutation(len(TABLE.names))[: RNG.integers(0, 7)]
        caption = caption_naming(order, TABLE, sex, draw_style(RNG))
        assert attributes_in_caption(caption, TABLE) == sorted(order), caption
        assert sex_in_caption(caption) in (sex, "")


def named(*names):
    return [TABLE.names.index(name) for name in names]


def test_captions_speak_as_those_of_multi_modal_celeba():
    first = Style(0, "is wearing", (0, 1, 2))
    names = named("Black_Hair", "Smiling", "Wearing_Hat", "Bangs", "Wavy_Hair", "Eyeglasses", "Young", "Double_Chin")
    assert caption_naming(names, TABLE, WOMAN, first) == (
        "This woman has black wavy hair, bangs, and a double chin. She is wearing a hat and eyeglasses. "
        "She is smiling and young."
    )
    assert caption_naming(named("Beard", "Eyeglasses"), TABLE, "", Style(1, "wears", (1, 0, 2))) == (
        "The person wears eyeglasses. The person has a beard."
    )
    assert caption_naming([], TABLE, MAN, first) == "This is a man."
    assert caption_naming([], TABLE, WOMAN, Style(2, "wears", (0, 1, 2))) == "This person is a woman."
    assert caption_naming([], TABLE, "", first) == "This person is a person."


def test_contradictions_and_attributes_of_one_sex():
    against = contradictions(TABLE)
    assert np.array_equal(against, against.T) and not against.diagonal().any()
    for pair in (("Black_Hair", "Gray_Hair"), ("Pale_Skin", "Dark_Skin"), ("Beard", "Wearing_Lipstick"),
                 ("Bangs", "Wearing_Hat")):  # fmt: skip
        assert against[tuple(named(*pair))]
    assert not against[tuple(named("Black_Hair", "Wavy_Hair"))]
    assert foreign_to(TABLE, WOMAN) >= set(named("Beard", "Mustache")) and foreign_to(TABLE, "") == frozenset()
    assert foreign_to(TABLE, MAN) == set(named("Heavy_Makeup", "Wearing_Lipstick"))
    small = AttributeTable.of(["Smiling", "Male"])
    assert not contradictions(small).any() and not foreign_to(small, MAN)


@pytest.mark.parametrize(
    "caption, sex",
    [("He has bangs.", MAN), ("This woman smiles.", WOMAN), ("This person has bangs.", ""), ("Her and his hat", "")],
)
def test_the_sex_of_a_caption(caption, sex):
    assert sex_in_caption(caption) == sex
