"""Pictures after strokes, measured: strokes of scenes, what is drawn, compared, kept, released and refused.

Networks are stand-ins: named strokes become what they are named, others half of them; a method's pictures are the
farther from the strokes the stronger it is. Random numbers state their seeds.
"""

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from worlds.places import leave_network, make_repository
from worlds.tiny import TABLE

import gcdp.experiments.strokes as strokes
import gcdp.experiments.strokes_record as strokes_record
from gcdp.diffusion.sampling import sample_seeds
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.json_record import RECORD
from gcdp.experiments.params import write_resolved
from gcdp.experiments.profile import load_profile
from gcdp.experiments.referees import Referees
from gcdp.experiments.runs import prepare_run
from gcdp.experiments.stroke_scenes import flattened, renamed
from gcdp.experiments.stroke_trials import stroke_trials
from gcdp.experiments.strokes import StrokePictures, above_curve
from gcdp.experiments.strokes_record import StrokesRecord, current, make_strokes, records_folder
from gcdp.experiments.tasks import Task, do, is_done, needs, plan
from gcdp.generators.samples import Samples
from gcdp.generators.stroke_guided import Guide
from gcdp.generators.strokes import UNNAMED
from gcdp.training.checkpoint import save_model, with_training
from gcdp.validation import to_dict

RELEASE_TOOL = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
SECTION = {
    "joint": "joint", "image_only": "gaussian", "num_samples": 2, "num_compared": 3, "regions": 3, "steps": 3,
    "strengths": [0.3, 0.5, 0.7], "renamed": {"road": "car"},
}  # fmt: skip
PROFILE = {"strokes": SECTION, "sampling": {"num_steps": 5}}


def read(images):
    """A referee that sees the first channel; its features are two moments."""
    layouts = images[..., 0] % 20
    return Reading(layouts, np.stack([layouts.mean((1, 2)), layouts.std((1, 2))], 1).astype(np.float32))


def text(captions, num_steps, guidance, seed, **given):
    images = np.random.default_rng(seed).integers(20, size=(len(captions), 8, 16, 3), dtype=np.uint8)
    return Samples(images, None, list(captions), sample_seeds(seed, len(captions)), {})


@pytest.fixture
def place(repository, monkeypatch):
    """A profile whose networks are there, and what was drawn."""
    profile = make_repository(repository, **PROFILE)
    place = SimpleNamespace(profile=profile, root=repository, drawn=[], referees=["one"])

    def paint(model, captions, given, guide, painting, num_steps, guidance, seed, **more):
        place.drawn.append((model.name, guide))
        labels = np.where(given.labels == UNNAMED, 0, given.labels)
        free = np.random.default_rng(0).random(labels.shape) < (0.0 if guide.naming == "layout" else 0.5)
        images = np.stack([np.where(free, 19, labels)] * 3, -1) + round(20 * guide.strength) * np.array([0, 1, 1])
        seeds = sample_seeds(seed, len(captions))
        return Samples(images.astype(np.uint8), None, list(captions), seeds, {"network_calls": num_steps})

    for model in ("joint", "gaussian"):
        leave_network(prepare_run(profile, "streets", model))
    monkeypatch.setattr("gcdp.generators.stroke_guided.paint", paint)
    monkeypatch.setattr(
        strokes, "open_model", lambda p, d, name: SimpleNamespace(name=name, dtype="float32", sample=text)
    )
    monkeypatch.setattr(strokes, "open_referees", lambda profile, domain: Referees(SimpleNamespace(read=read)))
    monkeypatch.setattr(strokes, "RESAMPLES", 20)
    monkeypatch.setattr(strokes_record, "referee_hashes", lambda profile, domain: place.referees)
    return place


def scene():
    """Sky over road, a block and a point in it, and void at the bottom; one color a class."""
    layout = np.zeros((8, 12), np.uint8)
    layout[3:], layout[4:7, 2:6], layout[5, 9], layout[7] = 1, 2, 3, 4
    return np.stack([layout * 50] * 3, -1)[None], layout[None]


def test_scenes_are_flattened_to_their_largest_classes():
    images, layouts = scene()
    found = flattened(images, layouts, TABLE, regions=3)
    assert found.masks.all() and set(np.unique(found.labels)) == {0, 1, 2}  # the point and the void are painted over
    assert found.labels[0, 5, 9] == 1 and found.labels[0, 0].tolist() == [0] * 12 and found.labels[0, 5, 3] == 2
    assert found.images[0, 5, 3].tolist() == [100] * 3 and found.images[0, 0, 0].tolist() == [0] * 3
    assert np.array_equal(found.images, flattened(images, layouts, TABLE, 3).images)


