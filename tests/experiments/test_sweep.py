"""Drawings that are kept, and the choice of guidance. All numbers from seed 0."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from worlds.tiny import TABLE

from gcdp.errors import ConfigError
from gcdp.evaluation.naming import Swaps
from gcdp.evaluation.scores import Scores
from gcdp.evaluation.statistics import without_interval
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.sections import EvaluateConfig, SamplingConfig
from gcdp.experiments.sweep import Sweep, correspondence
from gcdp.generators.samples import Samples
from gcdp.validation import build

DRAWN = SamplingConfig(num_steps=2)


def bend(x):
    return x


class Painter:
    """A model that paints noise, and counts how often it is asked to."""

    classes, dtype = TABLE, "float32"

    def __init__(self, layouts=True):
        self.calls, self.layouts = [], layouts

    def sample(self, captions, num_steps, guidance, seed, eta, order, threshold, progress=False, **given):
        self.calls.append(guidance)
        self.given = given
        rng = np.random.default_rng([seed, num_steps, int(10 * guidance), int(10 * eta), order, int(100 * threshold)])
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
        settings = {"world": world(), "sampling": DRAWN, "seed": 0, "weights": [weights]} | changes
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
    "change",
    [
        {"sampling": replace(DRAWN, num_steps=3)},
        {"sampling": replace(DRAWN, eta=0.5)},
        {"sampling": replace(DRAWN, eta=0.0, order=2)},
        {"sampling": replace(DRAWN, threshold=0.0)},
        {"seed": 1},
        {"world": world(["a sky thing", "a road thing", "a void thing"])},
    ],
)
def test_other_captions_sampling_or_seed_are_drawn_anew(sweep, change):
    model = Painter()
    sweep(model).draw(1.0)
    drawn = sweep(model, **change).draw(1.0)
    assert len(model.calls) == 2 and same(sweep(model, **change).draw(1.0), drawn) and len(model.calls) == 2


def test_the_grid_decides_which_pairs_are_drawn_and_not_what_they_are(sweep):
    model = Painter()
    first = sweep(model).draw(1.0)
    assert same(sweep(model, sampling=replace(DRAWN, guidances=(1.0, 7.0))).draw(1.0), first) and model.calls == [1.0]


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


def test_guidance_is_chosen_by_j():
    assert correspondence(Scores({"j": without_interval(0.6, 4), "f1": without_interval(0.9, 4)})) == 0.6
    assert correspondence(Scores({})) == 0  # nothing was named in this split


def test_no_setting_stops_a_sweep_by_what_it_scored_on_test_captions():
    """Guidance is chosen on validation captions, from one grid for every model."""
    with pytest.raises(ConfigError, match="evaluate: 'saturation' is unknown"):
        build(EvaluateConfig, {"saturation": 0.005}, "evaluate")


def test_other_code_of_the_sampler_or_another_precision_is_drawn_anew(sweep, monkeypatch):
    """The old identity held weights, captions, steps and seed alone."""
    model = Painter()
    sweep(model).draw(1.0)
    monkeypatch.setattr("gcdp.experiments.sweep.source_fingerprint", lambda module: "of an edit")
    for _ in range(2):
        sweep(model).draw(1.0)
    assert len(model.calls) == 2
    model.dtype = "bfloat16"
    sweep(model).draw(1.0)
    assert len(model.calls) == 3


def test_further_keywords_reach_the_model_and_decide_the_pairs(sweep, monkeypatch):
    model, layouts = Painter(), np.zeros((3, 2, 4), np.uint8)
    given = {"layouts": layouts, "path": 0.5, "image_jump": bend}
    sweep(model, given=given).draw(1.0)
    assert all(np.array_equal(model.given[name], value) for name, value in given.items()) and len(model.calls) == 1
    sweep(model, given=dict(given)).draw(1.0)
    assert len(model.calls) == 1  # the same, read again
    for changed in ({"layouts": layouts + 1}, {"path": 0.4}, {"image_jump": max}, {"resamplings": 2}):
        sweep(model, given=given | changed).draw(1.0)
    assert len(model.calls) == 5
    assert sweep(model).identity == sweep(model, given={}).identity


def test_swaps_are_given_what_is_known_of_the_pair_of_their_caption(sweep):
    model, layouts = Painter(), np.arange(3, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(4, 2)
    asked = []
    model.sample = lambda captions, seed, layouts, **_: (
        asked.append((captions, layouts[:, 0, 0].tolist()))
        or Samples(np.stack([layouts] * 3, -1), layouts, captions, list(seed), {})
    )
    swaps = Swaps(np.array([2, 0, 2]), np.array([1, 1, 1]), ["a road thing"] * 3, ["a thing"] * 3)
    named, unnamed = sweep(model, given={"layouts": layouts}).draw_swaps(swaps, 1.0)
    assert asked == [(["a road thing"] * 3 + ["a thing"] * 3, [2, 0, 2, 2, 0, 2])]
    assert named.layouts[:, 0, 0].tolist() == unnamed.layouts[:, 0, 0].tolist() == [2, 0, 2]
