"""The table of the tuning: means and ranges over seeds, and the reference file."""

import json
from pathlib import Path

import pytest

from gcdp.errors import DataError
from gcdp.reporting.tuning import tuning_rows

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "tuning" / "faces.json"


def test_rows_hold_mean_range_and_number_of_seeds(tmp_path):
    joint = [{"model": "joint", "seed": seed, "image": 0.1 + seed / 100, "layout": 0.3} for seed in (1, 2, 3)]
    alone = [{"model": "gaussian", "seed": 1, "image": 0.25}]
    settings = {"train": {"optimizer": "adamw", "learning_rate": 0.003}, "unet": {"own_ends": False}}
    changes = [{"settings": {}, "runs": joint + alone}, {"settings": settings, "runs": joint[:2]}]
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps({"changes": changes}))
    first, second = tuning_rows(path)
    assert first == {
        "change": "none",
        "joint, image": "0.1200 [0.1100, 0.1300]",
        "joint, layout": "0.3000",
        "image-only, image": "0.2500",
        "seeds": "3 / 1",
    }
    assert second["change"] == "optimizer adamw, learning_rate 0.003, own_ends False"
    assert second["joint, image"] == "0.1150 [0.1100, 0.1200]"
    assert second["image-only, image"] == "–" and second["seeds"] == "2 / –"


def test_the_reference_file_names_its_recipe_and_repeats_every_change():
    content = json.loads(REFERENCE.read_text())
    for change in content["changes"]:
        for section, part in change["settings"].items():
            assert all(content["base"][section][name] != value for name, value in part.items())
        runs = [(run["model"], run["seed"]) for run in change["runs"]]
        assert len(set(runs)) == len(runs) and runs.count(("joint", 1)) == 1
    rows = tuning_rows(REFERENCE)
    assert rows[0]["change"] == "none" and rows[0]["seeds"] == "3 / 3"
    assert len({row["change"] for row in rows}) == len(rows)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json does not exist: fetch the whole repository"):
        tuning_rows(tmp_path / "none.json")
