"""The paper's profiles without their data: on drawn scenes in the form of it, at full size and width.

Seed 0; the text encoder is a stub, and networks stand on the meta device, which computes shapes alone.
"""

import shutil
from pathlib import Path

import pytest

from gcdp.data.batches import collate
from gcdp.experiments.cost_networks import meta_forward, meta_unet
from gcdp.experiments.datasets import open_captions, open_pairs, prepare_captions, prepare_pairs, prepare_text
from gcdp.experiments.profile import load_profile
from gcdp.experiments.runs import model_card, prepare_run
from gcdp.toy.worlds import WORLDS

ROOT = Path(__file__).resolve().parents[2]
# kind -> domain of the base network, its drawn world, the size of its pairs and that of what super-resolution learns
# from, both smaller, and the number of classes
KINDS = {
    "cityscapes": ("streets", "toy_streets", (128, 256), (128, 128), 20),
    "celeba": ("faces", "toy_faces", (128, 128), (128, 128), 19),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository with the profiles, and four drawn pairs where the files of each dataset belong."""
    root = tmp_path_factory.mktemp("paper")
    shutil.copytree(ROOT / "params", root / "params")
    shutil.copy(ROOT / "dvc.yaml", root)
    for kind, (domain, world, *_) in KINDS.items():
        WORLDS[world].generate(root / f"data/{kind}/{domain}/raw", {"train": 2, "val": 1, "test": 1}, seed=0)
    return root


@pytest.mark.parametrize("name", ["cityscapes", "cityscapes-best", "celeba", "celeba-best"])
def test_both_stages_of_the_paper_take_the_files_of_its_data(place, monkeypatch, stub_encoder, name):
    monkeypatch.chdir(place)
    base, _, size, low, classes = KINDS[name.removesuffix("-best")]
    domains = base, f"{base}_large"
    small, large = (load_profile(name, domain) for domain in domains)
    for profile, domain in zip((small, large), domains):
        prepare_pairs(profile, domain)
        prepare_captions(profile, domain)
        prepare_text(profile, domain)
    assert open_pairs(small, base, "train").size == size
    assert open_pairs(large, domains[1], "train").size == tuple(2 * side for side in size)
    assert len(open_pairs(small, base, "test")) == 1  # of Cityscapes val plays test
    runs = {"joint": prepare_run(small, base, "joint"), "enlarger": prepare_run(large, domains[1], "enlarger")}
    for model, run in runs.items():
        batch = collate([run.pairs[(0, 0)], run.pairs[(1, 0)]], run.pairs.text)
        unet, seen = meta_unet(run.card.unet), tuple(batch["x"].shape[-2:])
        assert unet.num_parameters() > 660e6
        assert meta_forward(unet, len(batch["x"]), seen).layout.shape == (2, classes, *seen), model
    assert runs["joint"].config.optimizer == ("muon" if name.endswith("best") else "adamw")
    assert runs["enlarger"].pairs[(0, 0)]["low_x"].shape == (3, *low)
    assert model_card(small, base, "gaussian").unet.num_classes == 0


def test_faces_bring_their_attributes_and_every_caption(place, monkeypatch):
    monkeypatch.chdir(place)
    profile = load_profile("celeba", "faces")
    prepare_pairs(profile, "faces")
    prepare_captions(profile, "faces")
    store, source = open_pairs(profile, "faces", "train"), place / "data/celeba/faces/raw/celeba-caption"
    assert store.attributes.shape == (2, store.attribute_table.num_attributes) and store.attribute_table.nameable
    written = [path.read_text().splitlines() for path in sorted(source.glob("*.txt"))]
    assert open_captions(profile, "faces", "train") == written[:2]  # captions_per_pair: 0
