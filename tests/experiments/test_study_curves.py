"""Curves over guidance from validation captions, and the comparison at no larger distance. Seeds: `bits`."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import bits

from gcdp.experiments.study_curves import at_no_larger_distance, curves_of, on_validation
from gcdp.experiments.study_measures import estimate, seeds_of
from gcdp.experiments.study_record import Trial
from gcdp.experiments.study_scoring import best_scale, validation_curve

SCALES = (1.0, 2.0, 4.0)


def made(distances, attributes=False, seeds=3, **follows):
    """A study whose validations have these Fréchet distances by model, one for each scale."""
    study = bits.study(seeds, (16,), attributes, **follows)
    for number, trial in enumerate(sorted(study.validations)):
        record = bits.record(study.setup, follows[trial.model], number, SCALES, None)
        points = {
            scale: point._replace(scalars={**point.scalars, "frechet": distance + number / 1000})
            for (scale, point), distance in zip(record.points.items(), distances[trial.model], strict=True)
        }
        study.validations[trial] = replace(record, points=points)
    return study


@pytest.mark.parametrize("attributes", [False, True], ids=["classes", "attributes"])
def test_curves_have_every_scale_and_the_validations_choose_one(attributes):
    study = made({"joint": (1, 2, 3), "gaussian": (1, 2, 3)}, attributes, joint=0.9, gaussian=0.4)
    validated = on_validation(study)
    assert all(record.guidance == 2.0 for record in study.tests.values())  # the study itself is left as it was
    curves = curves_of(validated, ("joint", "gaussian", "not_trained"), 16)
    assert list(curves) == ["joint", "gaussian"]
    for model, curve in curves.items():
        records = [study.validations[Trial(model, 16, seed)] for seed in range(3)]
        assert [point.guidance for point in curve.points] == list(SCALES)
        assert curve.guidance == best_scale(study.setup, records)
        known = [validation_curve(study.setup, record) for record in records]
        for point in curve.points:
            assert point.value("j") == pytest.approx(np.mean([each[point.guidance] for each in known]))
        assert "effect" not in curve.chosen


def test_ours_is_taken_where_it_lies_no_farther_than_theirs_at_its_best():
    study = made({"joint": (0.2, 0.5, 0.9), "gaussian": (0.4, 0.5, 0.6)}, joint=0.9, gaussian=0.4)
    validated = on_validation(study)
    found = at_no_larger_distance(validated, "joint", "gaussian", 16)
    assert found["guidance"] == {"joint": 2.0, "gaussian": 4.0}
    ends = [estimate(validated, model, 16, "j", scale)["value"] for model, scale in (("joint", 2.0), ("gaussian", 4.0))]
    assert found["j"]["value"] == pytest.approx(ends[0] - ends[1]) and found["j"]["seeds"] == 3
    assert found["frechet"]["value"] == pytest.approx(-0.1 + 0.003)  # trial numbers: gaussian 0 to 2, joint 3 to 5
    assert found["j"]["low"] < found["j"]["value"] < found["j"]["high"]


def test_where_ours_is_never_as_close_its_closest_scale_is_taken():
    study = made({"joint": (5, 4, 6), "gaussian": (1, 1, 1)}, joint=0.9, gaussian=0.4)
    found = at_no_larger_distance(on_validation(study), "joint", "gaussian", 16)
    assert found["guidance"]["joint"] == 2.0 and found["frechet"]["value"] > 0


def test_a_model_without_validations_is_compared_with_none():
    study = made({"joint": (1, 2, 3)}, joint=0.9)
    validated = on_validation(study)
    assert at_no_larger_distance(validated, "joint", "gaussian", 16) == {} == curves_of(validated, ("gaussian",), 16)
    assert seeds_of(validated, "joint", 16) == [0, 1, 2]
