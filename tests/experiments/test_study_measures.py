"""Measures of a study from its bits: agreement with the measures of one set of images, and claims. Seeds are stated."""

from types import SimpleNamespace

import numpy as np
import pytest
from worlds import bits
from worlds.hand_made import record as evaluated

from gcdp.errors import DataError
from gcdp.evaluation.correspondence import correspondence, label_weights
from gcdp.evaluation.naming import Swaps, effect
from gcdp.experiments.claims import claims
from gcdp.experiments.records import GuidanceCurve
from gcdp.experiments.study_measures import (
    all_scores,
    compare,
    curve,
    difference,
    each_training,
    effect_values,
    estimate,
    growth_of_difference,
    point_values,
    scores,
    seeds_of,
    sizes_of,
)
from gcdp.experiments.study_record import Trial


@pytest.fixture(scope="module", params=["classes", "attributes"])
def made(request):
    return bits.study(joint=0.9, gaussian=0.3, attributes=request.param == "attributes")


def test_values_of_captions_have_the_measures_as_their_means(made):
    setup, test = made.setup, made.tests[Trial("joint", 16, 1)]
    named, seen = (
        setup.named[f"test/{setup.labels}"],
        test.chosen.bits["attributes" if setup.labels == "attributes" else "seen"],
    )
    known = correspondence(named, seen, label_weights(named))
    for key in ("j", "tpr", "fpr"):
        values = point_values(key, setup, test.chosen)
        assert values.shape == (bits.CAPTIONS,) and values.mean() == pytest.approx(known[key]["value"]), key
        half = 1.96 * values.std(ddof=1) / len(values) ** 0.5  # about what the bootstrap finds
        assert half == pytest.approx((known[key]["high"] - known[key]["low"]) / 2, rel=0.3), key
    classes, held = setup.named["test/classes"], test.chosen.bits["seen_1px"]
    recall = (classes & held).sum() / classes.sum()
    assert point_values("semantic_recall_pooled", setup, test.chosen).mean() == pytest.approx(recall)
    if setup.labels == "attributes":
        assert point_values("precision", setup, test.chosen) is None
        assert point_values("alignment", setup, test.chosen).mean() == pytest.approx(
            test.chosen.values["alignment"].astype(float).mean()
        )


def test_the_effect_is_that_of_its_swaps(made):
    setup, test = made.setup, made.tests[Trial("joint", 16, 1)]
    swaps = Swaps(setup.swaps["caption"], setup.swaps["label"], [], [])
    weights = label_weights(setup.named[f"test/{setup.labels}"])
    known = effect(swaps, test.swapped["seen_with"], test.swapped["seen_without"], weights)["effect"]
    values = effect_values(setup, test)
    assert values.mean() == pytest.approx(known["value"]) and len(values) == known["n"]
    assert 1.96 * values.std(ddof=1) / len(values) ** 0.5 == pytest.approx((known["high"] - known["low"]) / 2, rel=0.3)
    assert effect_values(setup, test, "drawn") is None


def test_a_model_that_follows_its_text_differs_from_one_that_does_not(made):
    for key in ("j", "j_layouts"):
        found = difference(made, "joint", "gaussian", 16, key)
        assert 0 < found["low"] < found["value"] < found["high"] and (found["seeds"], found["n"]) == (3, 40)
        back = difference(made, "gaussian", "joint", 16, key)
        assert back["value"] == pytest.approx(-found["value"]) and back["low"] == pytest.approx(-found["high"])
    itself = difference(made, "joint", "joint", 16, "j")
    assert itself["value"] == itself["low"] == itself["high"] == 0
    assert difference(made, "joint", "gaussian", 16, "frechet")["n"] == 1  # one value a seed
    assert set(compare(made, "joint", "gaussian", 16, ["j", "attribute_macro"])) == {"j"}
    with pytest.raises(DataError, match="no seed of 'joint' and 'latent' on 16 pairs was tested"):
        difference(made, "joint", "latent", 16, "j")


