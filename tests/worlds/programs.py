"""Programs of this environment, run in another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copy_sources(folder: Path, names: Iterable[str]) -> None:
    """Copy files and folders of this repository to `folder`, but for caches and what is of this machine alone."""
    unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "tmp", "cache", "config.local")
    for name in names:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=unwanted)
        else:
            shutil.copyfile(source, target)


def run(folder: Path, *command: str) -> str:
    """Run a Python module in `folder`, with the sources there in front; returns its output. One core: others test."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr
