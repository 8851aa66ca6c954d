"""Fixtures shared by the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# One thread: tiny tensors gain nothing from more, and results do not depend on the machine's core count.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real image-layout datasets (GCDP_REAL_DATA); tests that need it are skipped without it."""
    beside_repository = Path(__file__).resolve().parents[2] / "shared" / "real"
    folder = Path(os.environ.get("GCDP_REAL_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip("no real data: set GCDP_REAL_DATA to a folder with camvid/ and faces/")
    return folder
