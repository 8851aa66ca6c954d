"""CLIP as a referee: beside a direct computation, on a network of random weights. Seeds are 0 and 1."""

import json
import socket
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

from gcdp.errors import CheckpointError, ConfigError
from gcdp.evaluation.referees.clip import clip_pixels, load_clip

WORDS = ["<unk>", "<pad>", "<s>", "</s>", "a", "red", "blue", "face", "with", "hat"]


def random_images(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP of a few thousand random weights with a word tokenizer, saved as transformers saves any CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(WORDS), "max_position_embeddings": 8}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}
    vision = {**sizes, "image_size": 24, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    return folder


def test_clip_agrees_with_a_direct_computation(clip_folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a local CLIP reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    referee = load_clip(folder=clip_folder, device="cpu")
    images = random_images(20, (30, 44))  # more than a batch
    captions = [("a red face", "a blue face with a hat")[i % 2] for i in range(20)]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    text = referee.tokenizer(captions, padding=True, return_tensors="pt")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    pixels = processor(list(images), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"], pixel_values=pixels)
        cosines = logits.logits_per_image.diagonal() / model.logit_scale.exp()
    unclipped = 100 * cosines.numpy()
    assert unclipped.std() > 1e-3  # or the agreement would say nothing
    np.testing.assert_allclose(referee.score(images, captions), np.maximum(unclipped, 0), atol=1e-4)
    own = 100 * (referee.embed_images(images) * referee.embed_captions(captions)).sum(1)
    np.testing.assert_allclose(own, unclipped, atol=1e-4)
    assert referee.name == "CLIP score (ViT-L/14-336)" and referee.facts["source"] == str(clip_folder)
    assert load_clip("someone/clip-tiny", clip_folder).name == "CLIP score (clip-tiny)"


def test_negative_cosines_count_nothing(clip_folder):
    referee = load_clip(folder=clip_folder, device="cpu")
    images = random_images(4, (24, 24))
    said = referee.embed_captions(["a red face"] * 4)
    referee.embed_images = lambda images: -said
    assert referee.score(images, ["a red face"] * 4).tolist() == [0] * 4


def test_pixels_are_prepared_as_clip_was_trained():
    """A wide picture of one color on its sides and another in its center: the center alone is kept."""
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 16:44] = 255, 128, 0
    pixels = clip_pixels(image, 10)
    assert pixels.shape == (3, 10, 10) and pixels.dtype == torch.float32
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected = (np.array([255, 128, 0]) / 255 - mean) / std
    np.testing.assert_allclose(pixels.mean((1, 2)).numpy(), expected, atol=1e-4)
    image = random_images(1, (23, 31))[0]
    resized = Image.fromarray(image).resize((13, 10), Image.Resampling.BICUBIC)
    expected = (np.asarray(resized)[:, 1:11] / 255 - mean) / std
    np.testing.assert_allclose(clip_pixels(image, 10).permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_long_captions_are_cut_with_one_warning(clip_folder):
    referee = load_clip(folder=clip_folder, device="cpu")
    long = "a red face with a hat a red face with a hat"
    with pytest.warns(UserWarning, match="1 of 2 captions have more than the 8 tokens that CLIP score"):
        vectors = referee.embed_captions([long, "a hat"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = referee.embed_captions(["a red face with a hat", long])  # six words and two special tokens
    np.testing.assert_allclose(vectors[0], cut[0], atol=1e-6)


def test_folders_that_hold_no_clip_are_refused(clip_folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no config\.json: give the folder of a saved CLIP"):
        load_clip(folder=tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match="holds a bert model: give a CLIP such as openai/clip-vit-large-patch14-336"):
        load_clip(folder=tmp_path)
    (tmp_path / "config.json").write_text((clip_folder / "config.json").read_text())
    with pytest.raises(
        CheckpointError, match=r"cannot be loaded .*: check that the folder holds config\.json and model"
    ):
        load_clip(folder=tmp_path)
