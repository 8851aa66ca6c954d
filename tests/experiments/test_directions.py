"""One half given the other, and paths, measured: which methods there are, what is kept, released and refused.

Networks are stand-ins. One of any direction draws the half that fits the given one; RePaint leaves a part of it wrong;
the authors' noise spoils more. Random numbers state their seeds.
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

import gcdp.experiments.directions as directions
import gcdp.experiments.directions_record as directions_record
import gcdp.experiments.study as study
from gcdp.diffusion.sampling import sample_seeds
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.directions import Directions
from gcdp.experiments.directions_methods import image_methods, layout_methods
from gcdp.experiments.directions_record import DirectionsRecord, current, make_directions, records_folder
from gcdp.experiments.few_layouts import arm_run, arm_trials, few_layouts
from gcdp.experiments.json_record import RECORD
from gcdp.experiments.models import model_folder
from gcdp.experiments.params import write_resolved
from gcdp.experiments.profile import load_profile
from gcdp.experiments.referees import Referees, seen_area
from gcdp.experiments.runs import prepare_run
from gcdp.experiments.study_record import Trial
from gcdp.experiments.tasks import Task, do, is_done, needs, plan
from gcdp.generators.samples import Samples
from gcdp.training.checkpoint import save_model, with_training
from gcdp.validation import to_dict

RELEASE_TOOL = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
SECTION = {
    "diagonal": "joint", "any": "any", "image_given_layout": "painter", "layout_given_image": "reader",
    "few_layouts": "few", "seeds": [5, 7], "num_samples": 2, "leads": [-1, 0, 1], "swaps": 1,
}  # fmt: skip
PROFILE = {
    "models": {
        "joint": {}, "any": {"train": {"diagonal": 0.5}}, "few": {"train": {"diagonal": 0.5, "labeled": 0.5}},
        "painter": {"train": {"times": "image_given_layout"}}, "reader": {"train": {"times": "layout_given_image"}},
    },
    "directions": SECTION,
    "sampling": {"num_steps": 5},
}  # fmt: skip
PAIR_KEYS = ["joint", "any", "painter", "reader"]


class Painter:
    """Images whose first channel is the label of a pixel. `wrong` is the share of pixels that do not fit."""

    dtype = "float32"

    def __init__(self, model, world, log):
        self.model, self.world, self.log = model, world, log

    def sample(self, captions, num_steps, guidance, seed, eta, order, threshold, progress=False, **given):
        self.log.append((self.model, num_steps, guidance, sorted(given), given.get("path")))
        wrong = 0.0 if self.model == "any" and "resamplings" not in given else 0.2
        wrong += 0.4 if "image_jump" in given else 0.0
        layouts = given.get("layouts", np.resize(self.world.layouts, (len(captions), 8, 16)))
        drawn = np.where(np.random.default_rng(0).random(layouts.shape) < wrong, 10, layouts).astype(np.uint8)
        images = given.get("images", np.stack([drawn] * 3, -1))
        layouts = given.get("layouts", drawn if "images" in given else layouts)
        alone = given.get("path")
        seeds = sample_seeds(seed, len(captions)) if isinstance(seed, int) else list(seed)
        halves = (None if alone == "layout_alone" else images), (None if alone == "image_alone" else layouts)
        return Samples(*halves, list(captions), seeds, {})


def read(images):
    """A referee that sees the first channel; its features are two moments."""
    layouts = images[..., 0] % 20
    return Reading(layouts, np.stack([layouts.mean((1, 2)), layouts.std((1, 2))], 1).astype(np.float32))


@pytest.fixture
def place(repository, monkeypatch):
    """A profile whose networks are there, what was trained and drawn, and the names of the referees."""
    profile = make_repository(repository, **PROFILE)
    place = SimpleNamespace(profile=profile, root=repository, drawn=[], trained=[], referees=["one"], segmented=[])
    world = directions.held_out(profile, "streets", "test", 2)

    def fit(profile, model, run):
        place.trained.append((run.model_folder.name, len(run.pairs), run.config.seed))
        leave_network(run)

    for model in PAIR_KEYS:
        leave_network(prepare_run(profile, "streets", model))
    monkeypatch.setattr(study, "fit", fit)
    monkeypatch.setattr(directions, "open_model", lambda p, d, model, folder: Painter(model, world, place.drawn))
    monkeypatch.setattr(directions, "open_referees", lambda profile, domain: Referees(SimpleNamespace(read=read)))
    monkeypatch.setattr(directions_record, "referee_hashes", lambda profile, domain: place.referees)
    monkeypatch.setattr(directions, "train_where_missing", lambda train, *how: place.segmented.append(how[1].rows))
    monkeypatch.setattr(directions, "load_segmenter", lambda folder: SimpleNamespace(read=read))
    return place


def leave_another(profile):
    """Other weights of the model of any direction, trained as before."""
    run = prepare_run(profile, "streets", "any")
    save_model(run.model_folder, {"name": torch.ones(3)}, with_training(run.card, settings=to_dict(run.config)))


def value(rows, key, measure="miou"):
    return rows[key]["measures"][measure]["value"]


def without(**roles):
    """Sections whose `directions` has other roles."""
    return PROFILE | {"directions": SECTION | {"few_layouts": "", **roles}}


def test_images_for_layouts_are_read_against_the_layouts(place):
    rows, differences = Directions(place.profile, "streets", 1).image_rows()
    assert list(rows) == [method.key for method in image_methods(place.profile)] + ["real"]
    assert value(rows, "direct") == value(rows, "direct_fewer") == 1 > value(rows, "repaint_any")
    assert value(rows, "specialist") == value(rows, "repaint") > value(rows, "repaint_authors")
    calls = {key: row["network_calls"] for key, row in rows.items()}
    assert calls == {
        "repaint": 25, "repaint_once": 5, "repaint_authors": 25, "repaint_fewer": 5, "repaint_any": 25, "direct": 5,
        "direct_fewer": 1, "specialist": 5, "real": 0,
    }  # fmt: skip
    assert {key for key, row in rows.items() if "effect" in row["measures"]} == {"repaint", "direct", "specialist"}
    assert value(rows, "direct", "effect") == 0  # this model draws the layout that it is given
    assert value(rows, "direct", "frechet") is not None and "frechet" not in rows["real"]["measures"]
    assert set(differences) == {
        "direct - repaint", "direct_fewer - repaint", "direct - repaint_fewer", "direct - repaint_any",
        "direct - specialist", "repaint - repaint_authors",
    }  # fmt: skip
    gap = value(rows, "repaint") - value(rows, "repaint_authors")
    assert differences["repaint - repaint_authors"]["value"] == pytest.approx(gap)
    drawn = next(call for call in place.drawn if "image_jump" in call[3])
    assert drawn == ("joint", 5, 1.0, ["image_jump", "layouts", "mask_layouts", "resamplings"], None)


def test_layouts_for_images_are_held_against_the_true_ones(place):
    rows, differences = Directions(place.profile, "streets", 1).layout_rows()
    assert list(rows) == [method.key for method in layout_methods(place.profile)] + ["segmenter", "referee"]
    assert (
        value(rows, "direct_once") == 1 == value(rows, "direct", "accuracy") > value(rows, "repaint_once", "accuracy")
    )
    assert differences["direct - repaint_once"]["low"] > 0 and "direct - segmenter" in differences
    assert [rows.tolist() for rows in place.segmented] == [[0, 1, 2, 3]]  # all training pairs, no scenes of its own


def test_paths_are_compared_at_equal_calls(place):
    rows, differences = Directions(place.profile, "streets", 1).path_rows()
    assert list(rows) == ["-1", "0", "1", "joint", "image_alone", "layout_alone"] and set(differences) == {"-1", "1"}
    assert {row["network_calls"] for row in rows.values()} == {5}
    asked = {(model, path) for model, _, guidance, _, path in place.drawn if guidance == 2.0}
    assert asked == {("any", -1), ("any", None), ("any", 1), ("joint", None)} | {
        ("any", name) for name in ("image_alone", "layout_alone")
    }
    assert {"effect", "effect_layouts", "j", "frechet", "miou"} <= set(rows["1"]["measures"])
    assert "miou" not in rows["image_alone"]["measures"] and "effect" in rows["image_alone"]["measures"]
    assert set(rows["layout_alone"]["measures"]) == {"j_layouts", "fsd"}
    assert all(each["value"] == 0 for each in differences.values())  # this model draws the same on every path


def test_without_a_model_of_any_direction_there_is_repaint_alone(place):
    profile = make_repository(place.root, **without(any="", image_given_layout="", layout_given_image=""))
    record = make_directions(profile, "streets", 1)
    assert set(record.image) == {"repaint", "repaint_once", "repaint_authors", "repaint_fewer", "real"}
    assert set(record.layout) == {"repaint", "repaint_once", "segmenter", "referee"}
    assert (record.paths, record.path_differences, record.few_layouts) == ({}, {}, {}) and set(record.networks) == {
        "diagonal"
    }


def test_a_record_is_kept_and_read_in_the_order_of_tables(place):
    record = make_directions(place.profile, "streets", 1)
    drawn, again = len(place.drawn), make_directions(place.profile, "streets", 1)
    assert len(place.drawn) == drawn and again == record
    path = records_folder(place.profile, "streets") / RECORD
    content = json.loads(path.read_text())
    content["paths"] = dict(sorted(content["paths"].items(), reverse=True))
    path.write_text(json.dumps(content))
    assert list(DirectionsRecord.load(path.parent).paths) == list(record.paths)
    path.write_text("{}")
    with pytest.raises(DataError, match=r"record\.json is damaged or of an older form"):
        DirectionsRecord.load(path.parent)
    assert current(place.profile, "streets", 1) is None
    path.unlink()
    with pytest.raises(CheckpointError, match=r"record\.json is missing: fetch it, or run fig9_outpainting"):
        DirectionsRecord.load(path.parent)
    make_directions(place.profile, "streets", 1)
    assert len(place.drawn) == drawn  # the drawings are kept apart from the record


@pytest.mark.parametrize("change", ["area", "referee", "code", "network", "settings"])
def test_a_record_of_something_else_is_made_anew(place, monkeypatch, change):
    make_directions(place.profile, "streets", 1)
    area = 1
    if change == "area":
        area = 2
    elif change == "referee":
        place.referees = ["another"]
    elif change == "code":
        monkeypatch.setattr(directions_record, "source_fingerprint", lambda module: "other")
    elif change == "network":
        leave_another(place.profile)
    else:
        place.profile = make_repository(place.root, **without(leads=[0, 0.5]))
    assert current(place.profile, "streets", area) is None
    drawn, record = len(place.drawn), make_directions(place.profile, "streets", area)
    assert current(place.profile, "streets", area) == record
    assert (len(place.drawn) > drawn) == (change in ("network", "settings"))


@pytest.fixture
def released(place, monkeypatch):
    """The profile once more, with the record of its networks and settings released."""
    make_repository(place.root, **without())
    make_directions(load_profile("tiny"), "streets", 1)
    folder = place.root / "weights/tiny-streets-directions"
    DirectionsRecord.load(records_folder(load_profile("tiny"), "streets")).save(folder)
    shutil.rmtree(place.root / "results/tiny/directions")
    return make_repository(place.root, **without(), released="tiny")


def test_released_records_are_taken_for_those_of_their_networks(released, place):
    drawn, record = len(place.drawn), make_directions(released, "streets", 1)
    assert len(place.drawn) == drawn and record.image["direct"]["network_calls"] == 5
    assert DirectionsRecord.load(records_folder(released, "streets")) == record
    shutil.rmtree(model_folder(released, "streets", "painter"))  # a specialist is not needed
    make_directions(released, "streets", 1)
    with pytest.raises(CheckpointError, match=r"is of other settings .* than those of now"):
        make_directions(released, "streets", 2)
    leave_another(released)
    with pytest.raises(CheckpointError, match=r"is of other networks than those of now: fetch the whole repository"):
        make_directions(released, "streets", 1)


def test_few_layouts_compare_three_trainings_of_every_seed(place):
    profile = place.profile
    assert arm_trials(profile, "streets") == {
        "few": [Trial("few", 4, 5), Trial("few", 4, 7)], "alone": [Trial("any", 2, 5), Trial("any", 2, 7)],
        "all": [Trial("any", 4, 5), Trial("any", 4, 7)],
    }  # fmt: skip
    found = few_layouts(Directions(profile, "streets", 1))
    assert place.trained == [("few-4-s5", 4, 5), ("few-4-s7", 4, 7), ("any-2-s5", 2, 5), ("any-2-s7", 2, 7)] + [
        ("any-4-s7", 4, 7)  # that of seed 5 is the pipeline's
    ]
    assert (found["layouts"], found["pairs"], found["seeds"]) == (2, 4, [5, 7])
    assert found["arms"]["all"]["layout_miou"]["values"] == [1, 1] and found["arms"]["few"]["pair_j"]["n"] == 2
    gap = found["arms"]["few"]["layout_miou"]["value"] - found["arms"]["alone"]["layout_miou"]["value"]
    assert found["differences"]["few - alone"]["layout_miou"]["value"] == pytest.approx(gap)
    few_layouts(Directions(profile, "streets", 1))
    assert len(place.trained) == 5


def test_the_layouts_of_a_part_are_those_that_the_part_alone_has(place):
    for seed in (5, 7):
        few, alone = (arm_run(place.profile, "streets", Trial(*key, seed)).pairs for key in (("few", 4), ("any", 2)))
        assert sorted(few.labeled) == sorted(alone.rows.tolist()) and len(few) == 4


def test_the_record_is_a_task_of_its_own_after_the_networks_that_it_needs(place, monkeypatch):
    monkeypatch.setattr("gcdp.experiments.tasks.open_referee", lambda profile, domain: SimpleNamespace(read=read))
    monkeypatch.setattr("gcdp.experiments.tasks.seen_area", lambda profile, domain, segmenter: 1)
    tasks = plan({"streets": place.profile})
    names = [task.name for task in tasks]
    arms = ["few-4-s5", "few-4-s7", "any-2-s5", "any-2-s7", "any-4-s5", "any-4-s7"]
    assert names[-7:] == [f"streets-directions-{arm}" for arm in arms] + ["streets-directions"]
    assert {f"streets-train-{model}" for model in PAIR_KEYS} <= set(names[:-7])
    needed = {task.name for task in needs(place.profile, tasks[-1])}
    assert needed == {*names[-7:-1], "streets-referees", *(f"streets-train-{model}" for model in PAIR_KEYS)}
    assert not is_done(place.profile, tasks[-1]) and not is_done(place.profile, tasks[-7])
    for task in tasks[-7:]:
        do(place.profile, task)
        assert is_done(place.profile, task) == (task.trial is not None)  # the record itself says what it is of
    profile = make_repository(place.root, **PROFILE, study={"models": ["joint"], "seeds": [5], "num_samples": 2})
    own = needs(profile, Task("streets", "directions"))
    assert Task("streets", "train", trial=Trial("joint", 4, 5)) in own and Task("streets", "train", "any") in own


def test_the_area_of_a_class_is_calibrated_on_validation_pairs(place):
    assert seen_area(place.profile, "streets", SimpleNamespace(read=read)) >= 1


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"any": "", "few_layouts": ""}, None),
        ({"diagonal": ""}, "any is compared with diagonal, which names no model"),
        ({"any": ""}, "few_layouts is compared with any, which names no model"),
        ({"any": "joint"}, r"directions.any: 'joint' must be trained with times 'joint' and diagonal below 1"),
        ({"reader": ""}, "'reader' is unknown"),
        ({"image_given_layout": "reader"}, r"'reader' must be trained with times 'image_given_layout'"),
        ({"few_layouts": "any"}, r"directions.few_layouts: 'any' has labeled 1"),
        ({"diagonal": "gone"}, "gone"),
        ({"leads": [0.5, 1]}, r"leads must rise and hold 0, the diagonal, got \[0.5, 1.0\]"),
        ({"leads": [-2, 0]}, "leads must be"),
        ({"num_samples": 1}, "num_samples must be"),
    ],
)
def test_a_slip_in_the_section_is_refused(repository, section, message):
    if message is None:
        make_repository(repository, **PROFILE | {"directions": SECTION | section})
        return
    with pytest.raises(ConfigError, match=message):
        make_repository(repository, **PROFILE | {"directions": SECTION | section})


def test_the_release_tool_writes_the_record(place, monkeypatch):
    (place.root / "params" / "tiny-scratch.yaml").write_text("like: tiny\n")
    write_resolved("tiny-scratch")
    shutil.copytree(place.root / "data/tiny", place.root / "data/tiny-scratch")
    profile = load_profile("tiny-scratch", "streets")
    for model in PAIR_KEYS:
        leave_network(prepare_run(profile, "streets", model))
    record = make_directions(profile, "streets", 1)
    runpy.run_path(str(RELEASE_TOOL))["release"]("tiny", "streets", "directions")
    assert DirectionsRecord.load(place.root / "weights/tiny-streets-directions") == record
