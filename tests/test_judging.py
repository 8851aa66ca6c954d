"""Drawings that are kept, the referee of a profile, and the stop of a sweep. All numbers from seed 0."""

import json
import shutil

import numpy as np
import pytest
from places import REFEREE, make_repository, with_domain
from tiny import TABLE

import gcdp.judging as judging
from gcdp.errors import CheckpointError, DataError
from gcdp.evaluation.segmenter_training import train_segmenter
from gcdp.judging import Sweep, make_referee, open_referee, read_known, referee_folder, referee_pairs, saturated
from gcdp.pipeline import Samples
from gcdp.runs import HeldOut


class Painter:
    """A model that paints noise, and counts how often it is asked to."""

    classes = TABLE

    def __init__(self, layouts=True):
        self.calls, self.layouts = [], layouts

    def sample(self, captions, num_steps, guidance, seed, progress=False):
        self.calls.append(guidance)
        rng = np.random.default_rng([seed, num_steps, int(10 * guidance)])
        images = rng.integers(256, size=(len(captions), 2, 4, 3), dtype=np.uint8)
        layouts = rng.integers(5, size=(len(captions), 2, 4), dtype=np.uint8) if self.layouts else None
        return Samples(
            images, layouts, list(captions), [seed + i for i in range(len(captions))], {"guidance": guidance}
        )


def world(captions=("a sky thing", "a road thing", "a left thing")):
    empty = np.zeros((len(captions), 2, 4), np.uint8)
    return HeldOut(np.stack([empty] * 3, -1), empty, list(captions), [str(i) for i in range(len(captions))], TABLE)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def sweep(tmp_path, weights):
    """Makes sweeps over one folder, each as a new run of the notebook would, with other settings by keyword."""

    def make(model, **changes):
        settings = {"world": world(), "num_steps": 2, "seed": 0, "weights": [weights]} | changes
        return Sweep(model, folder=tmp_path / "sweep", **settings)

    return make


def same(a, b):
    layouts = a.layouts is b.layouts is None or np.array_equal(a.layouts, b.layouts)
    facts = (a.captions, a.seeds, a.settings) == (b.captions, b.seeds, b.settings)
    return layouts and facts and np.array_equal(a.images, b.images)


@pytest.mark.parametrize("layouts", [True, False])
def test_pairs_are_kept_and_read_again_without_drawing(sweep, layouts):
    model = Painter(layouts)
    first = sweep(model).draw(1.0)
    assert same(sweep(model).draw(1.0), first) and model.calls == [1.0]
    assert (first.layouts is not None) == layouts
    other = sweep(model).draw(2.5)
    assert model.calls == [1.0, 2.5] and not same(other, first)
    assert same(sweep(model).draw(1.0), first) and same(sweep(model).draw(2.5), other) and model.calls == [1.0, 2.5]


@pytest.mark.parametrize(
    "change", [{"num_steps": 3}, {"seed": 1}, {"world": world(["a sky thing", "a road thing", "a void thing"])}]
)
def test_other_captions_steps_or_seed_are_drawn_anew(sweep, change):
    model = Painter()
    sweep(model).draw(1.0)
    drawn = sweep(model, **change).draw(1.0)
    assert len(model.calls) == 2 and same(sweep(model, **change).draw(1.0), drawn) and len(model.calls) == 2


def test_other_weights_are_drawn_anew_wherever_they_lie(sweep, weights):
    model = Painter()
    sweep(model).draw(1.0)
    copied = shutil.copy(weights, weights.parent / "moved.safetensors")
    sweep(model, weights=[weights.parent / "moved.safetensors"]).draw(1.0)
    assert len(model.calls) == 1 and copied
    weights.write_bytes(b"other weights")
    sweep(model).draw(1.0)
    assert len(model.calls) == 2


@pytest.mark.parametrize("content", [None, b"", b"half", "cut"])
@pytest.mark.parametrize("name", ["samples.json", "images.npy", "layouts.npy"])
def test_a_damaged_drawing_is_drawn_again(sweep, tmp_path, name, content):
    model = Painter()
    first = sweep(model).draw(1.0)
    path = tmp_path / "sweep" / "guidance-1" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5] if content == "cut" else content)
    assert same(sweep(model).draw(1.0), first) and len(model.calls) == 2
    assert same(sweep(model).draw(1.0), first) and len(model.calls) == 2  # and kept again


def test_json_of_another_form_is_drawn_again(sweep, tmp_path):
    model = Painter()
    sweep(model).draw(1.0)
    (tmp_path / "sweep" / "guidance-1" / "samples.json").write_text("[1]\n")
    sweep(model).draw(1.0)
    assert len(model.calls) == 2


def test_a_drawing_that_was_half_replaced_is_not_taken_for_the_former_one(sweep, monkeypatch):
    model, save = Painter(), np.save
    first = sweep(model).draw(1.0)

    def full_disk(path, array):
        if path.name == "layouts.npy":
            raise OSError("no space left")
        save(path, array)

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        sweep(model, seed=1).draw(1.0)  # the images of seed 1 are there already
    monkeypatch.undo()
    assert same(sweep(model).draw(1.0), first)


