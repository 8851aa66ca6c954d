"""Attributes of a face: their names, the wordings of captions, the list file, and the way back from a caption."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gcdp.errors import DataError

INVERTED = {"No_Beard": "Beard"}
"""Columns that are read under another name with their sign turned: what is absent cannot be shown."""

# The first wording is the usual one. A name that is not here, such as Male, Blurry, is never read from captions.
_WORDINGS: dict[str, tuple[str, ...]] = {
    "5_o_Clock_Shadow": ("5 o'clock shadow", "five o'clock shadow"),
    "Arched_Eyebrows": ("arched eyebrows",),
    "Attractive": ("attractive",),
    "Bags_Under_Eyes": ("bags under eyes", "bags under the eyes", "bags under his eyes", "bags under her eyes"),
    "Bald": ("bald",),
    "Bangs": ("bangs",),
    "Beard": ("beard",),
    "Big_Lips": ("big lips",),
    "Big_Nose": ("big nose",),
    "Black_Hair": ("black hair",),
    "Blond_Hair": ("blond hair", "blonde hair"),
    "Brown_Hair": ("brown hair",),
    "Bushy_Eyebrows": ("bushy eyebrows",),
    "Chubby": ("chubby",),
    "Dark_Skin": ("dark skin",),
    "Double_Chin": ("double chin",),
    "Eyeglasses": ("eyeglasses", "glasses", "sunglasses"),
    "Goatee": ("goatee",),
    "Gray_Hair": ("gray hair", "grey hair"),
    "Heavy_Makeup": ("heavy makeup", "heavy make-up"),
    "High_Cheekbones": ("high cheekbones",),
    "Long_Hair": ("long hair",),
    "Mouth_Slightly_Open": ("mouth slightly open", "slightly open mouth", "mouth is slightly open"),
    "Mustache": ("mustache", "moustache"),
    "Narrow_Eyes": ("narrow eyes",),
    "Oval_Face": ("oval face",),
    "Pale_Skin": ("pale skin",),
    "Pointy_Nose": ("pointy nose",),
    "Receding_Hairline": ("receding hairline",),
    "Rosy_Cheeks": ("rosy cheeks",),
    "Sideburns": ("sideburns",),
    "Smiling": ("smiling", "smile", "smiles"),
    "Straight_Hair": ("straight hair",),
    "Wavy_Hair": ("wavy hair",),
    "Wearing_Earrings": ("earrings", "earring"),
    "Wearing_Hat": ("hat",),
    "Wearing_Lipstick": ("lipstick",),
    "Wearing_Necklace": ("necklace",),
    "Wearing_Necktie": ("necktie",),
    "Young": ("young",),
}


@dataclass(frozen=True)
class AttributeTable:
    """The A attributes of a dataset, by index; ``phrases`` are the wordings by which captions name each.

    An attribute without wordings is kept but not read from captions. Raises DataError for tables that
    contradict themselves.
    """

    name: str
    names: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        wordings = [wording.lower() for group in self.phrases for wording in group]
        for problem, found in (
            ("needs at least one attribute", not self.names),
            ("needs one group of wordings an attribute", len(self.phrases) != len(self.names)),
            ("names an attribute twice", len({name.lower() for name in self.names}) != len(self.names)),
            ("uses a wording twice", len(set(wordings)) != len(wordings)),
            ("has an empty name or wording", not all(text.strip() for text in (*self.names, *wordings))),
        ):
            if found:
                raise DataError(f"attribute table {self.name!r} {problem}: correct the names of the attribute list.")

    @property
    def num_attributes(self) -> int:
        """A, those without wordings included."""
        return len(self.names)

    @property
    def nameable(self) -> tuple[int, ...]:
        """Indices of the attributes that captions can name."""
        return tuple(index for index, group in enumerate(self.phrases) if group)

    @classmethod
    def of(cls, columns: Sequence[str], name: str = "celeba") -> AttributeTable:
        """Table of the columns of an attribute list; columns of ``INVERTED`` change their name.

        Names of CelebA, and the two that the generated faces add, get their wordings, other names none.
        Raises DataError.
        """
        names = tuple(INVERTED.get(column, column) for column in columns)
        return cls(name, names, tuple(_WORDINGS.get(attribute, ()) for attribute in names))

    def to_dict(self) -> dict:
        """JSON form, as stores keep it."""
        return {"name": self.name, "names": list(self.names), "phrases": [list(group) for group in self.phrases]}

    @classmethod
    def from_dict(cls, data: dict) -> AttributeTable:
        """Table from its JSON form; raises DataError."""
        try:
            names, phrases = data["names"], data["phrases"]
            lists = [names, phrases, *phrases]
            texts = [data["name"], *names, *(wording for group in phrases for wording in group)]
            good = all(isinstance(part, list) for part in lists) and all(isinstance(text, str) for text in texts)
        except (KeyError, TypeError):
            good = False
        if not good:
            raise DataError("attribute table is malformed: give name, names and a list of wordings for each name.")
        return cls(data["name"], tuple(names), tuple(tuple(group) for group in phrases))


def attribute_values(columns: Sequence[str], present: Sequence[bool]) -> tuple[int, ...]:
    """0/1 in the order of ``AttributeTable.of(columns)``: inverted columns (no beard) are turned."""
    return tuple(int(bool(value) != (column in INVERTED)) for column, value in zip(columns, present, strict=True))


@dataclass(frozen=True)
class AttributeList:
    """A parsed attribute list: ``rows[file name]`` is the row of ``values``, uint8 (N, A) of 0 and 1."""

    table: AttributeTable
    rows: dict[str, int]
    values: np.ndarray


def read_attribute_list(path: Path) -> AttributeList:
    """The list file of CelebA or CelebAMask-HQ: the count, the column names, then ``<file>  -1 1 ...`` a line.

    Raises DataError naming file and line for a missing or malformed list.
    """
    try:
        count, header, *lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): copy the attribute list there.") from error
    except ValueError as error:  # not UTF-8, or fewer than two lines
        raise DataError(f"{path} is not an attribute list: copy or download the file again.") from error
    columns = header.split()
    try:
        table = AttributeTable.of(columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    fields = [line.split() for line in lines if line.strip()]
    if count.strip() != str(len(fields)):
        raise DataError(f"{path} announces {count.strip()!r} rows but has {len(fields)}: copy the file again.")
    values = np.empty((len(fields), len(columns)), dtype=np.uint8)
    rows: dict[str, int] = {}
    turned = np.asarray([column in INVERTED for column in columns])
    for row, (file, *signs) in enumerate(fields):
        if len(signs) != len(columns) or not set(signs) <= {"1", "-1"} or file in rows:
            raise DataError(
                f"{path} row {row + 1} ({file}) is malformed: each file needs one line of {len(columns)} "
                "values, each -1 or 1."
            )
        rows[file] = row
        values[row] = (np.asarray(signs) == "1") != turned
    return AttributeList(table, rows, values)


_STOP = r"(?:and|but|with|is|are|has|have|having|had|wears?|wearing|who|that)"
_NEGATION = re.compile(
    r"(?<!\w)(?:no|not(?!\s+(?:only|just))|without|never|neither|nor|lacks?|lacking|cannot|\w+n't)"
    # An auxiliary may follow ("doesn't have any"), then up to three words that do not open a new statement.
    rf"(?:\s+(?:have|having|wear|wearing|be|been))*(?:\s+(?!{_STOP}\b)[\w'-]+){{0,3}}\s+$",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(rf"^,?\s+n?or(?:\s+(?!{_STOP}\b)[\w'-]+){{0,3}}\s+$", re.IGNORECASE)


@lru_cache(maxsize=64)
def _matcher(table: AttributeTable) -> tuple[re.Pattern, dict[str, list[tuple[re.Pattern, int]]]]:
    """Pattern of any run "black, wavy hair", and for each last word the qualifiers with their attributes."""
    nouns: dict[str, dict[str, int]] = {}
    for index, group in enumerate(table.phrases):
        for wording in group:
            *qualifiers, noun = wording.lower().split()
            nouns.setdefault(noun, {})[r"\s+".join(map(re.escape, qualifiers))] = index
    runs = []
    for noun, words in nouns.items():
        options = "|".join(sorted(filter(None, words), key=len, reverse=True))
        run = rf"(?:{options})(?:(?:\s*,)?\s+(?:and\s+)?(?:{options}))*\s+" if options else ""
        # A noun that also stands alone ("beard") needs no qualifier.
        runs.append(rf"(?:{run}){'?' if run and '' in words else ''}{re.escape(noun)}")
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(runs)})(?![\w-])", re.IGNORECASE)
    parts = {
        noun: [
            (re.compile(rf"(?<![\w-]){words}(?![\w-])" if words else "", re.IGNORECASE), words_of[words])
            for words in words_of
        ]
        for noun, words_of in nouns.items()
    }
    return pattern, parts


def attributes_in_caption(caption: str, table: AttributeTable) -> list[int]:
    """Sorted indices of the attributes that a caption names as present.

    Whole words, in any case; "black, wavy hair" shares its noun. A negation ("no", "without", "doesn't have
    any") covers the next attribute and those joined to it by "or"/"nor"; "and" or a comma end it, because
    captions list "no beard, and straight hair".
    """
    if not table.nameable:
        return []
    text = caption.replace("’", "'")
    pattern, parts = _matcher(table)
    found, end, negated = set(), 0, False
    for match in pattern.finditer(text):
        gap = text[end : match.start()]
        negated = bool(_NEGATION.search(gap)) or (negated and bool(_ALTERNATIVE.match(gap)))
        end = match.end()
        if not negated:
            run = match.group()
            noun = run.split()[-1].lower()
            found.update(index for qualifier, index in parts[noun] if qualifier.search(run))
    return sorted(found)