def test_small_classes_that_matter_are_painted_on_top():
    found = flattened(*scene(), TABLE, regions=2, always=("right",))
    assert set(np.unique(found.labels)) == {0, 1, 3} and found.labels[0, 5, 9] == 3
    with pytest.raises(DataError, match="'hat' names no class of tiny"):
        flattened(*scene(), TABLE, 2, always=("hat",))


def test_a_scene_without_labels_becomes_one_stroke_without_a_name():
    images, _ = scene()
    found = flattened(images, np.full((1, 8, 12), 4, np.uint8), TABLE, regions=3)
    assert (found.labels == UNNAMED).all() and len(np.unique(found.images)) == 1


def test_strokes_are_renamed_and_the_others_lose_their_names():
    found = renamed(flattened(*scene(), TABLE, 3), {"sky": "road", "road": "sky"}, TABLE)
    assert set(np.unique(found.labels)) == {UNNAMED, 0, 1} and found.labels[0, 0, 0] == 1


def test_all_settings_are_drawn_once_and_have_names_of_their_own(place):
    trials = stroke_trials(place.profile)
    assert len({trial.key for trial in trials}) == len(trials) == len(set(trials))
    told = [trial for trial in trials if trial.guide.naming == "layout"]
    assert {trial.role for trial in told} == {"joint"} and {t.guide.certainty for t in told} == {1.0, 0.9}
    for role in ("joint", "image_only"):
        own = [
            t.guide for t in trials if t.role == role and t.guide.method == "gradop_plus" and t.guide.naming == "none"
        ]
        assert {(guide.strength, guide.steps) for guide in own} == {
            (0.3, 3), (0.5, 3), (0.7, 3), (0.5, 1), (0.5, 8)
        }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "expected"),
    [([(1.0, 3.0)], 1.0), ([(1.0, 1.0), (0.5, 2.5)], (-1 - 0.5) / 2), ([(3.0, 0.0), (1.0, 2.0)], 0.0),
     ([(9, 9)], None)],
)  # fmt: skip
def test_points_are_held_against_the_curve_where_it_is_as_realistic(ours, expected):
    found = above_curve(ours, [(2.0, 1.0), (0.0, 4.0), (1.0, 2.0)])
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)


def test_rows_and_differences_say_what_the_pictures_show(place):
    pictures = StrokePictures(place.profile, "streets")
    rows, differences, renaming = pictures.rows(), pictures.differences(), pictures.renaming()
    assert set(rows) == {trial.key for trial in stroke_trials(place.profile)} | {"joint", "image_only", "real"}
    told, plain = (rows[f"joint-gradop_plus{name}-0.5-3"] for name in ("-layout", ""))
    assert told["measures"]["hit_rate"]["value"] == 1 > plain["measures"]["hit_rate"]["value"]
    faith = [rows[f"joint-sdedit-{s}-3"]["measures"]["faithfulness"]["value"] for s in (0.3, 0.5, 0.7)]
    assert len(set(faith)) == 3 and told["network_calls"] == 5 and told["model"] == "joint"
    assert "realism" not in rows["joint"]["measures"] and "distance" not in rows["real"]["measures"]
    gap = differences["joint: gradop_plus, named - unnamed, hit rate"]
    assert gap["value"] > 0.2 and gap["n"] == 2
    assert differences["image_only: gradop_plus, named by attention - unnamed, hit rate"]["value"] == 0
    assert renaming["named"]["value"] == 1 and renaming["unnamed"]["value"] == 0
    equal = differences["joint: gradop_plus - sdedit, realism"]  # both methods draw the same here
    assert equal["value"] == pytest.approx(0, abs=1e-9) and equal["n"] == 2


def test_gradop_plus_is_held_against_sdedit_of_more_pictures(place):
    pictures = StrokePictures(place.profile, "streets")
    pictures.rows()
    drawn, compared = len(place.drawn), pictures.compared()
    measures = ("faithfulness", "realism", "realism by distance to held-out images")
    assert list(compared) == [f"joint: gradop_plus - sdedit, {each}" for each in measures]
    assert {each["n"] for each in compared.values()} == {3}
    added = place.drawn[drawn:]  # both methods at three strengths
    assert len(added) == 6 and {guide.method for _, guide in added} == {"sdedit", "gradop_plus"}
    pictures.compared()
    assert len(place.drawn) == drawn + 6


