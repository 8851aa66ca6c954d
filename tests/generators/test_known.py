"""Known halves and regions: who is answered directly and who by RePaint, paths, batch splits, mistakes. Seed 0."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

from gcdp.diffusion.gaussian import GaussianDiffusion
from gcdp.diffusion.outpainting import authors_jump
from gcdp.errors import ConfigError, DataError
from gcdp.generators.pipeline import Pipeline
from gcdp.training.checkpoint import ModelCard

CAPTIONS = [f"a {name} thing {i}" for i, name in enumerate(TABLE.names * 4)][:18]
ANY, DIAGONAL = {"diagonal": 0.5, "times": "joint"}, {"diagonal": 1.0, "times": "joint"}
LAYOUT_GIVEN, IMAGE_GIVEN = (
    {"diagonal": 1.0, "times": f"{way}"} for way in ("image_given_layout", "layout_given_image")
)


def model(settings=None, **network) -> Pipeline:
    """Untrained, but with every path awake; `settings` are those of a training that its card tells of."""
    facts = {} if settings is None else {"settings": settings}
    card = ModelCard(replace(NETWORK, **network), PROCESS, TABLE, SIZE, "stub", 64, facts)
    torch.manual_seed(0)
    unet, process = card.build()
    return Pipeline(awake(unet).eval(), process, card, StubEncoder().encode, "float32")


@pytest.fixture(scope="module")
def pipeline():
    return model(ANY)


def known_pair(count=2):
    g = np.random.default_rng(0)
    return g.integers(256, size=(count, *SIZE, 3), dtype=np.uint8), g.integers(5, size=(count, *SIZE), dtype=np.uint8)


def left(count=2):
    mask = np.zeros((count, *SIZE), bool)
    mask[:, :, : SIZE[1] // 2] = True
    return mask


def test_a_known_half_comes_back_unchanged_and_decides_the_other(pipeline):
    images, layouts = known_pair()
    from_layout = pipeline.sample(CAPTIONS[:2], 3, layouts=layouts)
    assert np.array_equal(from_layout.layouts, layouts)
    assert not np.array_equal(from_layout.images, pipeline.sample(CAPTIONS[:2], 3, layouts=4 - layouts).images)
    from_image = pipeline.sample(CAPTIONS[:2], 3, images=images)
    assert np.array_equal(from_image.images, images)
    assert not np.array_equal(from_image.layouts, pipeline.sample(CAPTIONS[:2], 3, images=255 - images).layouts)
    for drawn in (from_image, from_layout):
        assert (drawn.settings["method"], drawn.settings["network_calls"]) == ("direct", 3)


@pytest.mark.parametrize(
    "settings, halves",
    [
        (None, ("images", "layouts")),  # not known, trusted
        ({"diagonal": 0.8}, ("images", "layouts")),  # saved before there was a choice of times
        (ANY, ("images", "layouts")),
        (DIAGONAL, ()),
        ({"diagonal": 1.0}, ()),
        (LAYOUT_GIVEN, ("layouts",)),
        (IMAGE_GIVEN, ("images",)),
    ],
    ids=str,
)
def test_the_halves_that_a_network_may_be_told_as_clean(settings, halves):
    trained, known = model(settings), dict(zip(("images", "layouts"), known_pair(), strict=True))
    assert trained.known_halves == halves
    for half in halves:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pairs = trained.sample(CAPTIONS[:2], 1, **{half: known[half]})
        assert np.array_equal(getattr(pairs, half), known[half]) and pairs.settings["method"] == "direct"


@pytest.mark.parametrize("half, calls", [("layouts", 5 * 3), ("images", 3)])
def test_a_network_of_the_diagonal_falls_back_on_repaint_and_says_so_once(half, calls):
    trained, known = model(DIAGONAL), dict(zip(("images", "layouts"), known_pair(), strict=True))
    with pytest.warns(UserWarning, match=f"never met clean {half} in training, .* goes by RePaint") as caught:
        pairs = trained.sample(CAPTIONS[:2], 3, **{half: known[half]})
    assert caught[0].filename == __file__
    assert np.array_equal(getattr(pairs, half), known[half])
    assert (pairs.settings["method"], pairs.settings["network_calls"]) == ("repaint", calls)  # the paper's n
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = trained.sample(CAPTIONS[:2], 3, resamplings=2, **{half: known[half]})
    assert again.settings["network_calls"] == 6 and again.settings["resamplings"] == 2


@pytest.mark.parametrize("half, calls", [("layouts", 5 * 3), ("images", 3)])
def test_a_mask_that_is_true_everywhere_leaves_the_papers_number_of_resamplings(half, calls):
    known = dict(zip(("images", "layouts"), known_pair(), strict=True))
    masked = {half: known[half], f"mask_{half}": np.ones((2, *SIZE), bool)}
    assert model(DIAGONAL).sample(CAPTIONS[:2], 3, **masked).settings["network_calls"] == calls


def test_regions_go_by_repaint_and_a_known_half_beside_them_directly(pipeline):
    images, layouts = known_pair()
    mask = left()
    for network in (pipeline, model(DIAGONAL)):
        both = network.sample(
            CAPTIONS[:2], 3, images=images, mask_images=mask, layouts=layouts, mask_layouts=~mask, resamplings=2
        )
        assert np.array_equal(both.images[mask], images[mask]) and not np.array_equal(both.images[~mask], images[~mask])
        assert np.array_equal(both.layouts[~mask], layouts[~mask])
        assert not np.array_equal(both.layouts[mask], layouts[mask])
        assert (both.settings["method"], both.settings["network_calls"]) == ("repaint", 6)
    completed = pipeline.sample(CAPTIONS[:2], 3, images=images, layouts=layouts, mask_layouts=mask)
    assert np.array_equal(completed.images, images) and np.array_equal(completed.layouts[mask], layouts[mask])
    assert (completed.settings["method"], completed.settings["network_calls"]) == ("direct and repaint", 3)


def test_a_model_of_images_alone_is_given_a_region_of_them():
    images, _ = known_pair()
    drawn = model(DIAGONAL, num_classes=0).sample(CAPTIONS[:2], 2, images=images, mask_images=left())
    assert np.array_equal(drawn.images[left()], images[left()]) and drawn.layouts is None
    assert drawn.settings["network_calls"] == 10


@pytest.mark.parametrize(
    "keywords",
    [{"layouts": True}, {"images": True, "mask_images": True, "layouts": True, "mask_layouts": True}, {"path": 0.5}],
    ids=["direct", "regions", "path"],
)
def test_pairs_depend_on_their_own_caption_seed_and_known_part_only(pipeline, keywords):
    given = dict(zip(("images", "layouts"), known_pair(18), strict=True))
    given |= {"mask_images": left(18), "mask_layouts": np.random.default_rng(1).random((18, *SIZE)) < 0.3}
    given = {name: given.get(name, value) for name, value in keywords.items()}

    def drawn(rows, seeds=0):
        arrays = {name: v[rows] if isinstance(v, np.ndarray) else v for name, v in given.items()}
        return pipeline.sample(CAPTIONS[rows], 4, seed=seeds, **arrays)

    whole = drawn(slice(None))
    for rows in (slice(15, 18), slice(3, 4), slice(0, 5)):
        part = drawn(rows, whole.seeds[rows])
        assert np.array_equal(part.images, whole.images[rows]) and np.array_equal(part.layouts, whole.layouts[rows])


def test_paths_by_name_lead_and_times_and_halves_left_out(pipeline):
    T = PROCESS.T

    def drawn(path):
        return pipeline.sample(CAPTIONS[:2], 4, path=path)

    plain, named, led = drawn("diagonal"), drawn("layout_first"), drawn(1.0)
    assert np.array_equal(plain.images, pipeline.sample(CAPTIONS[:2], 4).images)
    assert np.array_equal(named.images, led.images) and not np.array_equal(named.images, plain.images)
    assert [each.settings["path"] for each in (plain, named, led, drawn(0), drawn(-0.5))] == [
        "diagonal", "layout_first", "layout_first", "diagonal", -0.5,
    ]  # fmt: skip
    assert {each.settings["network_calls"] for each in (plain, named, drawn(0.3))} == {4}
    own = drawn([(T, T), (30, T), (0, 10), (0, 0)])
    assert own.settings["network_calls"] == own.settings["num_steps"] == 3
    assert own.settings["path"] == [[T, T], [30, T], [0, 10], [0, 0]]
    image, layout = drawn("image_alone"), drawn("layout_alone")
    assert image.layouts is None and image.images.shape == (2, *SIZE, 3)
    assert layout.images is None and layout.layouts.shape == (2, *SIZE)


def test_the_authors_way_back_is_noted_and_changes_what_is_taken_again(pipeline):
    _, layouts = known_pair()
    whole = np.ones((2, *SIZE), bool)
    common = {"layouts": layouts, "mask_layouts": whole}
    once, theirs_once, often, theirs = (
        pipeline.sample(CAPTIONS[:2], 3, **common, resamplings=n, image_jump=jump)
        for n in (1, 3)
        for jump in (GaussianDiffusion.q_jump, authors_jump)
    )
    assert np.array_equal(once.images, theirs_once.images) and not np.array_equal(often.images, theirs.images)
    assert theirs.settings["image_jump"] == "authors_jump" and "image_jump" not in often.settings
    assert "resamplings" not in pipeline.sample(CAPTIONS[:2], 3).settings


IMAGES, LAYOUTS = known_pair()


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"images": IMAGES[:1]}, DataError, r"images must be uint8 \(2, 8, 16, 3\), got uint8 \(1, 8, 16, 3\)"),
        ({"images": IMAGES / 255}, DataError, "images must be uint8"),
        ({"layouts": LAYOUTS[:, :4, :4]}, DataError, "layouts must have shape"),
        ({"layouts": LAYOUTS + 5}, DataError, r"outside 0\.\.4"),
        ({"images": IMAGES, "layouts": LAYOUTS}, ConfigError, "both given, so nothing is left to draw: leave one out"),
        ({"mask_images": left()}, DataError, "mask_images is given without images: give both, or leave the mask out"),
        ({"mask_layouts": left()}, DataError, "mask_layouts is given without layouts"),
        (
            {"images": IMAGES, "mask_images": left()[:, :4]},
            DataError,
            r"mask_images must be bool \(2, 8, 16\), True where known, got bool \(2, 4, 16\)",
        ),
        ({"images": IMAGES, "mask_images": left(1)}, DataError, "mask_images must be bool"),
        ({"layouts": LAYOUTS, "mask_layouts": left() * 1.0}, DataError, "mask_layouts must be bool .* got float64"),
        ({"path": "up"}, ConfigError, "path 'up' is unknown"),
        ({"layouts": LAYOUTS, "path": "layout_first"}, ConfigError, "path is given, but layouts are known"),
        (
            {"images": IMAGES, "mask_images": left(), "path": "layout_alone"},
            ConfigError,
            "the path leaves images out, but images are given",
        ),
        ({"images": IMAGES, "mask_images": left(), "resamplings": 0}, ConfigError, "resamplings must be a whole"),
        (
            {"images": IMAGES, "mask_images": left(), "eta": 0.0, "order": 2},
            ConfigError,
            "order 2 takes every jump once",
        ),
    ],
)
def test_mistakes_are_named(pipeline, given, error, message):
    with pytest.raises(error, match=message):
        pipeline.sample(CAPTIONS[:2], 1, **given)


@pytest.mark.parametrize(
    "half, other, absent", [("image", "layout", {"num_classes": 0}), ("layout", "image", {"image_channels": 0})]
)
def test_an_absent_half_is_neither_given_nor_left_out(half, other, absent):
    alone, known = model(DIAGONAL, **absent), dict(zip(("images", "layouts"), known_pair(), strict=True))
    for name, value in ((f"{other}s", known[f"{other}s"]), (f"mask_{other}s", left())):
        with pytest.raises(DataError, match=f"no {other} half: leave `{name}` out"):
            alone.sample(CAPTIONS[:2], 2, **{name: value})
    with pytest.raises(ConfigError, match=f"{half}s are given, so nothing is left to draw"):
        alone.sample(CAPTIONS[:2], 2, **{f"{half}s": known[f"{half}s"]})
    with pytest.raises(ConfigError, match="path 'layout_first' needs a model of both halves"):
        alone.sample(CAPTIONS[:2], 2, path="layout_first")


def test_a_network_of_the_diagonal_takes_no_other_path():
    with pytest.raises(
        ConfigError, match=r"path 0\.5 needs .* independent times \(train\.diagonal below 1, e\.g\. 0\.5\)"
    ):
        model(DIAGONAL).sample(CAPTIONS[:2], 2, path=0.5)


@pytest.mark.parametrize(
    "settings, half, kind", [(LAYOUT_GIVEN, "layout", "two_stage"), (IMAGE_GIVEN, "image", "diffusion")]
)
def test_a_network_that_was_always_given_a_half_asks_for_it(settings, half, kind):
    network, known = model(settings), dict(zip(("images", "layouts"), known_pair(), strict=True))
    for given in ({}, {f"{half}s": known[f"{half}s"], f"mask_{half}s": left()}):
        with pytest.raises(ConfigError, match=f"trained with the {half} given: give `{half}s` .* of kind {kind}"):
            network.sample(CAPTIONS[:2], 1, **given)
