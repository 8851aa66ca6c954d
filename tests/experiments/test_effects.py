"""The effect of naming through drawing and reading: an oracle has 1, a deaf model 0, and both versions share noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from worlds.tiny import SIZE, TABLE

from gcdp.data.captions import caption_with, classes_in_caption
from gcdp.diffusion.sampling import sample_seeds
from gcdp.evaluation.naming import plan_swaps
from gcdp.evaluation.referees.segmenter import Reading
from gcdp.evaluation.scores import Scores
from gcdp.experiments.datasets import HeldOut
from gcdp.experiments.effects import read_swaps
from gcdp.experiments.referees import Referees
from gcdp.experiments.sections import SamplingConfig
from gcdp.experiments.sweep import Sweep
from gcdp.generators.samples import Samples

RNG = np.random.default_rng(0)
CAPTIONS = [caption_with(np.flatnonzero(RNG.random(4) < 0.4).tolist(), TABLE) for _ in range(30)]
EMPTY = np.zeros((30, *SIZE), np.uint8)
WORLD = HeldOut(np.stack([EMPTY] * 3, -1), EMPTY, CAPTIONS, [str(i) for i in range(30)], TABLE)
SEEN = Referees(SimpleNamespace(read=lambda images: Reading(images[..., 0], np.zeros((len(images), 2), np.float32))))


class Model:
    """Draws the classes that captions name, or some that the seed alone decides; counts what it draws."""

    classes, dtype = TABLE, "float32"

    def __init__(self, listens=True, layouts=True):
        self.listens, self.layouts, self.asked = listens, layouts, []

    def sample(self, captions, num_steps, guidance, seed, eta, order, threshold, progress=False):
        seeds = sample_seeds(seed, len(captions)) if isinstance(seed, int) else list(seed)
        self.asked += zip(captions, seeds, strict=True)
        layouts = np.full((len(captions), *SIZE), TABLE.unlabeled, np.uint8)
        for layout, caption, own in zip(layouts, captions, seeds, strict=True):
            tossed = np.flatnonzero(np.random.default_rng(own).random(4) < 0.5)
            for k in classes_in_caption(caption, TABLE) if self.listens else tossed:
                layout[:, 2 * k : 2 * k + 2] = k
        return Samples(np.stack([layouts] * 3, -1), layouts if self.layouts else None, list(captions), seeds, {})


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")

    def make(model):
        return Sweep(model, WORLD, SamplingConfig(num_steps=2), 3, tmp_path / "sweep", [tmp_path / "model.safetensors"])

    return make


@pytest.mark.parametrize("listens, expected", [(True, 1), (False, 0)])
def test_an_oracle_has_an_effect_of_one_and_a_deaf_model_none(sweep, listens, expected):
    bits = read_swaps(SEEN, sweep(Model(listens)), 2.0, 10, min_area=4)
    scores = bits.add_to(Scores({}, guidance=2.0))
    for key in ("effect", "effect_layouts"):
        assert [scores[key][end] for end in ("value", "low", "high")] == [expected] * 3
    assert bits.seen.shape == bits.held.shape == (2, len(bits.swaps)) and len(bits.swaps) % 10 == 0
    assert all(row["n"] == 10 and row["value"] == expected for row in scores.effects.values()) and scores.effects
    assert scores.guidance == 2.0 and Scores.from_dict(scores.to_dict()) == scores


def test_a_class_counts_from_the_calibrated_area_in_images_and_from_one_pixel_in_layouts(sweep):
    scores = read_swaps(SEEN, sweep(Model()), 2.0, 5, min_area=2 * SIZE[0] + 1).add_to(Scores({}))
    assert scores.value("effect") == 0 and scores.value("effect_layouts") == 1


def test_both_versions_share_the_seed_of_their_caption_and_equal_captions_give_equal_pairs(sweep):
    made = sweep(Model(listens=False))
    swaps = plan_swaps(CAPTIONS, TABLE, 10, 3)
    first, second = made.draw_swaps(swaps, 2.0)
    assert first.seeds == second.seeds == [sample_seeds(3, 30)[row] for row in swaps.caption]
    assert np.array_equal(first.images, second.images) and np.array_equal(first.layouts, second.layouts)
    assert first.captions == swaps.with_label and second.captions == swaps.without_label


def test_the_ordinary_drawing_is_used_and_all_is_kept(sweep):
    model = Model()
    made, swaps = sweep(model), plan_swaps(CAPTIONS, TABLE, 10, 3)
    ordinary = made.draw(2.0)
    first, second = made.draw_swaps(swaps, 2.0)
    assert len(set(model.asked)) == len(model.asked) <= 30 + len(swaps)
    for m, row in enumerate(swaps.caption):
        same = first if swaps.with_label[m] == CAPTIONS[row] else second
        assert np.array_equal(same.images[m], ordinary.images[row])
    drawn = len(model.asked)
    again = sweep(model).draw_swaps(swaps, 2.0)
    assert len(model.asked) == drawn and np.array_equal(again[1].images, second.images)
    more = plan_swaps(CAPTIONS, TABLE, 12, 3)
    sweep(model).draw_swaps(more, 2.0)
    assert len(model.asked) > drawn


def test_a_caption_that_meets_a_label_again_has_other_noise(sweep):
    swaps = plan_swaps(CAPTIONS, TABLE, 40, 3)
    first, _ = sweep(Model()).draw_swaps(swaps, 2.0)
    assert swaps.repeat.max() == 1
    assert len({(int(k), s) for k, s in zip(swaps.label, first.seeds, strict=True)}) == len(swaps)


def test_without_layouts_or_swaps_there_is_less_to_say(sweep):
    scores = read_swaps(SEEN, sweep(Model(layouts=False)), 2.0, 5, 4).add_to(Scores({}))
    assert "effect" in scores and "effect_layouts" not in scores
    nothing = read_swaps(SEEN, sweep(Model()), 2.0, 0, 4).add_to(Scores({}))
    assert not nothing.measures and not nothing.effects


def test_attributes_are_swapped_where_captions_name_them(tmp_path):
    from worlds.tiny_attributes import TABLE as ATTRIBUTES

    captions = ["This man is smiling.", "She wears a hat.", "He has a beard.", "This person is smiling."] * 5
    world = HeldOut(WORLD.images[:20], EMPTY[:20], captions, WORLD.keys[:20], TABLE)
    reader = SimpleNamespace(table=ATTRIBUTES, present=lambda images: np.tile(images[:, :1, 0, 0] > 0, (1, 4)))
    made = Sweep(Model(), world, SamplingConfig(num_steps=2), 0, tmp_path, [])
    bits = read_swaps(Referees(SEEN.segmenter, reader), made, 2.0, 6, 1)
    assert {ATTRIBUTES.names[k] for k in bits.swaps.label} == {"Smiling", "Wearing_Hat", "Beard"}
    assert not bits.layout_weights.any()  # none of them is a class of this table
    scores = bits.add_to(Scores({}))
    assert scores.value("effect") == 0 and "effect_layouts" not in scores
