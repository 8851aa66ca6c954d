"""The pixel classifier: what it learns, what its labels depend on, and classifiers that cannot be loaded."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, Scenes, StubEncoder, awake

from gcdp.errors import CheckpointError, ConfigError, DataError, TrainingError
from gcdp.generators.pipeline import Pipeline
from gcdp.generators.pixel_classifier import (
    GUARD,
    FeatureReader,
    PixelClassifierConfig,
    PixelClassifierPipeline,
    fit_pixel_classifier,
    load_pixel_classifier,
)
from gcdp.training.checkpoint import ModelCard

CONFIG = PixelClassifierConfig(
    times=(0.04, 0.1), pairs=30, pixels=64, hidden=(32,), members=2, epochs=5, batch_size=128, learning_rate=2e-2
)


def model(seed=0, **network) -> Pipeline:
    """An untrained image-only network with every path awake: even random features tell gray levels apart."""
    card = ModelCard(replace(NETWORK, **{"num_classes": 0, **network}), PROCESS, TABLE, SIZE, "stub", 64, {})
    torch.manual_seed(seed)
    unet, process = card.build()
    return Pipeline(awake(unet).eval(), process, card, StubEncoder().encode)


def scenes(split, count):
    """Images that show one gray level a class, their layouts and captions."""
    source = Scenes(count)
    layouts = np.stack([source.load(split, key)[1][::2, ::2] for key in source.keys(split)])
    captions = [f"a {TABLE.names[layout.max()]} thing {i}" for i, layout in enumerate(layouts)]
    return np.repeat(60 * layouts[..., None], 3, 3), layouts, captions


TRAIN, VAL = scenes("train", 40), scenes("val", 20)


@pytest.fixture(scope="module")
def pipeline():
    return model()


@pytest.fixture(scope="module")
def classifier(pipeline):
    return fit_pixel_classifier(pipeline, *TRAIN, CONFIG)


def test_it_learns_to_read_held_out_scenes(classifier):
    # the gray level tells the class; naming the commonest class everywhere would read about half of the pixels
    layouts = classifier.label(VAL[0], VAL[2])
    assert layouts.shape == VAL[1].shape and layouts.dtype == np.uint8
    assert (layouts == VAL[1]).mean() > 0.88
    assert classifier.facts["pairs"] == 30 and classifier.facts["pixels"] == 30 * 64 and classifier.facts["seconds"] > 0


def test_equal_arguments_fit_an_equal_classifier_and_leave_the_random_state_alone(pipeline, classifier):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again = fit_pixel_classifier(pipeline, *TRAIN, CONFIG, progress=True)
    assert torch.equal(torch.get_rng_state(), state)
    weights, others = classifier.ensemble.state_dict(), again.ensemble.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    seeded = fit_pixel_classifier(pipeline, *TRAIN, replace(CONFIG, seed=1, epochs=1, members=1))
    assert not torch.equal(seeded.ensemble.mean, classifier.ensemble.mean)


def test_members_differ(classifier):
    one, two = (dict(member.named_parameters()) for member in classifier.ensemble.members)
    assert not torch.equal(one["1.weight"], two["1.weight"])


def test_a_label_depends_on_its_own_image_and_caption_only(classifier):
    whole = classifier.label(VAL[0], VAL[2])  # 20 images: one full network batch and a part
    for rows in (slice(0, 1), slice(7, 12), slice(15, 20)):
        assert np.array_equal(classifier.label(VAL[0][rows], VAL[2][rows]), whole[rows])
    assert classifier.label(VAL[0][:0]).shape == (0, *SIZE)


def features(pipeline, captions, config=CONFIG):
    return torch.stack(list(FeatureReader(pipeline, config).read(VAL[0][:3], captions)))


def test_features_are_read_at_every_tap_and_time_with_the_text(pipeline):
    told = features(pipeline, VAL[2][:3])
    assert told.shape == (3, 2 * (16 + 8 + 16 + 8), *SIZE)  # two times; mid, up.0, up.1 and last
    assert not torch.equal(told, features(pipeline, None))
    mixed = features(pipeline, [VAL[2][0], "", None])
    assert torch.equal(mixed[0], told[0]) and torch.equal(mixed[1:], features(pipeline, None)[1:])
    last = features(pipeline, VAL[2][:3], replace(CONFIG, taps=("last",), times=(0.1,)))
    assert last.shape == (3, 8, *SIZE)


def test_maps_are_those_of_the_network_at_the_noised_image(pipeline):
    reader = FeatureReader(pipeline, replace(CONFIG, taps=("last",), times=(0.1,)))
    (found,) = reader.read(VAL[0][:1], None)
    x = torch.from_numpy(VAL[0][:1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    t = torch.tensor([5])  # 0.1 of T = 50
    x_t = pipeline.process.gaussian.q_sample(x, t, reader.noise[0])
    with torch.no_grad():
        null = pipeline.unet.null_context(1)
        expected = pipeline.unet(x_t, None, *pipeline.process.log_snr(t, t), null, taps=("last",)).features["last"]
    torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-4)


def test_generated_images_are_labeled_with_the_text_that_made_them(pipeline, classifier):
    generator, captions = PixelClassifierPipeline(classifier), VAL[2][:3]
    pairs = generator.sample(captions, num_steps=3, guidance=1.5, seed=4, eta=0.5)
    alone = pipeline.sample(captions, num_steps=3, guidance=1.5, seed=4, eta=0.5)
    assert np.array_equal(pairs.images, alone.images) and pairs.seeds == alone.seeds
    assert np.array_equal(pairs.layouts, classifier.label(alone.images, captions))
    assert pairs.settings["eta"] == 0.5 and generator.classes == TABLE and generator.card == pipeline.card
    last = generator.sample(captions[2], num_steps=3, guidance=1.5, seed=pairs.seeds[2:], eta=0.5)
    assert np.array_equal(last.layouts[0], pairs.layouts[2])


def test_without_guidance_the_labels_ignore_the_text_too(classifier):
    generator = PixelClassifierPipeline(classifier)
    one, two = (generator.sample(text, num_steps=3, guidance=0, seed=5) for text in ("a road", "sky and a left thing"))
    assert np.array_equal(one.images, two.images) and np.array_equal(one.layouts, two.layouts)
    assert np.array_equal(one.layouts, classifier.label(one.images))


def test_without_captions_it_fits_and_labels_with_the_null_text(pipeline):
    blind = fit_pixel_classifier(pipeline, *TRAIN[:2], None, replace(CONFIG, members=1))
    assert (blind.label(VAL[0]) == VAL[1]).mean() > 0.9


def test_a_saved_classifier_labels_alike(classifier, pipeline, tmp_path):
    classifier.save(tmp_path)
    again = load_pixel_classifier(tmp_path, pipeline)
    assert np.array_equal(again.label(*VAL[::2]), classifier.label(*VAL[::2]))
    assert again.config == CONFIG and again.facts == classifier.facts


def edit(folder, rehash=False, **changes):
    path = folder / "config.json"
    card = {**json.loads(path.read_text()), **changes}
    card |= {"hash": GUARD.hash(card)} if rehash else {}
    path.write_text(json.dumps(card))


SPOILED = {
    "config.json is missing or damaged": [
        lambda f: (f / "config.json").unlink(),
        lambda f: (f / "config.json").write_text("[]"),
    ],
    "model.safetensors is missing or does not match its checksum": [
        lambda f: (f / "model.safetensors").unlink(),
        lambda f: (f / "model.safetensors").write_bytes(b"short"),
    ],
    "config.json was changed after it was saved": [lambda f: edit(f, classifier={"members": 1})],
    "config.json is not the card of a pixel classifier": [
        lambda f: edit(f, rehash=True, classifier={"member": 1}),
        lambda f: edit(f, rehash=True, facts={}),
    ],
}


@pytest.mark.parametrize(("message", "spoil"), [(m, spoil) for m, group in SPOILED.items() for spoil in group])
def test_damaged_folders_are_refused(classifier, pipeline, tmp_path, message, spoil):
    classifier.save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_pixel_classifier(tmp_path, pipeline)


def test_a_classifier_of_another_network_is_refused(classifier, tmp_path):
    classifier.save(tmp_path)
    with pytest.raises(CheckpointError, match="another network"):
        load_pixel_classifier(tmp_path, model(seed=1))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"times": ()}, "times"),
        ({"times": (0.0, 0.5)}, "times"),
        ({"times": (1.5,)}, "times"),
        ({"text_drop": -0.1}, "text_drop"),
        ({"pairs": 0}, "pairs"),
        ({"members": 0}, "members"),
        ({"batch_size": 1}, "batch_size"),
        ({"taps": ("up.7",)}, r"tap 'up\.7'.*up\.0"),
    ],
)
def test_settings_out_of_range_are_named(pipeline, changed, message):
    with pytest.raises(ConfigError, match=message):
        fit_pixel_classifier(pipeline, *TRAIN, replace(CONFIG, **changed))


@pytest.mark.parametrize("network", [{"num_classes": 5}, {"num_classes": 5, "image_channels": 0}])
def test_networks_with_a_layout_half_are_refused(network):
    with pytest.raises(ConfigError, match="image-only"):
        fit_pixel_classifier(model(**network), *TRAIN, CONFIG)


@pytest.mark.parametrize(
    "images, layouts, captions, message",
    [
        (TRAIN[0][:, :4], TRAIN[1], None, "images must be"),
        (TRAIN[0].astype(np.float32), TRAIN[1], None, "images must be"),
        (TRAIN[0], TRAIN[1][:5], None, "layouts must have shape"),
        (TRAIN[0], TRAIN[1] + 5, None, r"ids 0\.\.4"),
        (TRAIN[0][:0], TRAIN[1][:0], None, "at least one"),
        (TRAIN[0], TRAIN[1], TRAIN[2][:7], "7 captions for 40 images"),
    ],
)
def test_pairs_that_do_not_fit_are_named(pipeline, images, layouts, captions, message):
    with pytest.raises(DataError, match=message):
        fit_pixel_classifier(pipeline, images, layouts, captions, CONFIG)


def test_images_to_label_must_fit(classifier):
    with pytest.raises(DataError, match="images must be"):
        classifier.label(VAL[0][:, :4])
    with pytest.raises(DataError, match="2 captions for 3 images"):
        classifier.label(VAL[0][:3], VAL[2][:2])


def test_a_loss_that_is_not_finite_stops_the_fit(pipeline):
    with pytest.raises(TrainingError, match="learning_rate"):
        fit_pixel_classifier(pipeline, *TRAIN, replace(CONFIG, learning_rate=1e36))
