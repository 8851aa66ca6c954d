"""Captions in, pairs out: seeds, batch splits, guidance, and folders that cannot be loaded."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gcdp
from gcdp import devices
from gcdp.data.classes import ClassTable
from gcdp.diffusion.joint import DiffusionConfig
from gcdp.diffusion.sampling import Guidance, Noise, ReverseProcess, ReverseSettings
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.generators import guided
from gcdp.generators.pipeline import Pipeline
from gcdp.network.unet import UNetConfig
from gcdp.storage import sha256
from gcdp.training.checkpoint import ModelCard, save_model

pytest.importorskip("transformers")

NAMES = ("road", "car", "sky", "tree", "void")
TABLE = ClassTable("five", NAMES, tuple((40 * i, 0, 0) for i in range(5)), unlabeled=4)
SIZE, T = (8, 16), 40
NETWORK = UNetConfig(
    num_classes=5, stem_width=8, stem_kernels=(3,), widths=(8, 16), blocks=(1, 1), self_attention=(False, True),
    cross_attention=(False, True), heads=2, head_width=8, time_width=16, text_width=384, context_width=16,
    context_latents=2, resampler_depth=1)  # fmt: skip
WORDS = ["cars", "a road", "the sky", "trees and a road", "sky above cars, trees and a long road"]
CAPTIONS = [f"Picture {i} of {WORDS[i % 5]}." for i in range(20)]


def model_of(image=True, layout=True):
    """Card and weights of a small network whose outputs react to text, noise and times."""
    unet = UNetConfig(**{**vars(NETWORK), "image_channels": 3 * image, "num_classes": 5 * layout})
    process = DiffusionConfig(T=T, prediction="v", bound="jump")
    card = ModelCard(unet, process, TABLE, SIZE, "all-MiniLM-L6-v2", 64, {"profile": "test"})
    torch.manual_seed(0)
    network, _ = card.build()
    for head in network.heads.values():  # a fresh head is zero and would hide every mistake
        if head is not None:
            torch.nn.init.normal_(head.weight, std=0.3)
    torch.nn.init.normal_(network.text.null_pooled)
    return card, network.state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    card, weights = model_of()
    save_model(path, weights, card)
    return path


@pytest.fixture(scope="module")
def pipeline(folder):
    return gcdp.load_pipeline(folder, device="cpu", dtype="float32")


def opened(pipeline, dtype="float32", **training):
    """A pipeline of the same encoder, with other facts about its training."""
    card, weights = model_of()
    card = replace(card, training=training)
    unet, process = card.build()
    unet.load_state_dict(weights)
    return Pipeline(unet.eval(), process, card, pipeline.network.encode, dtype)


@pytest.fixture(scope="module")
def halves(pipeline):
    """The image-only and the layout-only pipeline, with the text encoder of the joint one."""

    def build(**absent):
        card, weights = model_of(**absent)
        unet, process = card.build()
        unet.load_state_dict(weights)
        return Pipeline(unet.eval(), process, card, pipeline.network.encode, "float32")

    return {"image": build(layout=False), "layout": build(image=False)}


def equal(a, b):
    return np.array_equal(a.images, b.images) and np.array_equal(a.layouts, b.layouts)


def test_pairs_come_as_documented(pipeline):
    pairs = pipeline.sample(CAPTIONS[:3], num_steps=2, guidance=1.5, seed=4)
    assert pairs.images.dtype == np.uint8 and pairs.images.shape == (3, *SIZE, 3)
    assert pairs.layouts.dtype == np.uint8 and pairs.layouts.shape == (3, *SIZE) and pairs.layouts.max() < 5
    assert pairs.captions == CAPTIONS[:3] and len(pairs.seeds) == len(pairs) == 3
    assert pairs.settings["num_steps"] == 2 and pairs.settings["guidance_layout"] == 1.5
    assert pipeline.classes == TABLE
    alone = pipeline.sample(CAPTIONS[0], num_steps=2, guidance=1.5, seed=4)
    assert alone.images.shape == (1, *SIZE, 3) and np.array_equal(alone.images[0], pairs.images[0])


def test_a_pair_depends_on_its_caption_and_seed_only_whatever_the_batch_split(pipeline):
    check_splits(pipeline, range(0, 20, 3), guidance=2)  # four captions in a network batch
    check_splits(pipeline, range(0, 20, 16), guidance=1)  # eight


def test_splits_leave_no_trace_in_bfloat16_either(pipeline):
    check_splits(opened(pipeline, "bfloat16"), (0, 2, 3, 5), guidance=(1, 3))


def test_a_batch_size_is_not_filled_up_and_stays_close_to_the_exact_pairs(pipeline):
    exact, sizes = pipeline.sample(CAPTIONS[:3], num_steps=3), []
    seen = pipeline.network.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    quick = pipeline.sample(CAPTIONS[:3], num_steps=3, batch_size=2)
    seen.remove()
    assert sizes == [4, 4, 4, 2, 2, 2]  # with text and without
    assert quick.settings["batch_size"] == 2 and "batch_size" not in exact.settings
    assert (quick.layouts == exact.layouts).mean() > 0.95
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        pipeline.sample(CAPTIONS[:3], num_steps=3, batch_size=0)


def check_splits(pipeline, starts, guidance):
    """Pairs drawn in parts from `starts`, one by one and backwards are those of one call."""
    starts = list(starts)
    captions = CAPTIONS[: 20 if len(starts) > 4 else starts[-1] + 4]
    whole = pipeline.sample(captions, num_steps=4, guidance=guidance)
    parts = [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(captions)], strict=True)]
    for rows in [*parts, slice(0, 1), slice(3, 4), slice(4, 5), slice(len(captions) - 1, None)]:
        part = pipeline.sample(captions[rows], num_steps=4, guidance=guidance, seed=whole.seeds[rows])
        assert np.array_equal(part.images, whole.images[rows]) and np.array_equal(part.layouts, whole.layouts[rows])
    backwards = pipeline.sample(captions[::-1], num_steps=4, guidance=guidance, seed=whole.seeds[::-1])
    assert np.array_equal(backwards.layouts[::-1], whole.layouts)


@pytest.mark.parametrize("guidance, calls", [(2, 7), (1, 4), (0, 4), ((1, 0), 7)])
def test_network_and_encoder_see_the_same_shapes_whatever_the_call(pipeline, monkeypatch, guidance, calls):
    # sums over another batch size or padding may round differently, and one label drawn otherwise changes a picture
    fresh, sizes, encoded = opened(pipeline), [], []
    network, text = fresh.unet.forward, fresh.network.encode
    monkeypatch.setattr(fresh.unet, "forward", lambda x, *rest: sizes.append(len(x)) or network(x, *rest))
    monkeypatch.setattr(fresh.network, "encode", lambda captions: encoded.append(captions) or text(captions))
    for count in (1, 5, 15):
        fresh.sample(CAPTIONS[:count], num_steps=1, guidance=guidance)
    # guided, a caption takes two rows: 1 + 2 + 4 batches; else one row: 1 + 1 + 2
    assert sizes == [8] * calls and encoded == [[caption] for caption in CAPTIONS[:15]]


def test_a_caption_is_encoded_once_for_all_scales_and_forgotten_when_too_many_follow(pipeline, monkeypatch):
    monkeypatch.setattr(guided, "CONTEXTS", 4)
    fresh, encoded = opened(pipeline), []
    text = fresh.network.encode
    monkeypatch.setattr(fresh.network, "encode", lambda captions: encoded.extend(captions) or text(captions))
    for guidance in (1, 2, 3):
        fresh.sample(CAPTIONS[:4], num_steps=1, guidance=guidance)
    assert encoded == CAPTIONS[:4]
    fresh.sample(CAPTIONS[4], num_steps=1)
    fresh.sample(CAPTIONS[1:4], num_steps=1)
    assert encoded == CAPTIONS[:5]
    fresh.sample(CAPTIONS[0], num_steps=1)
    assert encoded == [*CAPTIONS[:5], CAPTIONS[0]]


def test_the_network_computes_in_the_type_asked_for_and_its_heads_in_float32(pipeline):
    plain, half = opened(pipeline), opened(pipeline, "bfloat16")
    exact, rounded = (each.sample(CAPTIONS[:2], num_steps=3) for each in (plain, half))
    assert (exact.settings["dtype"], rounded.settings["dtype"]) == ("float32", "bfloat16")
    assert not np.array_equal(exact.images, rounded.images)
    assert equal(rounded, half.sample(CAPTIONS[:2], num_steps=3))
    with torch.inference_mode():
        guidance = Guidance.of(2)
        denoise = half.network.denoiser(half.network.context(CAPTIONS[:4]), guidance)
        image, layout = denoise(torch.zeros(4, 3, *SIZE), torch.zeros(4, *SIZE).long(), *torch.zeros(2, 4))
    assert image.dtype == layout.dtype == torch.float32
    with pytest.raises(ConfigError, match="dtype 'half' is unknown: choose one of auto, float32, bfloat16"):
        opened(pipeline, "half")


def test_auto_is_bfloat16_only_where_the_cpu_has_instructions_for_it(pipeline, monkeypatch):
    for capabilities, dtype in (({"avx2": True, "avx512_f": True}, "float32"), ({"avx512_bf16": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda capabilities=capabilities: capabilities)
        assert opened(pipeline, "auto").network.dtype == dtype
    assert not devices.has_bfloat16(torch.device("meta"))


def test_a_longer_call_begins_with_the_pairs_of_a_shorter_one(pipeline):
    long, short = (pipeline.sample(CAPTIONS[:n], num_steps=2, seed=1) for n in (18, 5))
    assert np.array_equal(long.images[:5], short.images) and long.seeds[:5] == short.seeds


def test_equal_seeds_give_equal_pairs_and_other_seeds_others(pipeline):
    one, again, other = (pipeline.sample(CAPTIONS[:2], num_steps=3, seed=seed) for seed in (0, np.int64(0), 1))
    assert equal(one, again)
    assert not np.array_equal(one.images, other.images) and not np.array_equal(one.layouts, other.layouts)
    same_caption = pipeline.sample([CAPTIONS[0]] * 2, num_steps=3)
    assert not np.array_equal(same_caption.images[0], same_caption.images[1])


def test_the_caption_matters_unless_guidance_is_zero(pipeline):
    def pair(caption, guidance):
        return pipeline.sample(caption, num_steps=3, guidance=guidance, seed=[5])

    assert not equal(pair(CAPTIONS[0], 1), pair(CAPTIONS[3], 1))
    assert equal(pair(CAPTIONS[0], 0), pair(CAPTIONS[3], 0))


@pytest.mark.parametrize("num_steps", [1, 3, 7, T])
def test_any_number_of_steps_works_and_the_watcher_sees_each_without_changing_anything(pipeline, num_steps):
    seen = []
    pairs = pipeline.sample(
        CAPTIONS[:2], num_steps, on_step=lambda rows, s, images, layouts: seen.append((rows, s, images, layouts))
    )
    assert [s for _, s, *_ in seen] == pipeline.process.gaussian.schedule.steps(num_steps)[1:]
    assert all(rows == slice(0, 2) and images.shape == (2, *SIZE, 3) for rows, _, images, _ in seen)
    assert np.array_equal(seen[-1][2], pairs.images) and np.array_equal(seen[-1][3], pairs.layouts)
    assert equal(pairs, pipeline.sample(CAPTIONS[:2], num_steps))


def test_a_watcher_is_told_which_captions_a_batch_holds(pipeline):
    rows = []
    pipeline.sample(CAPTIONS, 1, on_step=lambda held, s, images, layouts: rows.append((held, len(images))))
    assert rows == [(slice(i, i + 4), 4) for i in range(0, 20, 4)]
    rows.clear()
    pipeline.sample(CAPTIONS, 1, 1.0, on_step=lambda held, s, images, layouts: rows.append((held, len(images))))
    assert rows == [(slice(0, 8), 8), (slice(8, 16), 8), (slice(16, 20), 4)]


@pytest.mark.parametrize("guidance, half", [(1, "conditional"), (0, "unconditional")])
def test_guidance_one_is_the_conditional_network_and_zero_the_null_network(pipeline, guidance, half):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, *SIZE, generator=g), torch.randint(5, (8, *SIZE), generator=g)
    levels = torch.full((8,), -1.0), torch.full((8,), 2.0)
    with torch.no_grad():
        context, null = pipeline.network.context(CAPTIONS[:8]), pipeline.unet.null_context(8)
        outputs = {
            "conditional": pipeline.unet(x, y, *levels, context),
            "unconditional": pipeline.unet(x, y, *levels, null),
        }
        image, layout = pipeline.network.denoiser(context, Guidance.of(guidance))(x, y, *levels)
        mixed = pipeline.network.denoiser(context, Guidance(1.0, 3.0))(x, y, *levels)
    torch.testing.assert_close(image, outputs[half].image)
    torch.testing.assert_close(layout, outputs[half].layout)
    assert not torch.allclose(outputs["conditional"].image, outputs["unconditional"].image, atol=1e-2)
    torch.testing.assert_close(mixed[0], outputs["conditional"].image)
    expected = outputs["unconditional"].layout + 3 * (outputs["conditional"].layout - outputs["unconditional"].layout)
    torch.testing.assert_close(mixed[1], expected, rtol=1e-4, atol=1e-4)


def test_the_pipeline_is_the_reverse_process_of_its_network(pipeline):
    pairs = pipeline.sample(CAPTIONS[:8], num_steps=3, guidance=1, seed=2)
    with torch.no_grad():
        context = pipeline.network.context(CAPTIONS[:8])

    def denoise(x, *inputs):
        return pipeline.unet(x.contiguous(memory_format=torch.channels_last), *inputs, context)[:2]

    reverse = ReverseProcess(pipeline.process, ReverseSettings(3))
    x, y = reverse.run(denoise, SIZE, Noise(pairs.seeds, torch.device("cpu")))
    assert np.array_equal(pairs.layouts, y.numpy())
    expected = x.permute(0, 2, 3, 1).add(1).mul(127.5).numpy()
    assert np.abs(pairs.images - expected).max() <= 0.501


def test_models_of_one_half_draw_that_half_alone(halves):
    for name, other in (("image", "layout"), ("layout", "image")):
        pairs = halves[name].sample(CAPTIONS[:2], num_steps=3)
        assert getattr(pairs, f"{other}s") is None and getattr(pairs, f"{name}s").shape[:3] == (2, *SIZE)


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"guidance": -1}, ConfigError, "guidance"),
        ({"guidance": (1, 2, 3)}, ConfigError, "guidance"),
        ({"num_steps": 0}, ConfigError, "num_steps"),
        ({"num_steps": T + 1}, ConfigError, "num_steps"),
        ({"num_steps": 2.0}, ConfigError, "num_steps"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"seed": 0.5}, ConfigError, "seed"),
        ({"seed": [1, 2, 3]}, ConfigError, "3 numbers for 2 captions"),
        ({"captions": []}, DataError, "at least one string"),
        ({"captions": [None, "a road"]}, DataError, "string"),
        ({"captions": ["a road", "many cars " * 60]}, DataError, "tokens"),
    ],
)
def test_mistakes_are_named(pipeline, changed, error, message):
    with pytest.raises(error, match=message):
        pipeline.sample(**{"captions": CAPTIONS[:2], "num_steps": 1, **changed})


class Bomb:
    """Its unpickling would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_loading_executes_no_code_even_with_a_matching_checksum(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    (tmp_path / "config.json").write_text(json.dumps({**config, "sha256": sha256(weights)}))
    with pytest.raises(CheckpointError, match="damaged"):
        gcdp.load_pipeline(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_folders_that_cannot_be_loaded_say_why(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        gcdp.load_pipeline(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        gcdp.load_pipeline(tmp_path)
    cut = (folder / "model.safetensors").read_bytes()[:-8]
    (tmp_path / "model.safetensors").write_bytes(cut)
    with pytest.raises(CheckpointError, match="checksum"):
        gcdp.load_pipeline(tmp_path)


def test_the_folder_of_a_referee_and_a_wrong_keyword_are_named(folder):
    repository = Path(__file__).resolve().parents[2]
    with pytest.raises(CheckpointError, match=r"referee.config\.json describes a network that draws nothing"):
        gcdp.load_pipeline(repository / "weights" / "toy-streets-referee")
    pipeline = gcdp.load_pipeline(folder, device="cpu")
    with pytest.raises(ConfigError, match=r"sample has no setting 'device': .* are settings of load_pipeline"):
        pipeline.sample("Cars.", device="cpu")


def test_an_unknown_encoder_is_refused_before_anything_is_drawn(tmp_path):
    card, weights = model_of()
    save_model(tmp_path, weights, replace(card, encoder="bag-of-words"))
    with pytest.raises(ConfigError, match="bag-of-words"):
        gcdp.load_pipeline(tmp_path)
