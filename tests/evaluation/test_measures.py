"""The table of measures: every name has one meaning."""

import pytest

from gcdp.evaluation.measures import COMPARED, COMPARED_BY_ATTRIBUTES, MEASURES


def test_keys_names_and_columns_are_each_used_once():
    for name in ("key", "name", "column"):
        assert len({getattr(measure, name) for measure in MEASURES.values()}) == len(MEASURES)
    assert all(key == measure.key for key, measure in MEASURES.items())
    assert {*COMPARED, *COMPARED_BY_ATTRIBUTES} <= set(MEASURES)


def test_the_calibrated_area_stands_in_the_name():
    assert MEASURES["precision"].label(8) == "precision, from 8 pixels (calibrated)"
    assert MEASURES["precision"].label(1) == "precision, from 1 pixel (calibrated)"
    assert MEASURES["precision"].label() == "precision, from the calibrated area"
    assert MEASURES["frechet"].label(8) == "Fréchet distance, referee features"


@pytest.mark.parametrize("key", ["semantic_recall", "semantic_recall_area"])
def test_the_papers_recall_is_a_mean_over_captions_of_the_counts_that_the_pooled_one_sums(key):
    ours, pooled = MEASURES[key].ratio, MEASURES[f"{key}_pooled"].ratio
    assert ours.per_caption and not pooled.per_caption
    assert (ours.hits, ours.cases, ours.factor) == (pooled.hits, pooled.cases, pooled.factor)


def test_distances_are_better_the_lower_they_are():
    lower = {key for key, measure in MEASURES.items() if not measure.higher_is_better}
    assert lower == {"frechet", "kid", "fsd", "fpr"}


def test_measures_whose_chance_is_zero_ask_for_text():
    assert {key for key, each in MEASURES.items() if each.chance_is_zero} == {
        "effect", "effect_layouts", "j", "j_layouts"
    }  # fmt: skip
    assert all(each.of_text for each in MEASURES.values() if each.chance_is_zero)
