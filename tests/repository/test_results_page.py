"""results/README.md and the marked parts of README.md are what their templates make of the metrics."""

import sys
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from results_page import environment, said, wrapped, written


def test_no_number_drifts_from_the_metrics():
    for path, text in written(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, (
            f"run `python tools/results_page.py`: {path.name} is not current"
        )


def test_an_unknown_number_is_an_error(tmp_path):
    (tmp_path / "a.jinja").write_text("{{ streets.claim.effects | difference }}")
    with pytest.raises(jinja2.UndefinedError, match="effects"):
        environment(tmp_path).get_template("a.jinja").render(streets={"claim": {}})


def test_readme_fits_a_reader():
    words = [word for word in (ROOT / "README.md").read_text(encoding="utf-8").split() if any(map(str.isalnum, word))]
    assert len(words) <= 1200


def test_prose_is_wrapped_and_tables_are_not():
    text = wrapped("a\nb\n\n- c\n  d\n- e\n\n| f |\n|---|\n\n```\nx\ny\n```\n")
    assert text == "a b\n\n- c d\n- e\n\n| f |\n|---|\n\n```\nx\ny\n```\n"


def test_verdicts_name_their_domains():
    estimate, verdict = {"streets": {"value": 1}, "faces": {"value": 1}}, {"streets": "yes", "faces": "no"}
    assert said({"estimate": estimate, "verdict": verdict}) == "yes (streets), no (faces)"
    assert said({"estimate": estimate, "verdict": {"streets": "yes", "faces": "yes"}}) == "yes (both)"
    assert said({"estimate": {**estimate, "faces": None}, "verdict": verdict}) == "yes (streets)"
