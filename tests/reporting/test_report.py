"""The summary table: values, intervals, counts and seeds land in their columns; what is absent is said."""

import csv
import json

import pytest
from worlds.hand_made import estimate, point, record, referee

from gcdp.errors import DataError
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.reporting.summary import (
    NOT_RUN,
    SUMMARY_COLUMNS,
    UNMEASURED,
    collect,
    summary_markdown,
    summary_metrics,
    summary_rows,
)
from gcdp.reporting.tables import write_csv

RECALL = {"micro": 0.75, "low": 0.7, "high": 0.8, "n": 40}


@pytest.fixture
def folders(tmp_path):
    """Metrics of this run (a joint and an image-only model) and of a reference run (joint only)."""
    ours, reference = tmp_path / "ours", tmp_path / "reference"
    for folder in (ours, reference):
        folder.mkdir()
    where = {"domain": "streets", "model": "joint"}
    training = {**where, "parameters": 1234567, "steps": 30, "pairs_seen": 240, "seed": 0, "validation_pairs": 12,
                "full_run": {"image": {"val": {"last": 0.5}}, "layout": {"val": {"last": 1.25}}}}  # fmt: skip
    put(ours, "training", training)
    put(ours, "training", {**training, "model": "gaussian", "full_run": {"image": {"val": {"last": 0.4}}}})
    put(reference, "training", {**training, "steps": 9000, "seed": 1})
    generated = {"smoothness": 0.9, "agreement": {"1": {"recall": RECALL}}}
    real = {"smoothness": 0.95, "agreement": {"1": {"recall": {**RECALL, "micro": 1.0}}}}
    put(ours, "samples", {**where, "n": 8, "seed": 3, "layout": {"generated": generated, "real": real}})
    put(ours, "samples", {**where, "model": "gaussian", "n": 8, "seed": 3, "layout": None})
    return ours, reference


def put(folder, kind, content):
    path = folder / kind / f"{content['domain']}-{content['model']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def row_of(rows, model, start):
    (row,) = [row for row in rows if row["model"] == model and row["quantity"].startswith(start)]
    return row


def test_values_stand_beside_paper_and_reference_with_n_and_seed(folders):
    rows = summary_rows(*folders)
    steps = row_of(rows, "joint", "training steps")
    assert (steps["paper"], steps["reference"], steps["this_run"]) == ("300,000", "9,000", "30")
    loss = row_of(rows, "joint", "layout loss")
    assert (loss["this_run"], loss["n"], loss["seed"], loss["reference_seed"]) == ("1.250", "12", "0", "1")


def test_scores_carry_their_interval_and_the_value_of_real_pairs(folders):
    row = row_of(summary_rows(*folders), "joint", "recall")
    assert row["this_run"] == "0.750 [0.700, 0.800]" and row["n"] == "40" and row["seed"] == "3"
    assert row["held_out"] == "1.000" and row["reference"] == NOT_RUN


def test_a_half_that_a_model_lacks_has_no_row(folders):
    named = [row["quantity"] for row in summary_rows(*folders) if row["model"] == "gaussian"]
    assert "image loss, held-out pairs" in named and not [name for name in named if "layout" in name]


def test_what_is_not_measured_is_said_in_words(folders):
    last = summary_rows(*folders)[-len(UNMEASURED) :]
    assert [row["quantity"] for row in last] == [name for name, *_ in UNMEASURED]
    for row, needed in zip(last, ("the standard Inception network (extra `fid`)", "CLIP ViT-L/14-336"), strict=True):
        assert row["this_run"].startswith(f"not measured: needs {needed}") and row["reference"] == row["this_run"]


