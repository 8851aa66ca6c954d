"""The table of the tuning: means and ranges over seeds, and the reference file."""

import json
from pathlib import Path

import pytest

from gcdp.errors import DataError
from gcdp.reporting.tuning import picture_rows, ratio_rows, tuning_rows

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "tuning"


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


def test_pictures_have_a_row_a_change(tmp_path):
    runs = [{"j": 0.25 + lift, "j_layouts": 0.75, "miou": 0.125, "frechet": 0.5} for lift in (0.0, 0.25)]
    changes = [{"settings": {}, "runs": runs}, {"settings": {"unet": {"own_ends": False}}, "runs": runs[:1]}]
    (tmp_path / "pictures.json").write_text(json.dumps({"changes": changes}))
    first, second = picture_rows(tmp_path / "pictures.json")
    others = {"J of layouts": "0.750", "mIoU": "0.125", "distance": "0.500"}
    assert first == {"change": "none", "J": "0.375 [0.250, 0.500]", **others, "seeds": "2"}
    assert second == {"change": "own_ends False", "J": "0.250", **others, "seeds": "1"}


def test_ratios_are_those_of_modules_that_all_networks_share_and_both_losses_reach(tmp_path):
    first = {"text": [2.0, 1.0], "image stem": [1.0, 1.0], "image head": [1.0, 0.0], "all": [9.0, 9.0]}
    second = {"text": [0.5, 1.0], "stem": [1.0, 1.0], "image head": [1.0, 0.0], "all": [9.0, 9.0]}
    settings = {"unet": {"own_ends": False}}
    changes = [{"settings": {}, "norms": first}, {"settings": settings, "norms": second}]
    path = tmp_path / "gradients.json"
    path.write_text(json.dumps({"changes": changes}))
    assert ratio_rows(path) == [{"change": "none", "text": "0.50"}, {"change": "own_ends False", "text": "2.00"}]


@pytest.mark.parametrize(
    ("name", "rows_of"), [("faces", tuning_rows), ("gradients_faces", ratio_rows), ("streets", picture_rows)]
)
def test_the_reference_files_name_their_recipe_and_each_change_once(name, rows_of):
    path = REFERENCE / f"{name}.json"
    content = json.loads(path.read_text())
    for change in content["changes"]:
        for section, part in change["settings"].items():
            assert all(content["base"][section][setting] != value for setting, value in part.items())
        runs = [(run["model"], run["seed"]) for run in change.get("runs", ())]
        assert len(set(runs)) == len(runs)
    rows = rows_of(path)
    assert rows[0]["change"] == "none" and len({row["change"] for row in rows}) == len(rows) > 4


def test_a_missing_or_other_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json does not exist: fetch the whole repository"):
        tuning_rows(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other\.json holds no list 'changes'"):
        ratio_rows(tmp_path / "other.json")
