"""Fixtures shared by the tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from worlds import places, tiny, tiny_attributes

# One thread: tiny tensors gain nothing from more, and results do not depend on the machine's core count.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items) -> None:
    """The pipeline first: it takes longest, and the other process tests everything else beside it."""
    items.sort(key=lambda item: "pipeline" not in item.path.parent.parts)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real image-layout datasets (GCDP_REAL_DATA); tests that need it are skipped without it."""
    beside_repository = Path(__file__).resolve().parents[2] / "shared" / "real"
    folder = Path(os.environ.get("GCDP_REAL_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip("no real data: set GCDP_REAL_DATA to a folder with camvid/ and faces/")
    return folder


def stub_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the language model by fixed random vectors, wherever text is encoded."""
    for module in ("experiments.datasets", "generators.loading", "generators.latent"):
        monkeypatch.setattr(f"gcdp.{module}.load_encoder", lambda *args, **settings: tiny.StubEncoder())
    monkeypatch.setattr(
        "gcdp.experiments.referees.load_encoder", lambda *args, **settings: tiny_attributes.PoolingStub()
    )


@pytest.fixture
def stub_encoder(monkeypatch):
    stub_text(monkeypatch)


def prepare(root: Path, **changes) -> Path:
    """`root` with the data of `places.prepare`."""
    with pytest.MonkeyPatch.context() as patch:
        stub_text(patch)
        places.prepare(root, **changes)
    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A repository whose pairs, captions and text are there."""
    return prepare(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def prepared_faces(tmp_path_factory) -> Path:
    """The same of faces with attributes."""
    return prepare(tmp_path_factory.mktemp("faces"), **places.FACES)


@pytest.fixture
def repository(prepared, stub_encoder, tmp_path, monkeypatch) -> Path:
    """A copy of the prepared repository, as working folder."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def faces(prepared_faces, stub_encoder, tmp_path, monkeypatch) -> Path:
    """A copy of the prepared repository of faces, as working folder."""
    shutil.copytree(prepared_faces, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def empty(stub_encoder, tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def cpu_alone() -> Iterator[None]:
    """Accelerate stays on the CPU, where sums have one order, so that runs compare to the bit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        AcceleratorState._reset_state(reset_partial_state=True)
        yield
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def on_the_cpu():
    with cpu_alone():
        yield
