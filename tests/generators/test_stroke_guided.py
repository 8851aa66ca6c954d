"""Pictures after strokes by tiny models of every kind: names, batches, sizes, settings, and what is refused. Seed 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from worlds import tiny
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

from gcdp.errors import ConfigError, DataError
from gcdp.generators.cascade import Cascade, Enlarger
from gcdp.generators.painting import MedianPalette, masked_l1
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.stroke_guided import METHODS, Guide, paint
from gcdp.generators.strokes import UNNAMED, Strokes, class_id, read_strokes
from gcdp.training.checkpoint import ModelCard

CAPTIONS = [f"a {name} thing {i}" for i, name in enumerate(TABLE.names * 2)]
LARGE = tuple(2 * side for side in SIZE)


def make(kind=Pipeline, size=SIZE, **network):
    torch.manual_seed(0)
    card = ModelCard(replace(NETWORK, **network), PROCESS, TABLE, size, "stub", 64, {"steps": 3})
    unet, process = card.build()
    return kind(awake(unet).eval(), process, card, StubEncoder().encode, "float32")


@pytest.fixture(scope="module")
def joint():
    return make()


@pytest.fixture(scope="module")
def image_only():
    return make(num_classes=0)


def strokes(count=3, size=SIZE, named=True):
    """Sky over road in colors of seed 0; the road has its name, the sky has none."""
    colors = np.random.default_rng(0).integers(256, size=(count, 2, 3), dtype=np.uint8)
    rows = np.arange(size[0]) * 2 // size[0]
    images = np.repeat(colors[:, rows][:, :, None], size[1], 2)
    labels = np.full(images.shape[:3], UNNAMED)
    labels[:, rows == 1] = 1
    return Strokes(images, np.ones(labels.shape, bool), labels if named else None)


def guide(method="gradop_plus", **settings):
    return Guide(method, **{"strength": 0.5, "steps": 2, **settings})


@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_with_every_kind_of_model(joint, image_only, method):
    for model in (joint, image_only):
        drawn = paint(model, CAPTIONS[:3], strokes(), guide(method), num_steps=4, seed=1)
        assert drawn.images.shape == (3, *SIZE, 3) and drawn.images.dtype == np.uint8
        assert (drawn.layouts is None) == (model is image_only)
        assert drawn.settings["guide"]["method"] == method and drawn.captions == CAPTIONS[:3]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_picture_does_not_depend_on_what_is_painted_beside_it(joint, method, guidance):
    common = {"num_steps": 3, "guidance": guidance}
    together = paint(joint, CAPTIONS, strokes(10), guide(method, naming="both"), seed=list(range(10)), **common)
    alone = paint(joint, CAPTIONS[9], strokes(10).rows([9]), guide(method, naming="both"), seed=[9], **common)
    assert np.array_equal(together.images[9:], alone.images) and np.array_equal(together.layouts[9:], alone.layouts)


def test_hard_names_are_kept_and_uncertain_ones_are_likely(joint):
    given = strokes()
    there = given.labels != UNNAMED
    shares = {}
    for key, settings in {"none": {"naming": "none"}, "soft": {"certainty": 0.6}, "hard": {}}.items():
        drawn = paint(joint, CAPTIONS[:3], given, guide(**settings), num_steps=4)
        shares[key] = (drawn.layouts == given.labels)[there].mean()
    assert shares["none"] < shares["soft"] < shares["hard"] == 1


def test_names_through_attention_change_the_picture_and_need_no_layout(image_only):
    plain, told, strongly = (
        paint(image_only, CAPTIONS[:3], strokes(), guide(naming=naming, boost=boost), num_steps=3)
        for naming, boost in (("none", 1.0), ("auto", 10.0), ("attention", 1000.0))
    )
    assert told.settings["naming"] == strongly.settings["naming"] == "attention"
    assert not np.array_equal(plain.images, told.images) and not np.array_equal(told.images, strongly.images)


@pytest.mark.parametrize("change", ["images", "masks", "labels", "caption", "seed", "strength", "painting", "distance"])
def test_everything_given_decides_the_picture(joint, change):
    given, captions, settings = strokes(), CAPTIONS[:3], {"seed": 1, "num_steps": 3}
    other, texts, own, more = given, captions, guide(), dict(settings)
    if change == "images":
        other = replace(given, images=255 - given.images)
    elif change == "masks":
        masks = given.masks.copy()
        masks[:, :2] = False
        other = replace(given, masks=masks)
    elif change == "labels":
        other = replace(given, labels=np.where(given.labels == 1, 0, given.labels))
    elif change == "caption":
        texts = CAPTIONS[3:6]
    elif change == "strength":
        own = guide(strength=0.9)
    else:
        more |= {"seed": {"seed": 2}, "painting": {"painting": MedianPalette()}, "distance": {"distance": masked_l1}}[
            change
        ]
    one, two = paint(joint, captions, given, guide(), **settings), paint(joint, texts, other, own, **more)
    assert not np.array_equal(one.images, two.images)


def test_one_picture_of_strokes_serves_all_captions(joint):
    one = strokes(1)
    drawn = paint(joint, CAPTIONS[:3], one, guide(), num_steps=2, seed=[4, 5, 6])
    again = paint(joint, CAPTIONS[2], one, guide(), num_steps=2, seed=[6])
    assert np.array_equal(drawn.images[2:], again.images)


def test_calls_of_the_network_are_counted_without_guidance(joint, image_only):
    for guidance in (1.0, 3.0):
        calls = {
            method: paint(image_only, CAPTIONS[0], strokes(1), guide(method), num_steps=4, guidance=guidance).settings[
                "network_calls"
            ]
            for method in ("sdedit", "gradop", "gradop_plus")
        }
        assert calls == {"sdedit": 2, "gradop": 6, "gradop_plus": 4}
    assert paint(joint, CAPTIONS[0], strokes(1), guide("sdedit"), num_steps=4).settings["network_calls"] == 4


def test_a_cascade_enlarges_what_its_first_network_painted():
    cascade = Cascade(make(), make(Enlarger, LARGE, low_resolution=True))
    small, large = strokes(2), strokes(2, LARGE)
    drawn = paint(cascade, CAPTIONS[:2], small, guide(), num_steps=2, seed=3)
    first = paint(cascade.base, CAPTIONS[:2], small, guide(), num_steps=2, seed=3)
    assert drawn.images.shape == (2, *LARGE, 3)
    assert np.array_equal(drawn.images, cascade.enlarged(first, num_steps=2).images)
    assert np.array_equal(drawn.images, paint(cascade, CAPTIONS[:2], large, guide(), num_steps=2, seed=3).images)


def test_a_latent_model_is_painted_on_in_pixels_and_drawn_in_latents(tmp_path):
    pytest.importorskip("diffusers")
    from gcdp.generators.autoencoder import AutoencoderConfig
    from gcdp.generators.latent import LatentConfig, load_latent, train_latent

    place, small = tiny.world(tmp_path), AutoencoderConfig(channels=5, widths=(8, 16), groups=4, steps=2)
    recipe = replace(tiny.RECIPE, steps=2, checkpoint_every=2)
    folders = tmp_path / "state", tmp_path / "model"
    train_latent(place.card, place.dataset(), LatentConfig(small, stem_width=16), recipe, *folders, None, tiny.cpu())
    stub = StubEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gcdp.generators.latent.load_encoder", lambda *args, **kwargs: stub)
        model = load_latent(folders[1], dtype="float32")
    assert model.map_size != tuple(SIZE)
    for method in METHODS:
        drawn = paint(model, CAPTIONS[:2], strokes(2), guide(method), num_steps=3)
        assert drawn.images.shape == (2, *SIZE, 3) and drawn.settings["threshold"] == 0


def test_strokes_that_do_not_fit_are_refused_in_one_sentence(joint, image_only):
    given = strokes()
    for wrong, message in (
        (strokes(3, (16, 16)), r"strokes must have the size of the model's pictures, \(8, 16\), got \(16, 16\)"),
        (strokes(2), "2 pictures of strokes are given for 3 captions"),
        (replace(given, labels=np.where(given.labels == 1, 5, given.labels)), r"must lie in 0\.\.4, or be -1"),
    ):
        with pytest.raises(DataError, match=message):
            paint(joint, CAPTIONS[:3], wrong, guide())
    with pytest.raises(ConfigError, match="no layout half to be told names"):
        paint(image_only, CAPTIONS[:3], given, guide(naming="layout"))
    with pytest.raises(ConfigError, match="draws no images"):
        paint(make(image_channels=0), CAPTIONS[:3], given, guide())
    with pytest.raises(ConfigError, match="strength must lie above 0"):
        paint(joint, CAPTIONS[:3], given, guide(strength=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((1, 8, 16), np.uint8)}, r"images of strokes must be uint8 \(B, H, W, 3\)"),
        ({"images": np.zeros((1, 8, 16, 3))}, "got float64"),
        ({"masks": None}, "masks of strokes must be bool .* got none"),
        ({"masks": np.ones((1, 8, 16))}, "True where there is a stroke, got float64"),
        ({"masks": np.ones((1, 8, 8), bool)}, r"must be bool \(1, 8, 16\)"),
        ({"masks": np.zeros((1, 8, 16), bool)}, "picture 0 has no stroke at all"),
        ({"labels": np.ones((1, 8, 8), int)}, r"labels of strokes must have shape \(1, 8, 16\)"),
        ({"masks": np.tri(8, 16, dtype=bool)[None], "labels": np.ones((1, 8, 16), int)}, "pixels outside the mask"),
    ],
)
def test_strokes_of_wrong_form_are_refused(change, message):
    whole = {"images": np.zeros((1, 8, 16, 3), np.uint8), "masks": np.ones((1, 8, 16), bool), "labels": None}
    with pytest.raises(DataError, match=message):
        Strokes(**whole | change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "method"), ({"strength": 1.5}, "strength"), ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps must be a whole number"), ({"naming": "shout"}, "naming"), ({"rounds": 0}, "rounds"),
        ({"certainty": 2}, "certainty"), ({"injections": 0}, "injections"), ({"rate": -1}, "rate"),
    ],
)  # fmt: skip
def test_guides_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Guide(**settings)


def test_a_name_as_likely_as_chance_and_too_many_names_are_refused(joint, monkeypatch):
    with pytest.raises(ConfigError, match="certainty of a name must lie above 1 / 5"):
        paint(joint, CAPTIONS[:3], strokes(), guide(certainty=0.2), num_steps=2)
    monkeypatch.setattr("gcdp.generators.stroke_names.NAMES", 0)
    with pytest.raises(ConfigError, match="a picture has 1 named classes: name at most 0"):
        paint(joint, CAPTIONS[:3], strokes(), guide(naming="attention"), num_steps=2)
    with pytest.raises(ConfigError, match="boost of named tokens must be above 0"):
        paint(joint, CAPTIONS[:3], strokes(), guide(naming="attention", boost=0.0), num_steps=2)


def png(folder, alpha=True):
    """Blue over gray, the left quarter not painted."""
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[:8], pixels[8:] = (0, 0, 255, 255), (90, 90, 90, 255)
    pixels[:, :8, 3] = 0
    path = folder / "strokes.png"
    Image.fromarray(pixels if alpha else pixels[..., :3]).save(path)
    return path


def test_strokes_are_read_from_a_picture_and_named_by_color(tmp_path):
    found = read_strokes(png(tmp_path), SIZE, TABLE, {"#0000ff": "Sky"})
    assert found.masks[0, :, 4:].all() and not found.masks[0, :, :4].any()
    assert (found.labels[0, :4, 4:] == 0).all() and (found.labels[0, 4:] == UNNAMED).all()
    assert found.images[0, 0, 5].tolist() == [0, 0, 255]
    assert read_strokes(png(tmp_path), SIZE, TABLE).labels is None and found.without_names().labels is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"#0000ff": "river"}, "'river' names no class of tiny: choose from sky, road"),
        ({"#00ff00": "road"}, "has no stroke of color #00ff00, which is named 'road'"),
        ({"blue": "road"}, "'blue' is no color: write it as #rrggbb"),
    ],
)
def test_unknown_names_and_colors_are_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_strokes(png(tmp_path), SIZE, TABLE, names)


def test_files_that_are_no_strokes_are_refused(tmp_path):
    with pytest.raises(DataError, match="has no transparency to tell strokes from the rest"):
        read_strokes(png(tmp_path, alpha=False), SIZE, TABLE)
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a picture"):
            read_strokes(tmp_path / name, SIZE, TABLE)
    assert class_id("ROAD", TABLE) == 1
