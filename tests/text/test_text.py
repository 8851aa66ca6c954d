"""Text encoders, the embedded one and a T5, and the cache of their states."""

import json
import pickle
import shutil
import socket

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from gcdp.errors import ConfigError, DataError
from gcdp.text.cache import TextCache
from gcdp.text.encoder import MINILM, load_encoder

CAPTIONS = [
    "An image with road and sky.",
    "Cars",
    "An image of an urban street view with Buildings and Skies.",
]


@pytest.fixture(scope="module")
def minilm():
    return load_encoder()


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    """A T5 of a few thousand random weights with a word tokenizer, saved as transformers saves any T5."""
    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", "road", "sky", "car", "with", "and"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder)
    return folder


def test_embedded_encoder_works_without_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the embedded encoder reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoder = load_encoder(MINILM)
    assert (encoder.name, encoder.width, encoder.max_tokens) == (MINILM, 384, 256)
    assert not encoder.model.training and not any(p.requires_grad for p in encoder.model.parameters())


def test_states_mask_and_special_tokens(minilm):
    states, mask = minilm.encode(CAPTIONS)
    assert states.dtype == torch.float32 and mask.dtype == torch.bool and not states.requires_grad
    lengths = [len(minilm.tokenizer.tokenize(caption)) + 2 for caption in CAPTIONS]
    assert mask.sum(1).tolist() == lengths and states.shape == (3, max(lengths), 384)
    assert (states[~mask] == 0).all()
    assert minilm.encode([])[0].shape == (0, 0, 384)


def test_states_do_not_depend_on_the_batch(minilm):
    together, mask = minilm.encode(CAPTIONS)
    alone, _ = minilm.encode(CAPTIONS[1:2])
    torch.testing.assert_close(together[1][mask[1]], alone[0], rtol=1e-4, atol=1e-5)


def test_meaning_is_pretrained(minilm):
    def pooled(caption):
        states, _ = minilm.encode([caption])
        return torch.nn.functional.normalize(states[0].mean(0), dim=0)

    near = pooled("a street with automobiles") @ pooled("cars on a road")
    assert near > pooled("a bowl of soup") @ pooled("cars on a road") + 0.2


def test_long_captions_are_refused_never_cut(minilm):
    long = "car " * 200
    assert minilm.encode([long])[1].sum() == 202
    with pytest.raises(DataError, match="has 302 tokens, the limit is 256"):
        minilm.encode(["car " * 300])
    assert load_encoder(max_tokens=512).max_tokens == 512
    for wrong in (513, 0):
        with pytest.raises(ConfigError, match="max_tokens"):
            load_encoder(max_tokens=wrong)


def test_unknown_encoders_and_wrong_folders(tmp_path, t5_folder):
    with pytest.raises(ConfigError, match=f"'word2vec': use {MINILM} or a T5"):
        load_encoder("word2vec")
    with pytest.raises(ConfigError, match=r"model\.safetensors does not exist"):
        load_encoder(folder=tmp_path)
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        load_encoder("t5-large", folder=tmp_path)
    with pytest.raises(DataError, match="is not the official all-MiniLM"):
        load_encoder(folder=t5_folder)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match="holds a bert model"):
        load_encoder("t5-large", folder=tmp_path)


def test_minilm_from_a_folder_is_the_same(minilm, tmp_path):
    shutil.copytree(minilm.model.config._name_or_path, tmp_path / "copy")
    assert load_encoder(folder=tmp_path / "copy").fingerprint == minilm.fingerprint


def test_t5_is_read_by_its_encoder_half(t5_folder):
    encoder = load_encoder("t5-small", folder=t5_folder)
    assert (encoder.name, encoder.width, encoder.max_tokens) == ("t5-small", 16, 256)
    states, mask = encoder.encode(["road and sky", "car"])
    assert mask.tolist() == [[True] * 4, [True, True, False, False]] and (states[~mask] == 0).all()
    ids = torch.tensor([[5, 1]])
    expected = T5EncoderModel.from_pretrained(t5_folder).eval()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(states[1, :2], expected[0].detach())
    assert load_encoder("t5-small", folder=t5_folder, max_tokens=2000).encode(["sky " * 999])[1].sum() == 1000
    with pytest.raises(DataError, match="has 258 tokens"):
        encoder.encode(["sky " * 257])


