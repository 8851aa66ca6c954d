"""Referees by name: published architectures with a few random weights stand in for those on the hub."""

import json
import shutil

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from worlds import tiny

pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)
from transformers.utils import logging

from gcdp.data.classes import CITYSCAPES, ClassTable
from gcdp.errors import CheckpointError, ConfigError, DataError
from gcdp.evaluation.referees.published import BATCH, PUBLISHED, load_referee, match_labels
from gcdp.evaluation.referees.segmenter import SegmentationNet, SegmenterConfig, save_segmenter

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
NAMES = list(CITYSCAPES.names[:19])
SHUFFLED = [NAMES[i] for i in np.random.default_rng(0).permutation(19)]


def labels(names=SHUFFLED) -> dict:
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def small_segformer(names=SHUFFLED):
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 24], num_attention_heads=[1] * 4, decoder_hidden_size=16,
        **labels(names),
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config).eval()


def small_mask2former():
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, num_attention_heads=2,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, num_queries=6, **labels(),
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config).eval()


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segformer")
    small_segformer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mask2former")
    small_mask2former().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(segformer, tmp_path):
    shutil.copytree(segformer, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def images(count=2, size=(32, 64)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def normalized(pictures: np.ndarray) -> torch.Tensor:
    """(N, 3, H, W) as the networks were trained on."""
    return ((torch.from_numpy(pictures) / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def expected_labels(scores: torch.Tensor) -> np.ndarray:
    """Cityscapes index of the best shuffled class, (N, H, W)."""
    return np.array([NAMES.index(name) for name in SHUFFLED])[scores.argmax(1).numpy()]


def edit(path, **changes) -> None:
    stored = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**stored, **changes}))


def test_segformer_is_read_by_the_names_of_its_labels(segformer):
    """At height 32 nothing is resized going in, so the answer is the network's own, a quarter of the size."""
    pictures = images()
    referee = load_referee("segformer-b5", segformer, device="cpu", height=32)
    reading = referee.read(pictures)
    out = small_segformer()(normalized(pictures), output_hidden_states=True)
    scores = torch.nn.functional.interpolate(out.logits, (32, 64), mode="bilinear")
    assert reading.layouts.dtype == np.uint8 and reading.layouts.shape == (2, 32, 64)
    assert (reading.layouts == expected_labels(scores)).mean() > 0.999 and len(np.unique(reading.layouts)) > 3
    assert reading.features.dtype == np.float32
    expected = out.hidden_states[-1].mean((2, 3)).detach()
    np.testing.assert_allclose(reading.features, expected, rtol=1e-4, atol=1e-5)
    assert (referee.name, referee.classes) == ("segformer-b5", CITYSCAPES)
    known = {"source": str(segformer), "commit": None, "architecture": "segformer", "height": 32}
    assert referee.facts == known


def test_mask2former_sums_its_masks(mask2former):
    pictures = images()
    reading = load_referee("mask2former", mask2former, device="cpu", height=32).read(pictures)
    out = small_mask2former()(normalized(pictures))
    scores = torch.zeros(2, 19, 32, 64)
    for query in range(6):
        mask = torch.nn.functional.interpolate(out.masks_queries_logits[:, query, None], (32, 64), mode="bilinear")
        chance = out.class_queries_logits[:, query].softmax(-1)
        scores += chance[:, :19, None, None] * mask.sigmoid()
    assert (reading.layouts == expected_labels(scores.detach())).mean() > 0.999
    expected = out.encoder_last_hidden_state.mean((2, 3)).detach()
    np.testing.assert_allclose(reading.features, expected, rtol=1e-4, atol=1e-5)


def test_images_are_enlarged_at_their_aspect_ratio(segformer):
    """The network sees multiples of 32 near 64 rows; the answer has the size of the images again."""
    referee = load_referee("segformer-b5", segformer, device="cpu", height=64)
    seen = []
    referee.network.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    gray = np.full((1, 24, 50, 3), 51, np.uint8)
    assert referee.read(gray).layouts.shape == (1, 24, 50)
    assert seen[0].shape == (1, 3, 64, 128)
    torch.testing.assert_close(seen[0], normalized(gray)[:, :, :1, :1].expand(1, 3, 64, 128))
    assert referee.read(images(BATCH + 1)).features.shape == (BATCH + 1, 24)
    assert [len(x) for x in seen] == [1, BATCH, 1]


def test_a_network_may_bring_its_own_normalization(copy):
    edit(copy / "preprocessor_config.json", image_mean=[0.5] * 3, image_std=[0.25] * 3, do_flip_channel_order=True)
    ours = load_referee("segformer-b5", copy, device="cpu", height=32).read(images()).features
    x = ((torch.from_numpy(images()) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).flip(1)
    out = small_segformer()(x, output_hidden_states=True)
    np.testing.assert_allclose(ours, out.hidden_states[-1].mean((2, 3)).detach(), rtol=1e-4, atol=1e-5)
    edit(copy / "preprocessor_config.json", image_std=[0.25, 0.25])
    with pytest.raises(CheckpointError, match="needs three numbers each in image_mean and image_std"):
        load_referee("segformer-b5", copy)
    (copy / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"^referee .* cannot be loaded"):
        load_referee("segformer-b5", copy)


def test_a_folder_is_a_name_too(segformer, no_network, monkeypatch):
    referee = load_referee(str(segformer), device="cpu")
    assert referee.name == segformer.name and referee.facts["height"] == 1024
    (segformer / "segformer-b5").mkdir()
    monkeypatch.chdir(segformer)  # where a folder of that name lies about, the published network is still meant
    with pytest.raises(CheckpointError, match=r"referee nvidia/segformer-b5.*check the name and the network"):
        load_referee("segformer-b5")


def test_names_decide_and_unlabeled_is_never_an_answer(tmp_path):
    """The network would call every pixel unlabeled; it has no say in that."""
    names = ["Unlabeled", *(name.replace(" ", "_").title() for name in NAMES)]
    network = small_segformer(names)
    network.decode_head.classifier.bias.data[0] = 1e4
    network.save_pretrained(tmp_path)
    layouts = load_referee("any", tmp_path, device="cpu", height=32).read(images()).layouts
    scores = torch.nn.functional.interpolate(network(normalized(images())).logits[:, 1:], (32, 64), mode="bilinear")
    assert layouts.max() < 19 and (layouts == scores.argmax(1).numpy()).mean() > 0.999


def test_an_unlabeled_class_in_the_middle_shifts_nothing():
    table = ClassTable("odd", ("sky", "void", "road"), ((0, 0, 0),) * 3, unlabeled=1)
    assert match_labels({0: "road", 1: "sky"}, table, "net") == [1, 0]
    assert match_labels({0: "void", 1: "sky", 2: "road"}, table, "net") == [1, 2]


def test_classes_without_counterpart_are_listed(segformer, tmp_path):
    small_segformer(["tree", *NAMES[:17]]).save_pretrained(tmp_path)
    message = (
        rf"^network {tmp_path} lacks motorcycle, bicycle and class table 'cityscapes' lacks tree: "
        "use a network and a table of the same classes, or correct their names$"
    )
    with pytest.raises(ConfigError, match=message):
        load_referee("any", tmp_path)
    with pytest.raises(
        ConfigError, match=r"^network .* lacks left, right and class table 'tiny' lacks .* and 7 more: "
    ):
        load_referee("segformer-b5", segformer, classes=tiny.TABLE)


def test_the_segmenter_is_found_in_its_folder(tmp_path):
    config = SegmenterConfig((4, 6))
    save_segmenter(tmp_path, SegmentationNet(config, 5).state_dict(), config, tiny.TABLE, {})
    referee = load_referee("segmenter", tmp_path, tiny.TABLE, "cpu")
    assert referee.name == "segmenter" and referee.read(images()).features.shape == (2, 6)
    with pytest.raises(ConfigError, match=r"trained for the classes of 'tiny', not for those of 'cityscapes': train"):
        load_referee("segmenter", tmp_path, CITYSCAPES)
    with pytest.raises(ConfigError, match="'segmenter' needs the folder that its training wrote: give `folder`"):
        load_referee("segmenter")
    with pytest.raises(
        CheckpointError, match=r"config\.json is missing or damaged: fetch it again or train the referee again"
    ):
        load_referee("segmenter", tmp_path / "none")


@pytest.mark.parametrize("name", [*PUBLISHED, "nobody/nothing"])
def test_without_network_one_sentence_says_what_to_do(no_network, name):
    with pytest.raises(CheckpointError) as caught:
        load_referee(name)
    message = str(caught.value)
    assert message.startswith(f"referee {PUBLISHED.get(name, name)} cannot be loaded (") and "\n" not in message
    assert message.endswith(": check the name and the network, or give `folder`, a local copy with model.safetensors")


def test_other_folders_and_heights_are_refused(copy, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"holds no config\.json: give the folder of a saved segmentation network"
    ):
        load_referee("segformer-b5", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="height must be at least 32, got 31"):
        load_referee("segformer-b5", copy, height=31)
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(
        ConfigError, match=r"holds a bert model, which does not segment images: use segformer-b5, mask2"
    ):
        load_referee("segformer-b5", tmp_path / "bert")
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*: check that the folder holds config\.json"):
        load_referee("segformer-b5", copy)


def test_damaged_and_incomplete_weights_are_refused(copy):
    path = copy / "model.safetensors"
    weights = load_file(path)
    weights.pop("decode_head.classifier.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 weights of the network: fetch it again"):
        load_referee("segformer-b5", copy)
    weights["decode_head.classifier.weight"] = torch.zeros(4, 16, 1, 1)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_referee("segformer-b5", copy)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_referee("segformer-b5", copy)


def test_pickled_weights_are_never_opened(copy):
    (copy / "model.safetensors").unlink()
    torch.save(small_segformer().state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*: check that the folder holds .*model\.safetensors"):
        load_referee("segformer-b5", copy)


def test_foreign_code_never_runs(copy):
    (copy / "evil.py").write_text("raise SystemExit('code of the folder was run')\n")
    edit(copy / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_referee("segformer-b5", copy)


def test_loading_is_silent_and_restores_progress_bars(segformer, capfd):
    before = logging.is_progress_bar_enabled()
    load_referee("segformer-b5", segformer)
    assert logging.is_progress_bar_enabled() == before and capfd.readouterr().err == ""


def test_other_arrays_are_refused(segformer):
    referee = load_referee("segformer-b5", segformer, device="cpu")
    with pytest.raises(DataError, match=r"a referee reads uint8 images \(N, H, W, 3\), got float64"):
        referee.read(np.zeros((1, 32, 64, 3)))
