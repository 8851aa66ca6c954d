"""Every notebook ends with links to the next one and the one before, in the order of notebooks/README.md."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from link_notebooks import linked, reading_order

NOTEBOOKS = ROOT / "notebooks"


def test_the_links_are_current():
    for path, text in linked(NOTEBOOKS).items():
        assert path.read_text(encoding="utf-8") == text, f"run `python tools/link_notebooks.py`: {path.name}"


def test_the_guide_names_every_notebook_once():
    names = reading_order((NOTEBOOKS / "README.md").read_text(encoding="utf-8"))
    assert sorted(names) == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def test_a_notebook_that_the_guide_lacks_is_named(tmp_path):
    shutil.copy(NOTEBOOKS / "01_data.ipynb", tmp_path)
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(KeyError, match="no row for 01_data"):
        linked(tmp_path)