def test_incomplete_and_damaged_weights_are_refused(t5_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "t5"
    shutil.copytree(t5_folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.final_layer_norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="lacks 1 encoder weights"):
        load_encoder("t5-small", folder=folder)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_encoder("t5-small", folder=folder)


@pytest.fixture
def cache(t5_folder, tmp_path):
    encoder = load_encoder("t5-small", folder=t5_folder)
    return TextCache.build(encoder, ["road and sky", "car", "car", ""], tmp_path / "text", batch_size=2)


def test_cache_returns_what_was_encoded(cache, t5_folder):
    assert (cache.encoder_name, cache.width, len(cache)) == ("t5-small", 16, 3)
    assert "car" in cache and "bus" not in cache
    captions = ["car", "road and sky", "car"]
    states, mask = cache.batch(captions)
    expected, expected_mask = load_encoder("t5-small", folder=t5_folder).encode(captions)
    assert states.dtype == torch.float32 and torch.equal(mask, expected_mask)
    torch.testing.assert_close(states, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(DataError, match="caption 'bus' is not in the text cache"):
        cache.batch(["bus"])


def test_cache_of_the_embedded_encoder(minilm, tmp_path):
    cache = TextCache.build(minilm, CAPTIONS, tmp_path / "text")
    states, mask = cache.batch(CAPTIONS)
    expected, expected_mask = minilm.encode(CAPTIONS)
    assert torch.equal(mask, expected_mask)
    torch.testing.assert_close(states, expected, rtol=1e-3, atol=1e-3)


def test_equal_caches_are_kept_others_replaced(cache, t5_folder, monkeypatch):
    encoder = load_encoder("t5-small", folder=t5_folder)
    calls = []
    original = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda captions: calls.append(captions) or original(captions))
    TextCache.build(encoder, ["road and sky", "car", ""], cache.folder)
    assert calls == []
    assert TextCache.build(encoder, ["road"], cache.folder).captions == ["road"] and calls == [["road"]]
    with torch.no_grad():
        encoder.model.encoder.final_layer_norm.weight.mul_(2)
    TextCache.build(encoder, ["road"], cache.folder)
    assert len(calls) == 2


def test_failed_build_leaves_no_cache(t5_folder, tmp_path):
    encoder = load_encoder("t5-small", folder=t5_folder, max_tokens=3)
    with pytest.raises(DataError, match="the limit is 3"):
        TextCache.build(encoder, ["car", "road and sky"], tmp_path / "text")
    with pytest.raises(DataError, match="no captions"):
        TextCache.build(encoder, [], tmp_path / "text")
    assert list(tmp_path.iterdir()) == []


def test_workers_map_the_file_again(cache):
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 1000
    assert torch.equal(copy.batch(["car"])[0], cache.batch(["car"])[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), r"index\.json does not exist"),
        (lambda folder: (folder / "index.json").write_text("[]"), "not of cache version"),
        (lambda folder: (folder / "index.json").write_text('{"version": 1}'), "is incomplete"),
        (lambda folder: (folder / "states.npy").unlink(), r"states\.npy is not a readable array"),
        (lambda folder: (folder / "states.npy").write_bytes(b"x"), r"states\.npy is not a readable array"),
        (lambda folder: np.save(folder / "states.npy", np.zeros((2, 16))), "does not fit"),
    ],
)
def test_damaged_caches_are_refused(cache, spoil, message):
    spoil(cache.folder)
    with pytest.raises(DataError, match=message):
        TextCache.open(cache.folder)
