"""Images made elsewhere, scored like any model: the record, the table that shows it, and the tool. Seed 0."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from PIL import Image
from worlds.places import REFEREE, make_repository

from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.scores import ceiling
from gcdp.experiments.datasets import held_out
from gcdp.experiments.records import RefereeRecord, load_evaluations
from gcdp.experiments.referees import make_referees
from gcdp.experiments.sweep import score_folder
from gcdp.reporting.figures import tradeoff
from gcdp.reporting.summary import summary_rows
from gcdp.reporting.tables import table_rows

TOOL = Path(__file__).resolve().parents[2] / "tools" / "score_folder.py"
MEASURED = {
    "semantic_recall", "semantic_recall_pooled", "semantic_recall_area", "semantic_recall_area_pooled", "precision",
    "precision_1px", "f1", "j", "tpr", "fpr", "frechet", "kid", "fsd",
}  # fmt: skip


@pytest.fixture(scope="module")
def measured(prepared, tmp_path_factory):
    """A repository with a referee and what 04_evaluators keeps of it."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copytree(prepared, root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        profile = make_repository(root, referee=REFEREE)
        referee, test = make_referees(profile, "streets").segmenter, held_out(profile, "streets", "test", 4)
        scores = ceiling(referee.read(test.images), test.captions, test.layouts, test.classes, 3)
        record = RefereeRecord("streets", referee.name, "test", 4, 3, scores)
        record.save(profile.results_folder("metrics"))
    return root, record


@pytest.fixture
def place(measured, tmp_path, monkeypatch):
    """A copy of it, as working folder, with a folder `elsewhere` of three images, captions and layouts."""
    root = tmp_path / "repository"
    shutil.copytree(measured[0], root)
    monkeypatch.chdir(root)
    world = held_out(make_repository(root, referee=REFEREE), "streets", "train", 3)
    folder = tmp_path / "elsewhere"
    (folder / "layouts").mkdir(parents=True)
    for number, (image, layout) in enumerate(zip(world.images, world.layouts, strict=True)):
        Image.fromarray(image).resize((32, 16)).save(folder / f"{number}.png")
        Image.fromarray(layout).resize((32, 16), Image.Resampling.NEAREST).save(folder / "layouts" / f"{number}.png")
    (folder / "captions.txt").write_text("\n".join(world.captions) + "\n")
    return folder


@pytest.fixture
def profile(place):
    return make_repository(Path.cwd(), referee=REFEREE)


def read_back(record, metrics):
    """The record as it is read back from its file."""
    record.save(metrics)
    return load_evaluations(metrics)[record.domain][record.model]


@pytest.mark.parametrize("layouts", [True, False])
def test_the_record_has_the_form_of_every_models(place, profile, measured, tmp_path, layouts):
    if not layouts:
        shutil.rmtree(place / "layouts")
    record = score_folder(profile, "streets", place)
    assert read_back(record, tmp_path) == record
    assert (record.model, record.kind, record.n, record.split) == ("elsewhere", "external", 3, "test")
    assert record.minimum_area == 3 and record.referee == "segmenter" and record.unconditional is None
    (scores,) = record.curve.points
    assert scores is record.chosen and scores.guidance is None and record.curve.guidance is None
    assert set(scores.measures) == MEASURED | ({"miou", "miou_all", "j_layouts"} if layouts else set())
    assert scores.fsd_of == ("layouts" if layouts else "referee")
    assert scores["semantic_recall"]["n"] == 3 and record.ceiling["f1"] == measured[1].ceiling["f1"]


def test_without_text_only_distances_and_alignment_are_left(place, profile):
    (place / "captions.txt").unlink()
    with pytest.raises(DataError, match=r"elsewhere has neither captions\.jsonl nor captions\.txt"):
        score_folder(profile, "streets", place)
    record = score_folder(profile, "streets", place, unconditional=True)
    assert record.curve.points == () and record.chosen is None
    assert set(record.unconditional.measures) == {"frechet", "kid", "fsd", "miou", "miou_all"}


def test_real_pairs_score_as_the_referee_reads_them(place, profile):
    """Copies of the test split at its own size: nothing lies between them and the real pairs."""
    world = held_out(profile, "streets", "test")
    shutil.rmtree(place)
    place.mkdir()
    for number, image in enumerate(world.images):
        Image.fromarray(image).save(place / f"{number}.png")
    (place / "captions.txt").write_text("\n".join(world.captions))
    point = score_folder(profile, "streets", place).chosen
    assert point["frechet"]["value"] == pytest.approx(0, abs=1e-6) and point["fsd"]["value"] == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("unconditional", [False, True])
def test_tables_and_figures_show_it(place, profile, measured, tmp_path, unconditional):
    record = read_back(score_folder(profile, "streets", place, unconditional), tmp_path)
    row = table_rows({"elsewhere": record}, measured[1])[1]
    assert row["model"] == "elsewhere" and row["protocol"] == ("without text" if unconditional else "with text")
    assert (row["guidance"], row["steps"], row["n"]) == ("0" if unconditional else "", "", "3")
    assert (row["recall_1px"] == "–") == unconditional
    figure, panel = plt.subplots()
    tradeoff(panel, {"elsewhere": record.curve}, "semantic_recall", "frechet")
    assert len(panel.containers) == (0 if unconditional else 1)
    plt.close(figure)


@pytest.mark.parametrize("unconditional", [False, True])
def test_the_summary_takes_it(place, profile, tmp_path, unconditional):
    metrics, record = profile.results_folder("metrics"), score_folder(profile, "streets", place, unconditional)
    record.save(metrics)
    rows = [row for row in summary_rows(metrics, tmp_path / "no reference") if row["model"] == "elsewhere"]
    shown = {row["quantity"]: row for row in rows}
    assert bool(shown) != unconditional  # the summary is about images made from text
    if shown:
        assert shown["Fréchet distance, referee features"]["n"] == "3" and "FSD, class areas" in shown


def test_the_referee_must_have_been_measured(place, profile):
    shutil.rmtree(profile.results_folder("metrics", "referee"))
    with pytest.raises(CheckpointError, match=r"streets\.json is missing: run the notebook 04_evaluators first"):
        score_folder(profile, "streets", place)


def tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_the_tool_writes_the_record_beside_those_of_models(place, profile, monkeypatch, capsys):
    tool(monkeypatch, "tiny", "streets", place)
    metrics = Path("results/tiny/metrics")
    assert load_evaluations(metrics)["streets"]["elsewhere"] == score_folder(profile, "streets", place)
    assert "streets/elsewhere.json: 3 images" in capsys.readouterr().out
    tool(monkeypatch, "tiny", "streets", place, "--unconditional")
    assert load_evaluations(metrics)["streets"]["elsewhere"].chosen is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lost", "streets", "x"), "error: profile 'lost' is unknown: choose one of tiny, or add params/lost.yaml"),
        (("tiny", "lanes", "x"), "error: .*lanes"),
        (("tiny", "streets", "nowhere"), "error: folder nowhere does not exist"),
        (("tiny", "streets"), "Usage: python tools/score_folder.py PROFILE DOMAIN FOLDER"),
        (("tiny", "streets", "x", "--unconditionally"), "Usage: python tools/score_folder.py"),
    ],
)
def test_the_tool_answers_slips_in_one_sentence(place, profile, monkeypatch, arguments, message):
    with pytest.raises(SystemExit, match=message) as found:
        tool(monkeypatch, *arguments)
    assert found.value.code and (message.startswith("Usage") or "\n" not in str(found.value))
    assert not list(Path("results/tiny/metrics").glob("evaluation/*"))
