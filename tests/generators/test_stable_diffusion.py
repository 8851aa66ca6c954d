"""Strokes on a tiny Stable Diffusion with random weights: chain, methods, names, saving, refusals. Seed 0."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from gcdp.errors import ConfigError, DataError
from gcdp.generators.stable_diffusion import StrokesPipeline, attended, read_stable_strokes
from gcdp.generators.stroke_guided import METHODS, Guide
from gcdp.generators.strokes import UNNAMED, Strokes

WORDS = ("a", "red", "car", "by", "the", "lake", "and", "castle")
PROMPTS = ["a red car by the lake", "the castle and the lake"]


def tokenizer(folder):
    """One token a word."""
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, **{f"{word}</w>": i + 2 for i, word in enumerate(WORDS)}}
    letters = sorted(set("".join(WORDS)))
    for piece in [*letters, *(f"{letter}</w>" for letter in letters)]:
        vocabulary.setdefault(piece, len(vocabulary))
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
            vocabulary.setdefault(parts[0], len(vocabulary))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(dict.fromkeys(merges)) + "\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def make(folder, prediction="epsilon"):
    torch.manual_seed(0)
    own = tokenizer(folder)
    common = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")}
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=12, attention_head_dim=4, **common,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, sample_size=16,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(own), hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=16,
        )
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction)
    return StrokesPipeline(vae, text, own, unet, scheduler)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    found = make(tmp_path_factory.mktemp("tiny"))
    found.set_progress_bar_config(disable=True)
    return found


def strokes(count=1, side=16):
    """A red square on gray, named 0."""
    images = np.full((count, side, side, 3), 90, np.uint8)
    labels = np.full((count, side, side), UNNAMED)
    images[:, 4:12, 4:12], labels[:, 4:12, 4:12] = (220, 20, 20), 0
    return Strokes(images, np.ones(labels.shape, bool), labels)


def drawn(pipeline, guide, prompts=PROMPTS[:1], given=None, **more):
    settings = {"num_inference_steps": 4, "names": ["car"], **more}
    found = pipeline(prompts, strokes() if given is None else given, guide, **settings).images
    return np.stack([np.asarray(image) for image in found])


def guide(method="gradop_plus", naming="none", **more):
    return Guide(method, 0.5, steps=2, naming=naming, **more)


def test_the_chain_is_that_of_the_scheduler(pipeline):
    schedule = pipeline.process.gaussian.schedule
    assert schedule.T == 1000
    torch.testing.assert_close(schedule.alpha_bar[1:].float(), pipeline.scheduler.alphas_cumprod)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_a_picture_of_the_size_of_its_strokes(pipeline, method):
    assert drawn(pipeline, guide(method)).shape == (1, 16, 16, 3)


def test_a_whole_run_without_strokes_is_ddim_of_the_published_scheduler(pipeline):
    """SDEdit at strength 1 never sees the strokes: each of its steps is one of diffusers' DDIM, whose last one may end
    at alpha_bar of its first time in place of 1."""
    told = []
    process = pipeline.process
    network = pipeline._denoiser(process, PROMPTS[:1], 3.0)
    times = process.gaussian.schedule.steps(5)
    pipeline.scheduler.set_timesteps(5)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for t, s in zip(times[:-2], times[1:-1], strict=True):
        levels = process.log_snr(torch.tensor([t]), torch.tensor([t]))
        output, _ = network(x, None, *levels)
        t, s = torch.tensor([t]), torch.tensor([s])
        mean, _ = process.gaussian.reverse(process.gaussian.predict_x0(output, x, t), x, t, s, 0.0)
        told.append(mean)
        alpha = pipeline.scheduler.alphas_cumprod
        clean = (x - (1 - alpha[t - 1]).sqrt() * output) / alpha[t - 1].sqrt()
        theirs = alpha[s - 1].sqrt() * clean + (1 - alpha[s - 1]).sqrt() * output
        torch.testing.assert_close(mean, theirs, atol=1e-4, rtol=1e-4)
        x = mean
    assert len(told) == 4


def test_prompts_strokes_and_seeds_decide_the_pictures(pipeline):
    two = strokes(2)
    both = drawn(pipeline, guide(), PROMPTS, two, seed=[3, 4])
    for change in ({"seed": [3, 5]}, {"prompts": [PROMPTS[0], PROMPTS[0]]}, {"given": strokes(2).rows([0, 0])}):
        given = {"prompts": PROMPTS, "given": two, "seed": [3, 4]} | change
        same = np.array_equal(drawn(pipeline, guide(), **given), both)
        assert same == ("given" in change)
    darker = Strokes(two.images // 2, two.masks, two.labels)
    assert not np.array_equal(drawn(pipeline, guide(), PROMPTS, darker, seed=[3, 4]), both)


def test_named_strokes_attend_to_their_words(pipeline):
    plain, told, strongly = (
        drawn(pipeline, guide(naming=naming, boost=boost), guidance_scale=1.0)
        for naming, boost in (("none", 1.0), ("attention", 1.0), ("attention", 500.0))
    )
    assert np.abs(plain.astype(int) - told).max() <= 1  # a weight of 1 is no weight
    assert not np.array_equal(told, strongly)
    assert not any(type(each).__name__ == "_Boosted" for each in pipeline.unet.attn_processors.values())


def test_only_pixels_of_a_stroke_attend_more(pipeline):
    tokens = pipeline._name_tokens(PROMPTS[:1], ["car", "lake"], strokes().labels)
    ids = pipeline._token_ids(PROMPTS[:1])[0].tolist()
    at = ids.index(pipeline.tokenizer("car", add_special_tokens=False).input_ids[0])
    assert tokens[0].flatten(1).sum(1).nonzero().flatten().tolist() == [at] and tokens[0, at, 4:12, 4:12].all()
    assert float(tokens.sum()) == 64
    with attended(pipeline.unet, tokens, 9.0):
        cross = [each for name, each in pipeline.unet.attn_processors.items() if name.endswith("attn2.processor")]
        boosted = cross[0]
        bias = boosted._bias(2, 16)
    assert (
        bias.shape == (2, 16, 16) and not bias[0].any() and float(bias[1].max()) == pytest.approx(np.log(9), rel=1e-5)
    )


def test_a_pipeline_is_saved_and_loaded_as_any_other(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    loaded = StrokesPipeline.from_pretrained(tmp_path)
    assert np.array_equal(drawn(loaded, guide()), drawn(pipeline, guide()))


def test_what_does_not_fit_is_refused_in_one_sentence(pipeline, tmp_path):
    for given, names, message in (
        (strokes(side=18), ["car"], "strokes must be multiples of 4 pixels high and wide, got 18 x 18"),
        (strokes(3), ["car"], "3 pictures of strokes are given for 2 prompts"),
        (strokes(2), [], "label 0 of strokes has no name: give `names`"),
        (strokes(2), ["car"], "the prompt 'the castle and the lake' does not hold the name 'car': add it"),
    ):
        with pytest.raises(DataError, match=message):
            drawn(pipeline, guide(naming="attention"), PROMPTS, given, names=names)
    with pytest.raises(ConfigError, match="boost of named tokens must be above 0"):
        drawn(pipeline, guide(naming="attention", boost=0.0))
    with pytest.raises(ConfigError, match="prediction type 'x' of the scheduler is unknown"):
        assert make(tmp_path, prediction="x").process


def test_strokes_are_read_with_names_of_any_words(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = (200, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "strokes.png")
    given, names = read_stable_strokes(tmp_path / "strokes.png", (8, 8), {"#c80000": "old castle"})
    assert names == ["old castle"] and (given.labels[given.masks] == 0).all() and given.masks.sum() == 32
    assert read_stable_strokes(tmp_path / "strokes.png", (8, 8))[0].labels is None