def test_attributes_and_alignment_have_rows_where_they_are_scored(folders):
    measures = {"attribute_recall": estimate(0.5, 0.25), "alignment": without_interval(21.5, 8)}
    chosen = Scores(measures, guidance=2.0, alignment_name="toy alignment score")
    ceiling = Scores({"attribute_recall": estimate(0.875)})
    record(points=[chosen], domain="faces", seed=2, ceiling=ceiling).save(folders[0])
    rows = summary_rows(*folders)
    recall = row_of(rows, "joint", "attribute recall, of the image")
    assert (recall["domain"], recall["this_run"], recall["n"]) == ("faces", "0.500 [0.250, 0.750]", "8")
    assert recall["held_out"] == "0.875" and recall["paper"] == "chart (Fig. 1)"
    aligned = row_of(rows, "joint", "toy alignment score")
    assert aligned["this_run"] == "21.5" and aligned["held_out"] == ""
    expected = {"guidance": 2.0, "attribute_recall": 0.5, "alignment": 21.5}
    assert summary_metrics(folders[0])["faces"]["joint"] == expected


def test_scores_of_text_that_nobody_can_read_are_marked(folders):
    record().save(folders[0])  # at distance 0.75
    referee(point(), spoiled=[(0.1, 0.9), (0.7, 0.5), (1.0, 0.3)]).save(folders[0])
    rows = summary_rows(*folders)
    assert row_of(rows, "joint", "F1")["this_run"] == "0.650 [0.640, 0.660] unreadable"
    assert row_of(rows, "joint", "precision, from 1 pixel")["this_run"].endswith("unreadable")
    assert row_of(rows, "joint", "Fréchet")["this_run"] == "0.750 [0.740, 0.760]"
    assert summary_metrics(folders[0])["streets"]["joint"]["f1"] == pytest.approx(0.65)
    referee(point(), spoiled=[(0.1, 0.9), (1.0, 0.7)]).save(folders[0])
    assert row_of(summary_rows(*folders), "joint", "F1")["this_run"] == "0.650 [0.640, 0.660]"


def test_recall_stands_as_the_papers_and_pooled_and_what_does_not_apply_has_no_row(folders):
    measures = {"semantic_recall": estimate(0.5), "semantic_recall_pooled": estimate(0.25), "miou": estimate(None)}
    record(points=[Scores(measures, guidance=2.0)], model="latent").save(folders[0])
    rows = {row["quantity"]: row for row in summary_rows(*folders) if row["model"] == "latent"}
    assert rows["Semantic Recall, from 1 pixel, of the image"]["this_run"] == "0.500 [0.490, 0.510]"
    assert rows["Semantic Recall, from 1 pixel, cases pooled, of the image"]["paper"] == "–"
    assert not [name for name in rows if "mIoU" in name]
    assert not [cell for row in rows.values() for cell in row.values() if "nan" in cell or "None" in cell]


def test_without_a_reference_run_the_column_says_so(folders, tmp_path):
    rows = summary_rows(folders[0], tmp_path / "absent")
    assert {row["reference"] for row in rows if row["domain"]} == {NOT_RUN}


def test_tables_in_both_forms(folders, tmp_path):
    rows = summary_rows(*folders)
    write_csv(rows, tmp_path / "tables" / "summary.csv")
    with open(tmp_path / "tables" / "summary.csv", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows and tuple(rows[0]) == SUMMARY_COLUMNS
    lines = summary_markdown(rows).splitlines()
    assert len(lines) == len(rows) + 2 and {line.count("|") for line in lines} == {8}
    assert "0.750 [0.700, 0.800] (n = 40, seed 3)" in summary_markdown(rows)


def test_the_same_numbers_by_key(folders):
    streets = summary_metrics(folders[0])["streets"]
    assert streets["joint"]["recall_1"] == 0.75 and streets["joint"]["val_layout"] == 1.25
    assert "recall_1" not in streets["gaussian"] and streets["gaussian"]["val_image"] == 0.4


def test_metrics_are_found_by_the_domain_and_model_they_name(folders):
    assert set(collect(folders[0], "training")["streets"]) == {"joint", "gaussian"}
    assert collect(folders[0], "nothing") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"model": "joint"}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "streets-joint.json").write_text(text)
    with pytest.raises(DataError, match="streets-joint"):
        collect(tmp_path, "samples")
