"""Records of evaluations and referees: plain JSON that reads back as it was, and files that are refused."""

import json
from dataclasses import replace

import pytest

from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.experiments.records import EvaluationRecord, GuidanceCurve, RefereeRecord, load_evaluations


def scores(value, **changes):
    return Scores({"f1": without_interval(value, 4), "frechet": without_interval(1.0, 4)}, **changes)


POINTS = tuple(scores(0.1 * guidance, guidance=guidance) for guidance in (1.0, 2.0, 3.0))
RECORD = EvaluationRecord(
    domain="streets",
    model="joint",
    kind="diffusion",
    split="test",
    n=4,
    minimum_area=3,
    referee="segmenter",
    curve=GuidanceCurve(POINTS, 2.0),
    unconditional=scores(0.0).without_text(),
    ceiling=scores(0.9, areas={"sky": 0.5}),
    training={"steps": 30, "batch_size": 8},
    validation=({"guidance": 1.0, "by": 0.1},),
    seed=0,
    num_steps=4,
)
REFEREE = RefereeRecord("faces", "segmenter", "test", 4, 3, scores(0.9, alignment_name="toy"), distances={"pale": 1.5})


def test_an_evaluation_reads_back_as_it_was_written(tmp_path):
    path = RECORD.save(tmp_path)
    assert path == tmp_path / "evaluation/streets/joint.json"
    assert load_evaluations(tmp_path) == {"streets": {"joint": RECORD}} and load_evaluations(tmp_path / "no") == {}
    content = json.loads(path.read_text())
    assert content["curve"]["points"][1]["f1"]["value"] == 0.2 and content["curve"]["guidance"] == 2.0


def test_the_chosen_scores_are_those_at_the_chosen_scale():
    assert RECORD.chosen is POINTS[1]
    assert GuidanceCurve().chosen is None  # images made without text
    assert GuidanceCurve((scores(0.5),)).chosen.value("f1") == 0.5  # images made elsewhere


def test_a_measure_that_does_not_apply_is_absent():
    nothing = {"value": None, "low": None, "high": None, "n": 4}
    record = Scores({"miou": nothing, "f1": without_interval(0.0, 4)}, {"f1": nothing})
    assert list(record.measures) == ["f1"] and record.chance == {} and "miou" not in record.to_dict()


def test_what_04_evaluators_measured_must_be_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"referee/faces\.json is missing: run the notebook 04_evaluators first"):
        RefereeRecord.load(tmp_path, "faces")
    assert RefereeRecord.load(REFEREE.save(tmp_path).parents[1], "faces") == REFEREE


def test_readability_is_of_attributes_where_captions_name_those(tmp_path):
    row = {
        "name": "pale",
        "n": 8,
        "frechet": without_interval(0.5, 4),
        "frechet_all": without_interval(0.3, 8),
        "j": without_interval(0.9, 4),
        "attribute_j": without_interval(0.4, 4),
    }
    nothing = {
        "name": "dark",
        "n": 8,
        "frechet": without_interval(0.6, 4),
        "j": {"value": None},
        "attribute_j": {"value": None},
    }
    classes = replace(REFEREE, spoiled=[row, nothing])
    attributes = replace(classes, ceiling=scores(0.9, per_attribute={"Smiling": without_interval(1.0, 4)}))
    assert classes.readability() == {"pale": (0.5, 0.9)} and attributes.readability() == {"pale": (0.5, 0.4)}
    assert classes.readability(n=8) == {"pale": (0.3, 0.9)}  # a distance of as many images as were spoiled
    near = Scores({"frechet": without_interval(0.4, 4)})
    assert attributes.unreadable(near) and not classes.unreadable(near)
    assert not REFEREE.unreadable(near) and not attributes.unreadable(None)  # nothing is known of either
    assert RefereeRecord.load(classes.save(tmp_path).parents[1], "faces") == classes


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "joint"}', '{"ceiling": {"recall": 1}}'])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, text):
    for path in (RECORD.save(tmp_path), REFEREE.save(tmp_path)):
        path.write_text(text)
    with pytest.raises(DataError, match=r"joint\.json is damaged or .*: run 07_evaluate again"):
        load_evaluations(tmp_path)
    with pytest.raises(DataError, match=r"faces\.json is damaged or of an older form .*: run 04_evaluators again"):
        RefereeRecord.load(tmp_path, "faces")
