"""Each drawn world has a reader of real data for its tree, and a source of further pairs that know as much."""

import pytest

from gcdp.data.sources import open_source
from gcdp.errors import DataError
from gcdp.toy.tree import Tree, drawing_version, write_once
from gcdp.toy.worlds import WORLDS


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_the_named_reader_opens_the_tree_and_knows_what_further_pairs_know(name, tmp_path):
    world = WORLDS[name]
    world.generate(tmp_path, {"train": 2, "val": 1, "test": 1}, seed=1)
    source, drawn = open_source(world.reader, tmp_path), world.drawn(2)
    assert [len(source.keys(split)) for split in source.splits()] == [2, 1, 1]
    assert source.classes == drawn.classes
    assert getattr(source, "attribute_table", None) == getattr(drawn, "attribute_table", None)
    image, layout = source.load("train", source.keys("train")[0])
    further = drawn.load("referee", "000000")
    assert image.size == further[0].size and layout.shape == further[1].shape
    assert len(drawn.version) == 16


@pytest.mark.parametrize(("grows", "redrawn"), [(True, []), (False, [("train", 0), ("train", 1), ("val", 0)])])
def test_a_world_that_grows_keeps_what_it_has(tmp_path, grows, redrawn):
    tree, written = Tree(("files",), tmp_path, grows), []

    def write(number, split, index):
        path = tmp_path / "tree" / "files" / f"{split}{index}"
        if not path.exists():
            written.append((split, index))
        write_once(path, lambda partial: partial.write_text("drawn"))

    tree.fill(tmp_path / "tree", {"train": 2, "val": 1}, {"seed": 1}, write)
    assert written == [("train", 0), ("train", 1), ("val", 0)]
    del written[:]
    assert tree.fill(tmp_path / "tree", {"train": 3, "val": 1}, {"seed": 1}, write)[0] == {
        "train": 3,
        "val": 1,
        "test": 0,
    }
    assert sorted(written) == sorted([*redrawn, ("train", 2)])


def test_other_code_is_another_drawing(tmp_path):
    (tmp_path / "a.py").write_text("one")
    first = drawing_version(tmp_path)
    (tmp_path / "a.py").write_text("two")
    assert drawing_version(tmp_path) != first


def test_a_damaged_note_names_the_remedy(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "world.json").write_text("{")
    with pytest.raises(DataError, match=r"world\.json is not readable JSON .*: delete .* and draw the toy world again"):
        Tree(("files",), tmp_path, True).fill(tmp_path, {"train": 1}, {}, print)
