"""Groups of attributes, fixed by the class table, and which attributes a layout says itself. All by hand."""

import numpy as np
import pytest

from gcdp.data.attributes import AttributeTable
from gcdp.data.classes import CELEBA
from gcdp.evaluation.attribute_groups import GROUPS, OWN_CLASS, group_of, group_scores, layout_bits
from gcdp.toy.faces.person import COLUMNS

TABLE = AttributeTable.of(COLUMNS)


def test_every_attribute_has_one_group():
    grouped = {group: [TABLE.names[a] for a in TABLE.nameable if group_of(TABLE.names[a]) == group] for group in GROUPS}
    assert set(grouped["own class"]) == set(OWN_CLASS) and set(OWN_CLASS.values()) <= set(CELEBA.names)
    assert set(grouped["lips and brows"]) == {"Bushy_Eyebrows", "Smiling", "Wearing_Lipstick"}
    assert len(grouped["hair and skin color"]) == 6
    assert set(grouped["texture and shape"]) == {"Bangs", "Double_Chin", "Beard", "Wavy_Hair", "Long_Hair"}


def test_a_layout_says_the_attributes_that_have_a_class():
    layouts = np.zeros((2, 4, 4), np.uint8)
    layouts[0, 1, 2], layouts[1, :2] = CELEBA.names.index("hat"), CELEBA.names.index("mouth")
    held, known = layout_bits(layouts, CELEBA, TABLE)
    assert [[TABLE.names[a] for a in np.flatnonzero(row)] for row in held] == [["Wearing_Hat"], ["Mouth_Slightly_Open"]]
    assert {TABLE.names[a] for a in np.flatnonzero(known)} == set(OWN_CLASS)


def test_groups_are_scored_above_their_chance():
    captions = ["She wears a hat.", "She is smiling.", "She wears a hat and eyeglasses.", "He has bangs."]
    names = ("Wearing_Hat", "Eyeglasses", "Smiling", "Bangs")
    present = np.zeros((4, len(TABLE.names)), bool)
    for row, shown in enumerate(([0], [2], [0], [0, 3])):
        present[row, [TABLE.names.index(names[k]) for k in shown]] = True
    found = group_scores(present, captions, TABLE)
    own = found["own class"]  # hat and hat, and no eyeglasses; by other images 2/3, 2/3 and 0
    assert own["recall"]["value"] == pytest.approx(2 / 3) and own["n"] == 3
    assert own["chance"]["value"] == pytest.approx(4 / 9)
    assert own["j"]["value"] == pytest.approx((0.25 * 0.5 + 0.1875 * 0) / (0.25 + 0.1875))
    assert found["texture and shape"]["j"]["value"] == 1 and found["hair and skin color"]["recall"]["value"] is None
    assert set(found) == set(GROUPS)
    alone = group_scores(present[:1], captions[:1], TABLE)["own class"]
    assert alone["chance"] is None and alone["n"] == 1