@pytest.mark.parametrize(
    ("recalls", "stop"),
    [
        ([0.5], False),
        ([0.5, 0.5], False),  # one failure is none
        ([0.5, 0.5, 0.5], True),
        ([0.5, 0.502, 0.504], True),  # two steps that stay below the least rise together
        ([0.5, 0.503, 0.506], False),
        ([0.5, 0.4, 0.51], False),
        ([0.5, 0.6, 0.5, 0.4], True),  # best two scales ago
        ([0.2, 0.5, 0.4], False),
        ([0.9, 0.1, 0.2, 0.3], True),  # rises, but below the best
    ],
)
def test_a_sweep_stops_when_recall_failed_to_rise_twice(recalls, stop):
    assert saturated(recalls, 0.005) is stop


@pytest.fixture
def counted(monkeypatch):
    """Trainings of a referee, as they happen."""
    calls = []

    def train(*args):
        calls.append(args)
        return train_segmenter(*args)

    monkeypatch.setattr(judging, "train_segmenter", train)
    return calls


def test_the_referee_is_trained_once_and_found_again(repository, counted):
    profile = make_repository(repository, referee=REFEREE)
    with pytest.raises(CheckpointError, match=r"referee/streets is missing: run the notebook 04_evaluators first"):
        open_referee(profile, "streets")
    referee = make_referee(profile, "streets")
    again = make_referee(profile, "streets")
    assert len(counted) == 1 and referee.name == "segmenter" and referee.facts["scenes"] == 3
    assert referee.facts["split"] == "referee"  # of no split that a generator sees
    images = np.random.default_rng(0).integers(256, size=(3, 8, 16, 3), dtype=np.uint8)
    for found in (again, open_referee(profile, "streets")):
        assert np.array_equal(found.judge(images).features, referee.judge(images).features)


def test_a_referee_of_another_network_is_refused_by_name(repository, counted):
    make_referee(make_repository(repository, referee=REFEREE), "streets")
    other = make_repository(repository, referee=REFEREE | {"network": {"widths": [4, 4]}})
    with pytest.raises(CheckpointError, match=r"referee/streets has another network than params/tiny\.yaml asks for"):
        make_referee(other, "streets")


def test_scenes_of_a_referee_are_drawn_once_for_each_count(repository):
    profile = make_repository(repository, referee=REFEREE)
    pairs = referee_pairs(profile, "streets")
    index = repository / "data/tiny/streets/referee/index.json"
    before = index.stat().st_mtime_ns
    assert len(pairs) == 3 and len(referee_pairs(profile, "streets")) == 3 and index.stat().st_mtime_ns == before
    assert len(referee_pairs(make_repository(repository, referee=REFEREE | {"scenes": 2}), "streets")) == 2


def test_without_scenes_of_its_own_the_referee_learns_from_the_train_split(repository):
    profile = make_repository(repository, referee=REFEREE | {"scenes": 0})
    pairs = referee_pairs(profile, "streets")
    assert len(pairs) == 4 and pairs.store.split == "train"


def test_scenes_can_only_be_drawn_of_a_drawn_world(repository):
    profile = make_repository(repository, referee=REFEREE, **with_domain(source="folder", counts={}))
    with pytest.raises(DataError, match=r"params/tiny\.yaml: referee\.scenes .* 'streets' is not drawn: set it to 0"):
        make_referee(profile, "streets")


def test_a_released_referee_is_installed(repository, counted):
    make_referee(make_repository(repository, referee=REFEREE), "streets")
    profile = make_repository(repository, referee=REFEREE, released="tiny")
    made = referee_folder(profile, "streets")
    with pytest.raises(CheckpointError, match=r"weights/tiny-streets-referee is missing: .* 'tiny-scratch'"):
        make_referee(profile, "streets")
    released = shutil.copytree(made, repository / "weights/tiny-streets-referee")
    (made / "of an older release").touch()
    (made / "model.safetensors").write_bytes(b"damaged")
    referee = make_referee(profile, "streets")
    assert len(counted) == 1 and referee.facts["scenes"] == 3
    assert sorted(p.name for p in made.iterdir()) == sorted(p.name for p in released.iterdir())
    (released / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        make_referee(profile, "streets")


def test_a_published_referee_is_named_where_the_trained_one_would_lie(repository, monkeypatch):
    asked = []
    monkeypatch.setattr(judging, "load_referee", lambda *args: asked.append(args) or "the referee")
    profile = make_repository(repository, referee={"name": "segformer-b5", "folder": "somewhere"})
    assert make_referee(profile, "streets") == open_referee(profile, "streets") == "the referee"
    assert asked[0][:2] == ("segformer-b5", "somewhere") and asked[0][2].num_classes == 20
    source = json.loads((referee_folder(profile, "streets") / "source.json").read_text())
    assert source == {"name": "segformer-b5", "folder": "somewhere"}


def test_what_04_evaluators_found_must_be_there(repository):
    profile = make_repository(repository)
    with pytest.raises(CheckpointError, match=r"metrics/referee/streets\.json is missing: run the notebook 04_eval"):
        read_known(profile, "streets")
