"""Estimates over seeds and images, differences and best rows, from records written by hand. Random numbers: seed 0."""

import numpy as np
import pytest

from gcdp.evaluation.agreement import AGREEMENT
from gcdp.evaluation.mixed_effects import grand_mean
from gcdp.experiments.features_measures import (
    Side,
    best_row,
    comparison,
    difference,
    estimate,
    grid_table,
    shown_sides,
    side,
    specific,
    summary,
)
from gcdp.experiments.features_record import BASELINES, FeatureRecord, FeatureRecords, Row
from gcdp.experiments.study_record import Trial

SHOWN = Row("paired", "up.0", 800, 10)
LAST, LAST_IMAGE = (SHOWN._replace(tap=tap) for tap in ("last", "last.image"))
LAST_OTHER = LAST._replace(condition="paired_other")
EARLY = SHOWN._replace(time=200)
OTHER = SHOWN._replace(condition="paired_other")
BLANK, BLANK_OTHER = (SHOWN._replace(condition=name) for name in ("blank", "blank_other"))
PLACE, VOTES = Row("position", clusters=10), Row("noised_layout", time=800)
MODELS = ("joint", "gaussian")


def record(**means):
    """A record of 20 images by row: all measures have the mean given, and scatter around it."""
    scatter = np.random.default_rng(0).normal(0, 0.05, (len(AGREEMENT), 20))
    values = {globals()[name]: mean + scatter - scatter.mean(1, keepdims=True) for name, mean in means.items()}
    return FeatureRecord("", "", values)


@pytest.fixture
def records():
    networks = {
        Trial("joint", 4, 1): record(SHOWN=0.5, EARLY=0.6, LAST_IMAGE=0.2, OTHER=0.3, BLANK=0.45, BLANK_OTHER=0.3),
        Trial("joint", 4, 2): record(SHOWN=0.6, EARLY=0.6, LAST_IMAGE=0.3, OTHER=0.3, BLANK=0.45, BLANK_OTHER=0.3),
        Trial("gaussian", 4, 1): record(SHOWN=0.3, EARLY=0.7, LAST=0.4, OTHER=0.2, LAST_OTHER=0.1),
        Trial("gaussian", 4, 2): record(SHOWN=0.2, EARLY=0.7, LAST=0.4, OTHER=0.2, LAST_OTHER=0.1),
    }
    return FeatureRecords(networks, record(PLACE=0.25, VOTES=0.1))


def test_estimates_cover_seeds_and_images(records):
    found = estimate(records, Side("joint", SHOWN), "ami")
    rows = [records.networks[Trial("joint", 4, seed)].get(SHOWN, "ami") for seed in (1, 2)]
    assert found == grand_mean(np.stack(rows))
    assert found["value"] == pytest.approx(0.55) and (found["seeds"], found["n"]) == (2, 20)


def test_differences_are_paired_by_seed(records):
    found = difference(records, Side("joint", SHOWN), Side("gaussian", SHOWN), "purity")
    assert found["value"] == pytest.approx(0.3) and found["seeds"] == 2  # 0.2 and 0.4
    against_place = difference(records, Side("joint", SHOWN), Side(BASELINES, PLACE), "ami")
    assert against_place["value"] == pytest.approx(0.3) and against_place["seeds"] == 2
    del records.networks[Trial("gaussian", 4, 2)]
    assert difference(records, Side("joint", SHOWN), Side("gaussian", SHOWN), "ami")["value"] == pytest.approx(0.2)
    del records.networks[Trial("joint", 4, 1)]
    assert difference(records, Side("joint", SHOWN), Side("gaussian", SHOWN), "ami")["value"] is None


def test_what_all_pairs_share_drops_out(records):
    assert specific(records, Side("joint", SHOWN), "ami")["value"] == pytest.approx(0.25)


def test_the_last_map_of_the_image_has_two_names_and_baselines_any(records):
    assert side(records, "gaussian", LAST_IMAGE) == Side("gaussian", LAST)
    assert side(records, "joint", LAST) == Side("joint", LAST_IMAGE)
    assert side(records, "gaussian", SHOWN._replace(tap="last.layout")) is None
    assert side(records, BASELINES, SHOWN._replace(condition="position")) == Side(BASELINES, PLACE)
    assert side(records, BASELINES, EARLY._replace(condition="noised_layout")) is None  # it has times


def test_ways_to_find_clusters_are_listed_in_order(records):
    found = shown_sides(records, MODELS, SHOWN)
    assert found == [
        Side("joint", SHOWN), Side("joint", BLANK), Side("gaussian", SHOWN), Side(BASELINES, PLACE),
        Side(BASELINES, VOTES),
    ]  # fmt: skip


def test_the_best_row_is_that_of_the_mean_over_seeds(records):
    assert best_row(records, "joint", "paired", 800) == Side("joint", SHOWN)
    assert best_row(records, "gaussian", "paired", 800) == Side("gaussian", LAST)


def test_rows_of_the_grid_are_counted(records):
    assert comparison(records, *MODELS, "paired") == {
        "rows": 3, "higher": 1, "clearly_higher": 0, "clearly_lower": 1
    }  # fmt: skip
    assert comparison(records, *MODELS, "blank")["rows"] == 1


def test_the_table_has_every_row_once(records):
    table = grid_table(records)
    assert len(table) == 6 + 5 + 2
    (row,) = [row for row in table if (row["model"], row["tap"], row["t"]) == ("gaussian", "up.0", 200)]
    assert row["ami"]["value"] == pytest.approx(0.7) and row["seeds"] == 2 and row["condition"] == "paired"


def test_the_summary_holds_the_row_shown_and_each_model_at_its_best(records):
    found = summary(records, MODELS, SHOWN)
    assert found["row"] == {"condition": "paired", "tap": "up.0", "time": 800, "clusters": 10}
    assert found["seeds"] == {"joint": [1, 2], "gaussian": [1, 2]} and found["n"] == 20
    assert found["difference"]["paired"]["ami"]["value"] == pytest.approx(0.3)
    assert found["difference"]["blank"]["ami"]["value"] == pytest.approx(0.2)
    assert found["specific"]["gaussian, paired"]["value"] == pytest.approx(0.05)
    assert found["best"]["gaussian"]["row"]["tap"] == "last"
    assert found["best"]["gaussian"]["specific"]["value"] == pytest.approx(0.3)
    assert found["best"]["difference"]["ami"]["value"] == pytest.approx(0.15)
    assert [each["condition"] for each in found["sides"]] == ["paired", "blank", "paired", "position", "noised_layout"]