def test_a_record_is_kept_and_drawings_apart_from_it(place):
    record = make_strokes(place.profile, "streets")
    drawn = len(place.drawn)
    assert drawn == len(stroke_trials(place.profile)) + 1 + 6 and make_strokes(place.profile, "streets") == record
    path = records_folder(place.profile, "streets") / RECORD
    path.write_text("{}")
    with pytest.raises(DataError, match=r"record\.json is damaged or of an older form"):
        StrokesRecord.load(path.parent)
    assert current(place.profile, "streets") is None
    path.unlink()
    with pytest.raises(CheckpointError, match=r"record\.json is missing: fetch it, or run strokes_gradop"):
        StrokesRecord.load(path.parent)
    make_strokes(place.profile, "streets")
    assert len(place.drawn) == drawn


def leave_another(profile):
    """Other weights of the joint model, trained as before."""
    run = prepare_run(profile, "streets", "joint")
    save_model(run.model_folder, {"name": torch.ones(3)}, with_training(run.card, settings=to_dict(run.config)))


@pytest.mark.parametrize("change", ["referee", "code", "network", "settings"])
def test_a_record_of_something_else_is_made_anew(place, monkeypatch, change):
    make_strokes(place.profile, "streets")
    if change == "referee":
        place.referees = ["another"]
    elif change == "code":
        monkeypatch.setattr(strokes_record, "source_fingerprint", lambda module: "other")
    elif change == "network":
        leave_another(place.profile)
    else:
        place.profile = make_repository(place.root, **PROFILE | {"strokes": SECTION | {"guidance": 3.0}})
    assert current(place.profile, "streets") is None
    drawn, record = len(place.drawn), make_strokes(place.profile, "streets")
    assert current(place.profile, "streets") == record
    assert (len(place.drawn) > drawn) == (change in ("network", "settings"))


def test_released_records_are_taken_for_those_of_their_networks(place):
    record = make_strokes(place.profile, "streets")
    record.save(place.root / "weights/tiny-streets-strokes")
    shutil.rmtree(place.root / "results/tiny/strokes")
    drawn, profile = len(place.drawn), make_repository(place.root, **PROFILE, released="tiny")
    assert make_strokes(profile, "streets") == record and len(place.drawn) == drawn
    leave_another(profile)
    with pytest.raises(CheckpointError, match=r"other settings \(strokes, sampling\) or networks than those of now"):
        make_strokes(profile, "streets")


def test_the_record_is_a_task_after_its_networks_and_referees(place):
    tasks = plan({"streets": place.profile})
    assert tasks[-1] == Task("streets", "strokes")
    assert {task.name for task in needs(place.profile, tasks[-1])} == {
        "streets-referees", "streets-train-joint", "streets-train-gaussian"
    }  # fmt: skip
    do(place.profile, tasks[-1])
    assert not is_done(place.profile, tasks[-1])  # the record itself says what it is of
    assert current(place.profile, "streets") is not None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"image_only": ""}, "strokes compare a joint with an image-only model: name both, or neither"),
        ({"joint": "gaussian"}, r"strokes.joint: 'gaussian' must be a diffusion of both halves"),
        ({"image_only": "joint"}, r"strokes.image_only: 'joint' must be a diffusion of the image alone"),
        ({"joint": "gone"}, "gone"), ({"strengths": [0.5, 0.6]}, "strengths must be at least three, rising"),
        ({"strengths": [0, 0.5, 0.7]}, "above 0"), ({"num_samples": 1}, "num_samples must be"),
        ({"steps": 0}, "steps must be"),
    ],
)  # fmt: skip
def test_a_slip_in_the_section_is_refused(repository, section, message):
    with pytest.raises(ConfigError, match=message):
        make_repository(repository, **PROFILE | {"strokes": SECTION | section})


def test_the_release_tool_writes_the_record(place):
    (place.root / "params" / "tiny-scratch.yaml").write_text("like: tiny\n")
    write_resolved("tiny-scratch")
    shutil.copytree(place.root / "data/tiny", place.root / "data/tiny-scratch")
    profile = load_profile("tiny-scratch", "streets")
    for model in ("joint", "gaussian"):
        leave_network(prepare_run(profile, "streets", model))
    record = make_strokes(profile, "streets")
    runpy.run_path(str(RELEASE_TOOL))["release"]("tiny", "streets", "strokes")
    path = place.root / "weights/tiny-streets-strokes"
    assert StrokesRecord.load(path) == record and json.loads((path / RECORD).read_text())["networks"] == record.networks
    assert Guide(**next(iter(record.rows.values()))["guide"]).method == "sdedit"
