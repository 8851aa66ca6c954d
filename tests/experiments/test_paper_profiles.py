"""The paper's profile of streets without its data: on drawn scenes in the form of Cityscapes, at full size and width.

Seed 0; the text encoder is a stub, and networks are made of fake tensors, which compute shapes alone.
"""

import shutil
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gcdp.data.batches import collate
from gcdp.experiments.datasets import open_pairs, prepare_captions, prepare_pairs, prepare_text
from gcdp.experiments.profile import load_profile
from gcdp.experiments.runs import model_card, prepare_run
from gcdp.network.unet import LowResolution, UNet
from gcdp.toy.worlds import WORLDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository with the profiles, and four drawn scenes where the files of Cityscapes belong."""
    root = tmp_path_factory.mktemp("paper")
    shutil.copytree(ROOT / "params", root / "params")
    shutil.copy(ROOT / "dvc.yaml", root)
    WORLDS["toy_streets"].generate(root / "data/cityscapes/streets/raw", {"train": 2, "val": 1, "test": 1}, seed=0)
    return root


@pytest.mark.parametrize("name", ["cityscapes", "cityscapes-best"])
def test_both_stages_of_the_paper_take_the_files_of_cityscapes(place, monkeypatch, stub_encoder, name):
    monkeypatch.chdir(place)
    for domain in ("streets", "streets_large"):
        profile = load_profile(name, domain)
        prepare_pairs(profile, domain)
        prepare_captions(profile, domain)
        prepare_text(profile, domain)
    small, large = (load_profile(name, domain) for domain in ("streets", "streets_large"))
    assert open_pairs(small, "streets", "train").size == (128, 256)
    assert open_pairs(large, "streets_large", "train").size == (256, 512)
    assert len(open_pairs(small, "streets", "test")) == 1  # val plays test
    runs = {
        "joint": prepare_run(small, "streets", "joint"),
        "enlarger": prepare_run(large, "streets_large", "enlarger"),
    }
    for model, run in runs.items():
        batch = collate([run.pairs[(0, 0)], run.pairs[(1, 0)]], run.pairs.text)
        shape = _predicted(run.card, batch)
        assert shape == (2, 20, *batch["x"].shape[-2:]), model
    assert runs["joint"].config.optimizer == ("muon" if name.endswith("best") else "adamw")
    assert runs["enlarger"].pairs[(0, 0)]["low_x"].shape == (3, 128, 128)  # crops of 256 x 256
    assert model_card(small, "streets", "gaussian").unet.num_classes == 0


def _predicted(card, batch) -> tuple[int, ...]:
    """Shape of the layout half that the network of a card predicts for a batch, of fake tensors."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        unet = UNet(card.unet)
        x, y, tokens, mask = (batch[key] for key in ("x", "y", "tokens", "mask"))
        level, keep = torch.zeros(len(x)), torch.ones(len(x), dtype=torch.bool)
        # smaller pairs come enlarged to the size of the pair, see `condition`
        low = LowResolution(x, y, level) if card.unet.low_resolution else None
        output = unet(x, y, level, level, unet.encode_text(tokens.float(), mask, keep), low)
    assert unet.num_parameters() > 660e6
    return tuple(output.layout.shape)
