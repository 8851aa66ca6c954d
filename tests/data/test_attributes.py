"""Attributes: tables, the list file, and captions read back, with shared nouns and negations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcdp.data.attributes import AttributeTable, attribute_values, attributes_in_caption, read_attribute_list
from gcdp.errors import DataError

HEADER = """
    5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
    Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
    Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
    Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
    Wearing_Necktie Young
"""
CELEBA_COLUMNS = HEADER.split()
TABLE = AttributeTable.of([*CELEBA_COLUMNS, "Long_Hair", "Dark_Skin"])


def named(caption, table=TABLE):
    return {table.names[index] for index in attributes_in_caption(caption, table)}


def test_all_of_celeba_but_two_can_be_named():
    assert len(CELEBA_COLUMNS) == 40 and TABLE.num_attributes == 42
    assert {TABLE.names[index] for index in set(range(42)) - set(TABLE.nameable)} == {"Male", "Blurry"}
    assert "Beard" in TABLE.names and "No_Beard" not in TABLE.names
    assert AttributeTable.of(["Male", "Tail"]).nameable == ()
    assert attributes_in_caption("a man with a tail", AttributeTable.of(["Male", "Tail"])) == []


def test_json_form_returns_the_table():
    assert AttributeTable.from_dict(TABLE.to_dict()) == TABLE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": []}, "at least one"),
        ({"names": ["A"]}, "one group of wordings"),
        ({"names": ["A", "a"]}, "names an attribute twice"),
        ({"phrases": [["x"], ["X"]]}, "uses a wording twice"),
        ({"phrases": [["x"], [" "]]}, "empty name or wording"),
        ({"phrases": ["x", "y"]}, "malformed"),
        ({"phrases": [["x"], [3]]}, "malformed"),
        ({"names": None}, "malformed"),
        ({"name": 1}, "malformed"),
    ],
)
def test_contradictory_tables_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        AttributeTable.from_dict({"name": "t", "names": ["A", "B"], "phrases": [["x"], []]} | changes)
    with pytest.raises(DataError, match="malformed"):
        AttributeTable.from_dict({})


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("He has black wavy hair.", {"Black_Hair", "Wavy_Hair"}),
        ("She has wavy, black hair, and EARRINGS", {"Wavy_Hair", "Black_Hair", "Wearing_Earrings"}),
        ("This person has long, straight, and blonde hair.", {"Long_Hair", "Straight_Hair", "Blond_Hair"}),
        ("She has bangs and black hair.", {"Bangs", "Black_Hair"}),
        ("She has black hair and bangs.", {"Bangs", "Black_Hair"}),
        ("A man with big, pointy nose and big lips", {"Big_Nose", "Pointy_Nose", "Big_Lips"}),
        ("arched and bushy eyebrows", {"Arched_Eyebrows", "Bushy_Eyebrows"}),
        ("He has a 5 o’clock shadow, and bags under eyes.", {"5_o_Clock_Shadow", "Bags_Under_Eyes"}),
        ("The mouth slightly open", {"Mouth_Slightly_Open"}),
        ("She has slightly open mouth, and oval face.", {"Mouth_Slightly_Open", "Oval_Face"}),
        ("She is attractive and young and has heavy makeup.", {"Attractive", "Young", "Heavy_Makeup"}),
        ("Pale skin; no, dark skin", {"Pale_Skin", "Dark_Skin"}),
        ("a black hat, brown eyes, gray beard", {"Wearing_Hat", "Beard"}),
        ("bearded, hatless, non-smiling, clean-shaven, chat", set()),
        ("This is a man.", set()),
        ("", set()),
    ],
)
def test_attributes_that_a_caption_names(caption, expected):
    assert named(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("He has no beard.", set()),
        ("He has no beard, and straight hair.", {"Straight_Hair"}),
        ("He has no beard and is young.", {"Young"}),
        ("This man doesn't have any beard.", set()),
        ("He doesn’t have any beard or mustache, and is smiling.", {"Smiling"}),
        ("He has neither a beard nor a goatee. He wears a hat.", {"Wearing_Hat"}),
        ("A man without a hat, smiling", {"Smiling"}),
        ("He does not wear a big red hat but eyeglasses", {"Eyeglasses"}),
        ("She isn't smiling; she is wearing lipstick", {"Wearing_Lipstick"}),
        ("She has no bangs, earrings, and no necklace", {"Wearing_Earrings"}),
        ("She has no black or brown hair", set()),
        ("She is not only smiling but also young", {"Smiling", "Young"}),
        ("He is not old and has a beard", {"Beard"}),
        ("No. She is smiling", {"Smiling"}),
    ],
)
def test_what_is_denied_is_not_named(caption, expected):
    assert named(caption) == expected


STATEMENTS = ("{} has {}.", "{} is a person with {}.", "{} wears {}.")
DENIALS = ("{} has no {}.", "{} is without {}.", "{} doesn't have any {}.", "{} does not wear {}.")
ATTRIBUTES = st.lists(st.sampled_from(TABLE.nameable), unique=True, min_size=1, max_size=6)


def listing(indices, joint, data):
    words = [data.draw(st.sampled_from(TABLE.phrases[index])) for index in indices]
    return joint.join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


@given(present=ATTRIBUTES, absent=ATTRIBUTES, first=st.booleans(), data=st.data())
def test_generated_sentences_are_read_back(present, absent, first, data):
    absent = [index for index in absent if index not in present]
    subject = data.draw(st.sampled_from(["He", "She", "The woman", "This person"]))
    said = data.draw(st.sampled_from(STATEMENTS)).format(
        subject, listing(present, data.draw(st.sampled_from([" and ", ", and ", ", "])), data)
    )
    denied = [data.draw(st.sampled_from(DENIALS)).format(subject, listing([index], " or ", data)) for index in absent]
    sentences = [said, *denied] if first else [*denied, said]
    caption = " ".join(sentences)
    caption = data.draw(st.sampled_from([caption, caption.upper(), caption.replace("'", "’")]))
    assert attributes_in_caption(caption, TABLE) == sorted(present)


HAIR = tuple(TABLE.names.index(f"{kind}_Hair") for kind in ("Black", "Blond", "Brown", "Gray", "Wavy", "Long"))


@given(
    kinds=st.lists(st.sampled_from(HAIR), unique=True, min_size=1),
    joint=st.sampled_from([" ", ", ", " and ", ", and "]),
    end=st.sampled_from(["", ".", ", and bangs", " and a hat"]),
)
def test_any_number_of_words_share_the_noun(kinds, joint, end):
    words = joint.join(TABLE.phrases[index][0].removesuffix(" hair") for index in kinds)
    expected = {TABLE.names[index] for index in kinds} | {
        name for word, name in (("bangs", "Bangs"), ("hat", "Wearing_Hat")) if word in end
    }
    assert named(f"She has {words} hair{end}") == expected


def test_columns_without_a_beard_are_turned():
    assert attribute_values(["Bangs", "No_Beard"], [True, True]) == (1, 0)
    assert attribute_values(["Bangs", "No_Beard"], [False, False]) == (0, 1)


LIST = "2\nBangs No_Beard Male\n0.jpg  1  1 -1\n1.jpg -1 -1  1\n\n"


def test_list_file(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(LIST)
    found = read_attribute_list(path)
    assert found.table == AttributeTable.of(["Bangs", "No_Beard", "Male"]) and found.rows == {"0.jpg": 0, "1.jpg": 1}
    assert found.values.dtype == np.uint8 and found.values.tolist() == [[1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("former", "new", "message"),
    [
        ("2\n", "3\n", "announces '3' rows but has 2"),
        ("2\n", "many\n", "announces 'many' rows"),
        ("1.jpg -1 -1  1", "1.jpg -1 -1", r"row 2 \(1.jpg\) is malformed"),
        ("1.jpg -1 -1  1", "1.jpg -1 -1 1 1", "row 2"),
        ("1.jpg -1 -1  1", "1.jpg -1 0 1", "each -1 or 1"),
        ("1.jpg", "0.jpg", r"row 2 \(0.jpg\)"),
        ("Bangs No_Beard Male", "Bangs No_Beard bangs", "names an attribute twice"),
        ("Bangs No_Beard Male", "", "at least one"),
        (LIST, "2", "is not an attribute list"),
    ],
)
def test_defects_of_the_list_are_named(tmp_path, former, new, message):
    path = tmp_path / "list.txt"
    path.write_text(LIST.replace(former, new))
    with pytest.raises(DataError, match=message) as error:
        read_attribute_list(path)
    assert str(path) in str(error.value)


def test_missing_and_binary_lists(tmp_path):
    with pytest.raises(DataError, match=r"list\.txt cannot be read .* copy the attribute list"):
        read_attribute_list(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\n\n")
    with pytest.raises(DataError, match="is not an attribute list"):
        read_attribute_list(tmp_path / "list.txt")
