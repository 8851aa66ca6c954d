"""Groups of facial attributes by what a layout says of them, fixed before any model is scored.

An attribute may be a class of the layout itself; may shape or color a part that has a class (lips, brows); may be a
color of hair or skin, large regions of one class; or may be anything else, mostly texture and shape. If drawing a
layout beside the image helps an image to follow its text, the first group should gain the most, and the last least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcdp.data.attributes import AttributeTable
from gcdp.data.classes import ClassTable
from gcdp.evaluation.chance import of_others
from gcdp.evaluation.correspondence import correspondence, label_weights, named_matrix
from gcdp.evaluation.layouts import class_areas
from gcdp.evaluation.statistics import bootstrap_ratio

# attributes that are there exactly where their class is
OWN_CLASS = {
    "Eyeglasses": "eyeglasses",
    "Mouth_Slightly_Open": "mouth",
    "Wearing_Earrings": "earring",
    "Wearing_Hat": "hat",
    "Wearing_Necklace": "necklace",
}
_PARTS = ("Arched_Eyebrows", "Big_Lips", "Bushy_Eyebrows", "Smiling", "Wearing_Lipstick")
_COLORS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Dark_Skin", "Gray_Hair", "Pale_Skin")
GROUPS = ("own class", "lips and brows", "hair and skin color", "texture and shape")
FEWEST = 40  # captions that name what is reported alone; fewer are marked


def group_of(attribute: str) -> str:
    """Which of GROUPS an attribute belongs to."""
    groups = zip(GROUPS, (OWN_CLASS, _PARTS, _COLORS), strict=False)
    return next((group for group, members in groups if attribute in members), GROUPS[-1])


def layout_bits(layouts: np.ndarray, classes: ClassTable, table: AttributeTable) -> tuple[np.ndarray, np.ndarray]:
    """Which attributes layouts (N, H, W) hold, bool (N, A), and which of them a layout can hold, bool (A,).

    An attribute is held from one pixel of its own class on; one without a class of its own in this table never is.
    """
    held, areas = np.zeros((len(layouts), table.num_attributes), bool), class_areas(layouts, classes.num_classes)
    known = np.zeros(table.num_attributes, bool)
    for index, name in enumerate(table.names):
        if OWN_CLASS.get(name) in classes.names:
            held[:, index] = areas[:, classes.names.index(OWN_CLASS[name])] > 0
            known[index] = True
    return held, known


def group_scores(present: np.ndarray, captions: Sequence[str], table: AttributeTable) -> dict[str, dict[str, Any]]:
    """Recall, its chance and J of each group of attributes, of those that captions can name.

    Args:
        present: bool (N, A), from `AttributeReferee.present`.

    {group: {"recall", "chance", "j", "n", "attributes"}}: Estimates over all (image, named attribute) cases of the
    group, chance by `chance.of_others`, J pooled as everywhere; n counts these cases, "attributes" names its members.
    A group without members in this table is absent.
    """
    return groups_of_bits(named_matrix(captions, table), np.asarray(present) > 0, table.names, table.nameable)


def groups_of_bits(
    named: np.ndarray, present: np.ndarray, names: Sequence[str], nameable: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """The same from what captions name, bool (N, A), and what images show, bool or a mean over seeds (N, A).

    `names` are those of the A attributes, `nameable` those that captions can name.
    """
    found = {}
    for group in GROUPS:
        members = [a for a in nameable if group_of(names[a]) == group]
        if not members:
            continue
        asked, seen = named[:, members], present[:, members]
        hits = [(asked * bits).sum(1) for bits in (seen, of_others(seen))] if len(seen) > 1 else []
        recall, chance = (bootstrap_ratio(each, asked.sum(1)) for each in hits) if hits else (None, None)
        found[group] = {
            "recall": recall,
            "chance": chance,
            "j": correspondence(asked, seen, label_weights(asked))["j"],
            "n": int(asked.sum()),
            "attributes": [names[a] for a in members],
        }
    return found