def test_only_seeds_that_both_have_are_compared(made):
    part = bits.study(joint=0.9, gaussian=0.3)
    del part.tests[Trial("gaussian", 16, 0)], part.tests[Trial("joint", 16, 2)]
    assert seeds_of(part, "joint", 16, "gaussian", 16) == [1] and seeds_of(part, "joint", 16) == [0, 1]
    assert difference(part, "joint", "gaussian", 16, "j")["seeds"] == 1
    assert growth_of_difference(part, "joint", "gaussian", [8, 16], "j")["per_halving"]["seeds"] == 1
    assert sizes_of(part, "joint") == [8, 16]


def test_growth_compares_sizes_within_each_seed(made):
    found = growth_of_difference(made, "joint", "gaussian", [8, 16], "j")
    ends = [difference(made, "joint", "gaussian", size, "j")["value"] for size in (8, 16)]
    assert found["smallest_minus_all"]["value"] == pytest.approx(ends[0] - ends[1])
    assert found["per_halving"]["value"] == pytest.approx(ends[0] - ends[1])  # one halving lies between them
    assert growth_of_difference(made, "joint", "gaussian", [16], "j") is None


def test_scores_and_curves_have_the_form_that_figures_take(made):
    found = scores(made, "joint", 16)
    assert found.guidance == 2.0 and found.minimum_area == 3
    for key in ("semantic_recall", "frechet", "miou"):
        assert found[key]["low"] <= found[key]["value"] <= found[key]["high"] or key in ("frechet", "miou")
        assert found[key]["value"] == pytest.approx(estimate(made, "joint", 16, key)["value"])
    assert found.above_chance("semantic_recall_pooled") > 0.1
    drawn = curve(made, "joint", 16)
    assert [point.guidance for point in drawn.points] == [1.0, 2.0] and drawn.chosen == found
    assert set(all_scores(made, ["joint"])["joint"]) == {8, 16}
    if made.setup.labels == "attributes":
        assert list(found.per_attribute) == ["v", "w", "x", "z"] and found.alignment_name == "toy"
        named = made.setup.named["test/attributes"]
        assert found.per_attribute["w"]["n"] == named[:, 1].sum()
    dots = each_training(made, "frechet")
    assert len(dots) == 12 and set(dots.values()) == {1.0}


def plan(**models):
    study = SimpleNamespace(models=("joint", "gaussian"), full_size=("longer", "other", "eps"))
    return SimpleNamespace(
        study=study,
        model=lambda name: SimpleNamespace(layout=name not in ("longer", "eps", "gaussian")),
        diffusion_for=lambda name: "eps" if name == "eps" else "v",
    )


def test_every_claim_has_its_interval():
    made = bits.study(joint=0.9, gaussian=0.3, longer=0.4, other=0.8, eps=0.35)
    for size, model in ((8, "longer"), (8, "other"), (8, "eps")):
        for seed in range(3):
            del made.tests[Trial(model, size, seed)]
    rivals = {
        "joint": evaluated(),
        "two_stage": evaluated(kind="two_stage", miou=0.3),
        "pixel_classifier": evaluated(kind="pixel_classifier", curve=GuidanceCurve(), unconditional=None),
    }
    found = claims(made, plan(), rivals, ["a", "c"])
    assert list(found["C1"]) == ["8", "16"] and found["C1"]["8"]["j"]["low"] > 0
    assert found["C2"]["j"]["pairs"] == [8, 16]
    assert set(found["C3"]) == {"longer"} and set(found["settings"]) == {"other", "eps"}
    assert found["minor"]["classes"] == ["a", "c"] and found["minor"]["j"]["low"] > 0
    assert not claims(made, plan(), rivals)["minor"]
    assert set(found["C4"]) == {"two_stage"}
    aligned = found["C4"]["two_stage"]
    assert aligned["value"] == pytest.approx(0.5 - rivals["two_stage"].chosen.value("miou")) and aligned["seeds"] == [
        3,
        1,
    ]
    # no scatter of seeds here: two intervals over images, of half width 0.01 each
    assert aligned["high"] - aligned["value"] == pytest.approx(0.01 * np.sqrt(2), rel=0.01)
