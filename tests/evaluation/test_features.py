"""Taps by name, features that no neighbor changes, clusters that are there to find. Random numbers: seeds 0 to 2."""

import numpy as np
import pytest
import torch
from worlds.tiny import NETWORK, PROCESS, SIZE, TABLE, StubEncoder, awake

from gcdp.errors import ConfigError, DataError
from gcdp.evaluation.features import choose_taps, cluster_maps, enlarged, feature_maps
from gcdp.generators.pipeline import Pipeline
from gcdp.network.unet import UNet
from gcdp.training.checkpoint import ModelCard

TAPS = ["down.0", "down.1", "mid", "up.1", "up.0", "last"]
CAPTIONS = ["a left thing", None, "number 3", "a right thing", "a", "sky", "road", "number 7", "number 8", "left"]


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    card = ModelCard(NETWORK, PROCESS, TABLE, SIZE, "stub", 64, {})
    _, process = card.build()
    return Pipeline(awake(UNet(NETWORK)).eval(), process, card, StubEncoder().encode)


@pytest.fixture(scope="module")
def pairs():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(CAPTIONS), 3, *SIZE, generator=generator)
    return x, torch.randint(TABLE.num_classes, (len(CAPTIONS), *SIZE), generator=generator)


def test_taps_are_chosen_by_name_or_by_what_stands_before_the_dot():
    assert choose_taps(TAPS) == TAPS
    assert choose_taps(TAPS, ["last", "up.0"]) == ["up.0", "last"]
    assert choose_taps(TAPS, ["up", "mid"]) == ["mid", "up.1", "up.0"]
    assert choose_taps(["mid", "last.image", "last.layout"], ["last"]) == ["last.image", "last.layout"]


def test_an_unknown_tap_is_refused_with_the_taps_that_there_are(pipeline, pairs):
    message = "the network has no tap 'up.7': choose from down.0, down.1, mid, up.1, up.0, last"
    with pytest.raises(ConfigError, match=message):
        feature_maps(pipeline, *pairs, (20, 20), CAPTIONS, ["mid", "up.7"])


def test_features_are_those_of_the_network(pipeline, pairs):
    found = feature_maps(pipeline, *pairs, (20, 20), CAPTIONS)
    assert list(found) == TAPS == pipeline.unet.tap_names
    assert found["up.0"].shape == (10, 8, 4, 8) and found["mid"].shape == (10, 16, 2, 4)
    assert found["last"].shape == (10, 8, *SIZE) and all(each.dtype == np.float32 for each in found.values())
    rows = slice(0, 8)
    levels = pipeline.process.log_snr(torch.full((8,), 20), torch.full((8,), 20))
    with torch.no_grad():
        text = pipeline.network.context(CAPTIONS[rows])
        direct = pipeline.unet(*(half[rows] for half in pairs), *levels, text, taps=["mid"]).features["mid"]
    assert np.array_equal(found["mid"][rows], direct.numpy())


def test_features_of_a_pair_do_not_depend_on_the_others(pipeline, pairs):
    everything = feature_maps(pipeline, *pairs, (20, 30), CAPTIONS, ["up.0"])["up.0"]
    alone = feature_maps(pipeline, *(half[9:] for half in pairs), (20, 30), CAPTIONS[9:], ["up.0"])["up.0"]
    assert np.allclose(everything[9:], alone, atol=1e-6)
    told_otherwise = feature_maps(pipeline, *pairs, (20, 20), CAPTIONS, ["up.0"])["up.0"]
    assert not np.allclose(everything, told_otherwise, atol=1e-3)


def test_another_number_of_captions_is_refused(pipeline, pairs):
    with pytest.raises(DataError, match=r"10, 10. pairs and 2 captions"):
        feature_maps(pipeline, *pairs, (20, 20), CAPTIONS[:2])


def blocks(noise=0.1):
    """Labels (5, 6, 8) in three stripes, the same in no two images, and features (5, 4, 6, 8) that tell them apart."""
    rng = np.random.default_rng(2)
    labels = np.stack([np.roll(np.arange(8) // 3, shift) for shift in range(5)])[:, None].repeat(6, 1)
    centers = rng.standard_normal((3, 4)) * np.array([1000, 1, 1, 0.001])  # scales must not matter
    features = centers[labels] + noise * centers.std(0) * rng.standard_normal((*labels.shape, 4))
    return labels, features.transpose(0, 3, 1, 2)


def test_clusters_are_found_over_all_images_together():
    labels, features = blocks()
    clusters = cluster_maps(features, 3)
    assert clusters.shape == labels.shape and clusters.dtype == np.uint8
    names = {(int(a), int(b)) for a, b in zip(labels.ravel(), clusters.ravel())}
    assert len(names) == 3  # one name for each label, in all images


def test_clusters_depend_on_the_seed_alone():
    _, features = blocks(noise=2.0)
    assert np.array_equal(cluster_maps(features, 7, seed=4), cluster_maps(features, 7, seed=4))
    assert not np.array_equal(cluster_maps(features, 7, seed=4), cluster_maps(features, 7, seed=5))


@pytest.mark.parametrize("factor", [1.0, 1e-6])
def test_a_channel_that_never_changes_is_no_obstacle(factor):
    _, features = blocks()
    constant = np.full_like(features[:, :1], factor)
    assert np.array_equal(cluster_maps(np.concatenate([features, constant], 1), 3), cluster_maps(features, 3))


@pytest.mark.parametrize(
    ("features", "count", "message"),
    [
        (np.zeros((1, 2, 2, 2)), 5, "5 clusters of 4 places: ask for 1 to 4"),
        (np.full((1, 2, 2, 2), np.nan), 2, "must be finite"),
        (np.zeros((2, 2, 2)), 2, "must be finite and of shape"),
    ],
)
def test_what_cannot_be_clustered_is_refused(features, count, message):
    with pytest.raises(DataError, match=message):
        cluster_maps(features, count)


def test_maps_are_enlarged_by_nearest_neighbor():
    maps = np.array([[[1, 2], [3, 4]]])
    assert enlarged(maps, (2, 4)).tolist() == [[[1, 1, 2, 2], [3, 3, 4, 4]]]
    with pytest.raises(DataError, match="cannot be enlarged"):
        enlarged(maps, (3, 4))
