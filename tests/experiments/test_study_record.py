"""Differences of models over repeated trainings, from counts made by hand, and records of the first format."""

import numpy as np
import pytest
import torch
from worlds.hand_made import FULL, HALF, N, study_by_hand

from gcdp.errors import DataError
from gcdp.experiments.study_record import RECORDS, Study, Trial
from gcdp.storage import save_tensors, write_json


def noisy(seed):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 5, N).tolist(), [4] * N, [5] * N, rng.integers(1, 5, N).tolist(), [5] * N]


def test_known_differences():
    """Captions and seeds agree within each model, so that every interval is a point."""
    made = study_by_hand(
        ours={(8, 1): (FULL, 1.0), (8, 2): (FULL, 2.0)}, theirs={(8, 1): (HALF, 3.0), (8, 2): (HALF, 5.0)}
    )
    found = made.compare("ours", "theirs", 8)
    # recall 1 - 3/4; 1 - 2/4; precision 1 - 2/5; 1 - 3/6; F1 1 - 2 * 2 / (4 + 5)
    known = {"semantic_recall": 1 / 4, "semantic_recall_area": 1 / 2, "precision": 3 / 5, "f1": 5 / 9}
    known |= {"semantic_recall_pooled": 1 / 4, "semantic_recall_area_pooled": 1 / 2, "precision_1px": 1 / 2}
    assert set(found) == {*known, "frechet", "trainings"}
    for name, value in known.items():
        assert found[name] == pytest.approx({"value": value, "low": value, "high": value}), name
    # differences -2 and -3: mean -2.5, standard error 0.5, t(0.975, 1) = 12.706
    assert found["frechet"] == pytest.approx({"value": -2.5, "low": -2.5 - 6.353, "high": -2.5 + 6.353}, abs=1e-3)
    assert found["trainings"] == 2
    back = made.compare("theirs", "ours")
    assert back["f1"]["value"] == pytest.approx(-5 / 9) and back["frechet"]["value"] == 2.5


def test_recall_is_compared_by_the_mean_over_captions_and_pooled():
    counts = ([1, 0], [1, 4], [1, 1], [1, 0], [1, 1])  # 1 of 1 and 0 of 4
    nothing = ([0, 0], *counts[1:])
    found = study_by_hand(ours={(8, 1): (counts, 1.0)}, theirs={(8, 1): (nothing, 1.0)}).compare("ours", "theirs")
    assert found["semantic_recall"]["value"] == (1 + 0) / 2 and found["semantic_recall_pooled"]["value"] == 1 / 5


def test_a_single_pair_of_trainings_has_no_interval_of_its_distance():
    found = study_by_hand(ours={(8, 1): (FULL, 1.0)}, theirs={(8, 1): (HALF, 3.0)}).compare("ours", "theirs")
    assert found["frechet"] == {"value": -2.0, "low": None, "high": None}


def test_a_model_against_itself_differs_by_nothing():
    made = study_by_hand(ours={(8, seed): (noisy(seed), float(seed)) for seed in (1, 2, 3)})
    found = made.compare("ours", "ours")
    for name in ("semantic_recall", "semantic_recall_area", "precision", "precision_1px", "f1", "frechet"):
        assert found[name]["value"] == 0 and found[name]["low"] <= 0 <= found[name]["high"], name
    assert found["semantic_recall"]["high"] > 0  # another three seeds would have differed


def test_sizes_stand_together_or_apart():
    sizes = {(8, 1): (FULL, 1.0), (8, 2): (FULL, 1.0), (4, 1): (HALF, 2.0), (4, 2): (HALF, 2.0)}
    made = study_by_hand(ours=sizes, theirs=dict.fromkeys(sizes, (HALF, 4.0)))
    assert [each.key for each in made.trials_of("ours")] == ["ours-4-s1", "ours-4-s2", "ours-8-s1", "ours-8-s2"]
    assert made.compare("ours", "theirs", 4)["semantic_recall"]["value"] == 0
    together = made.compare("ours", "theirs")
    assert together["trainings"] == 4 and together["semantic_recall"]["value"] == pytest.approx(1 / 8)
    assert together["semantic_recall"]["low"] < 0.05 and together["frechet"]["value"] == pytest.approx(-2.5)


def test_only_paired_trainings_are_compared():
    made = study_by_hand(
        ours={(8, 1): (FULL, 1.0), (8, 2): (FULL, 1.0)}, theirs={(8, 1): (HALF, 1.0), (8, 3): (HALF, 1.0)}
    )
    for theirs in ("theirs", "absent"):
        with pytest.raises(DataError, match=f"'ours' and '{theirs}' were trained with other seeds or pairs"):
            made.compare("ours", theirs)


def test_a_release_of_the_first_format_is_read_by_the_names_of_today(tmp_path):
    """Recall was pooled then; the paper's follows from the counts of captions, where they were kept."""
    estimate = {"value": 0.2, "low": 0.1, "high": 0.3, "n": 2}
    old = {"semantic_recall": estimate, "semantic_recall_area": estimate, "frechet": estimate, "kid": {"value": 0.5}}
    old |= {"miou": {"value": None, "low": None, "high": None, "n": 0}, "minimum_area": 2, "fsd_of": "referee"}
    old |= {"chance": {"semantic_recall": estimate}}
    facts = {"model": "ours", "pairs": 8, "seed": 1, "guidance": 2.0, "scores": old}
    content = {"minimum_area": 2, "guidance": {"ours": 2.0}, "trials": {"ours-8-s1": facts}}
    content |= {"val": {"ours": {"1": old, "2": old}}, "sweeps": {"ours-8-s1": {"1": old, "2": old}}}
    folder, counts = tmp_path / "study", {"both_1px": [1, 0], "named": [1, 4], "both": [0, 4]}
    write_json(folder / "study.json", content)
    save_tensors(folder / RECORDS, {f"ours-8-s1/{name}": torch.tensor(each) for name, each in counts.items()})
    made = Study.load(folder)
    scores = made.trials[Trial("ours", 8, 1)]
    assert (scores.value("semantic_recall_pooled"), scores.value("semantic_recall")) == (0.2, 1 / 2)
    assert scores.value("semantic_recall_area") == 1 / 2 and "miou" not in scores and scores.value("kid") == 0.5
    assert scores.guidance == 2.0 and set(scores.chance) == {"semantic_recall_pooled"}
    assert [point.guidance for point in made.validation["ours"]] == [1.0, 2.0]
    curve = made.curve(Trial("ours", 8, 1))
    assert curve.chosen == scores and "semantic_recall" not in curve.points[0]
    made.save(folder)
    assert Study.load(folder).trials == made.trials
