"""Captions of drawn faces, in the manner of Multi-Modal CelebA-HQ; they name nothing but what is there."""

from __future__ import annotations

from gcdp.toy.drawing import Dice

LINES = 10
_WORN = {
    "Eyeglasses": ("eyeglasses",),
    "Wearing_Earrings": ("earrings",),
    "Wearing_Lipstick": ("lipstick",),
    "Wearing_Necklace": ("necklace", "a necklace"),
    "Wearing_Hat": ("hat", "a hat"),
}
_HAD = {
    "Bangs": ("bangs",),
    "Bushy_Eyebrows": ("bushy eyebrows",),
    "Double_Chin": ("double chin", "a double chin"),
    "Mouth_Slightly_Open": ("mouth slightly open", "slightly open mouth"),
    "Beard": ("beard", "a beard"),
    "Pale_Skin": ("pale skin",),
    "Dark_Skin": ("dark skin",),
}
_HAIR = {
    "Black_Hair": "black",
    "Blond_Hair": "blond",
    "Brown_Hair": "brown",
    "Gray_Hair": "gray",
    "Wavy_Hair": "wavy",
    "Long_Hair": "long",
}


def compose_captions(attributes: dict[str, bool], dice: Dice) -> list[str]:
    """Ten lines, each naming 2 to 6 (or all, if fewer) of the attributes that are true; the sex is in the subject."""
    true = {name for name, value in attributes.items() if value} - {"Male", "No_Beard"}
    if not attributes["No_Beard"]:
        true.add("Beard")
    return [_caption(sorted(true), attributes["Male"], dice) for _ in range(LINES)]


def _caption(true: list[str], male: bool, dice: Dice) -> str:
    noun = "man" if male else "woman"
    if not true:
        return dice.pick((f"This is a {noun}.", f"This person is a {noun}.", f"The person is a {noun}."))
    named = dice.shuffled(true)[: dice.between(min(2, len(true)), min(6, len(true)))]
    subject = dice.pick(("This " + noun, "The " + noun, "This person", "The person", "He" if male else "She"))
    groups = dice.shuffled([clause for clause in _clauses(named, dice) if clause])
    if len(groups) > 1 and dice.chance(350):
        return f"{subject} {_joined(groups, dice)}."
    pronoun = "He" if male else "She"
    starts = [subject] + [pronoun] * (len(groups) - 1)
    return " ".join(f"{start} {group}." for start, group in zip(starts, groups, strict=True))


def _clauses(named: list[str], dice: Dice) -> list[str]:
    """Predicates: what the person has, wears and does; empty ones where nothing is named."""
    had = [dice.pick(_HAD[name]) for name in named if name in _HAD]
    adjectives = [_HAIR[name] for name in named if name in _HAIR]
    if len(adjectives) > 1 and dice.chance(250):
        had += [f"{word} hair" for word in adjectives]
    elif adjectives:
        had.append(" ".join([*adjectives, "hair"]))
    worn = [dice.pick(_WORN[name]) for name in named if name in _WORN]
    wears = dice.pick(("wears ", "is wearing "))
    return [
        "has " + _joined(dice.shuffled(had), dice) if had else "",
        wears + _joined(worn, dice) if worn else "",
        "is smiling" if "Smiling" in named else "",
    ]


def _joined(words: list[str], dice: Dice) -> str:
    """Enumeration: "a and b", "a, b, and c", or "a, and b, and c"."""
    if len(words) < 2:
        return "".join(words)
    comma = ", and " if dice.chance(400) else " and "
    if len(words) > 2:
        comma = ", and "
    return (", and " if dice.chance(200) else ", ").join(words[:-1]) + comma + words[-1]
