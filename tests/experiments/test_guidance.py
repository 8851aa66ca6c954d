"""Guidance of each half: what is drawn, chosen, compared, kept, released and refused.

The network is a stand-in: its images show their layouts the more the image is guided, and both are brighter the more
the layout is. Random numbers come from the seeds of the call.
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

import gcdp.experiments.guidance as guidance
import gcdp.experiments.guidance_record as guidance_record
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.experiments.guidance import GuidedHalves, choose
from gcdp.experiments.guidance_record import GuidanceRecord, current, make_guidance, records_folder
from gcdp.experiments.json_record import RECORD
from gcdp.experiments.params import write_resolved
from gcdp.experiments.profile import load_profile
from gcdp.experiments.referees import Referees
from gcdp.experiments.runs import prepare_run
from gcdp.experiments.tasks import Task, do, is_done, needs, plan
from gcdp.generators.pipeline import seeds_of_call
from gcdp.generators.samples import Samples
from gcdp.training.checkpoint import save_model, with_training
from gcdp.validation import to_dict

RELEASE_TOOL = Path(__file__).resolve().parents[2] / "tools" / "release_weights.py"
SECTION = {"model": "joint", "scales": [1.0, 3.0], "num_val": 2, "num_samples": 2, "swaps": 1}
PROFILE = {"guidance": SECTION, "sampling": {"num_steps": 5}}
AREA = 1


def read(images):
    """A referee that sees the first channel; its features are two moments."""
    layouts = images[..., 0] % 20
    return Reading(layouts, np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1).astype(np.float32))


@pytest.fixture
def place(repository, monkeypatch):
    """A profile whose network is there, and at which guidance it drew how many captions."""
    profile = make_repository(repository, **PROFILE)
    place = SimpleNamespace(profile=profile, root=repository, drawn=[], referees=["one"])

    def sample(captions, num_steps, guidance, seed, **more):
        place.drawn.append((guidance, len(captions)))
        rng = np.random.default_rng(seed)
        layouts = rng.integers(19, size=(len(captions), 8, 16), dtype=np.uint8)
        shown = np.where(rng.random(layouts.shape) < 1 / guidance[0], 19, layouts)
        images = np.stack([shown, *[np.full_like(shown, 10 * guidance[1])] * 2], -1).astype(np.uint8)
        return Samples(images, layouts, list(captions), seeds_of_call(seed, len(captions)), {})

    leave_network(prepare_run(profile, "streets", "joint"))
    monkeypatch.setattr(guidance, "open_model", lambda *which: SimpleNamespace(sample=sample, dtype="float32"))
    monkeypatch.setattr(guidance, "open_referees", lambda profile, domain: Referees(SimpleNamespace(read=read)))
    monkeypatch.setattr(guidance_record, "referee_hashes", lambda profile, domain: place.referees)
    return place


def row(image, layout, j):
    return {"image": image, "layout": layout, "measures": {} if j is None else {"j": {"value": j}}}


@pytest.mark.parametrize(
    ("grid", "chosen"),
    [
        ([row(1, 1, 0.1), row(1, 2, 0.2), row(2, 1, 0.4), row(2, 2, 0.3)], {"alike": (2, 2), "apart": (2, 1)}),
        ([row(1, 1, 0.5), row(1, 2, 0.2), row(2, 1, 0.5), row(2, 2, 0.5)], {"alike": (1, 1), "apart": (1, 1)}),
        ([row(1, 1, None), row(1, 2, None), row(2, 1, 0.1), row(2, 2, None)], {"alike": (1, 1), "apart": (2, 1)}),
    ],
)
def test_the_largest_j_is_chosen_on_the_diagonal_and_in_the_grid(grid, chosen):
    assert choose(grid) == chosen


def test_every_scale_meets_every_scale_once(place):
    halves = GuidedHalves(place.profile, "streets", AREA)
    grid = halves.grid()
    scales = [(1.0, 1.0), (1.0, 3.0), (3.0, 1.0), (3.0, 3.0)]
    assert [(each["image"], each["layout"]) for each in grid] == scales
    assert place.drawn == [(each, 2) for each in scales]
    assert all({"frechet", "kid", "miou", "fsd"} <= set(each["measures"]) for each in grid)
    halves.grid()
    assert len(place.drawn) == 4  # pairs are kept


def test_what_was_chosen_is_compared_caption_by_caption(place):
    halves = GuidedHalves(place.profile, "streets", AREA)
    tested, differences = halves.tested({"alike": (1.0, 1.0), "apart": (3.0, 1.0)})
    assert set(tested) == {"alike", "apart"} and {scales for scales, _ in place.drawn} == {(1.0, 1.0), (3.0, 1.0)}
    assert len(place.drawn) == 4  # captions, and those with and without a label
    for key in ("miou", "frechet"):
        ends = [tested[name]["measures"][key]["value"] for name in ("apart", "alike")]
        assert differences[key]["value"] == pytest.approx(ends[0] - ends[1]) and differences[key]["n"] == 2
    effects = [tested[name]["measures"]["effect"]["value"] for name in ("apart", "alike")]
    assert differences["effect"]["value"] == pytest.approx(effects[0] - effects[1])
    assert differences["miou"]["value"] > 0.1  # the image was guided more
    same, nothing = halves.tested({"alike": (3.0, 1.0), "apart": (3.0, 1.0)})
    assert same["alike"] == same["apart"] and nothing["miou"]["value"] == nothing["frechet"]["value"] == 0


def test_a_record_is_kept_and_drawings_apart_from_it(place):
    record = make_guidance(place.profile, "streets", AREA)
    drawn = len(place.drawn)
    assert make_guidance(place.profile, "streets", AREA) == record == current(place.profile, "streets", AREA)
    path = records_folder(place.profile, "streets") / RECORD
    path.write_text("{}")
    with pytest.raises(DataError, match=r"record\.json is damaged or of an older form"):
        GuidanceRecord.load(path.parent)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"record\.json is missing: fetch it, or run guidance_halves"):
        GuidanceRecord.load(path.parent)
    make_guidance(place.profile, "streets", AREA)
    assert len(place.drawn) == drawn


def leave_another(profile):
    """Other weights of the network, trained as before."""
    run = prepare_run(profile, "streets", "joint")
    save_model(run.model_folder, {"name": torch.ones(3)}, with_training(run.card, settings=to_dict(run.config)))


@pytest.mark.parametrize("change", ["referee", "code", "network", "settings", "area"])
def test_a_record_of_something_else_is_made_anew(place, monkeypatch, change):
    make_guidance(place.profile, "streets", AREA)
    area = AREA + (change == "area")
    if change == "referee":
        place.referees = ["another"]
    elif change == "code":
        monkeypatch.setattr(guidance_record, "source_fingerprint", lambda module: "other")
    elif change == "network":
        leave_another(place.profile)
    elif change == "settings":
        place.profile = make_repository(place.root, **PROFILE | {"guidance": SECTION | {"seed": 3}})
    assert current(place.profile, "streets", area) is None
    drawn, record = len(place.drawn), make_guidance(place.profile, "streets", area)
    assert current(place.profile, "streets", area) == record
    assert (len(place.drawn) > drawn) == (change in ("network", "settings"))


def test_released_records_are_taken_for_those_of_their_network(place):
    record = make_guidance(place.profile, "streets", AREA)
    record.save(place.root / "weights/tiny-streets-guidance")
    shutil.rmtree(place.root / "results/tiny/guidance")
    drawn, profile = len(place.drawn), make_repository(place.root, **PROFILE, released="tiny")
    assert make_guidance(profile, "streets", AREA) == record and len(place.drawn) == drawn
    with pytest.raises(CheckpointError, match=r"other settings \(guidance, sampling, area\) or another network"):
        make_guidance(profile, "streets", AREA + 1)
    leave_another(profile)
    with pytest.raises(CheckpointError, match="or another network than those of now"):
        make_guidance(profile, "streets", AREA)


def test_the_record_is_a_task_after_its_network_and_referees(place, monkeypatch):
    tasks = plan({"streets": place.profile})
    assert tasks[-1] == Task("streets", "guidance")
    assert {task.name for task in needs(place.profile, tasks[-1])} == {"streets-referees", "streets-train-joint"}
    monkeypatch.setattr("gcdp.experiments.tasks._area", lambda profile, domain: AREA)
    do(place.profile, tasks[-1])
    assert not is_done(place.profile, tasks[-1])  # the record itself says what it is of
    assert current(place.profile, "streets", AREA) is not None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"model": "gaussian"}, "guidance.model: 'gaussian' must be a diffusion of both halves"),
        ({"model": "gone"}, "gone"), ({"scales": [2.0, 1.0]}, "scales must rise"),
        ({"scales": [-1.0]}, "scales must be"), ({"num_val": 1}, "num_val must be"),
    ],
)  # fmt: skip
def test_a_slip_in_the_section_is_refused(repository, section, message):
    with pytest.raises(ConfigError, match=message):
        make_repository(repository, **PROFILE | {"guidance": SECTION | section})


def test_the_release_tool_writes_the_record(place):
    (place.root / "params" / "tiny-scratch.yaml").write_text("like: tiny\n")
    write_resolved("tiny-scratch")
    shutil.copytree(place.root / "data/tiny", place.root / "data/tiny-scratch")
    profile = load_profile("tiny-scratch", "streets")
    leave_network(prepare_run(profile, "streets", "joint"))
    record = make_guidance(profile, "streets", AREA)
    runpy.run_path(str(RELEASE_TOOL))["release"]("tiny", "streets", "guidance")
    path = place.root / "weights/tiny-streets-guidance"
    assert GuidanceRecord.load(path) == record and json.loads((path / RECORD).read_text())["network"] == record.network
