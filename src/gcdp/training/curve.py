"""The curve of losses over a run, as curve.csv."""

from __future__ import annotations

import csv
import math
import shutil
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from gcdp.errors import CheckpointError, TrainingError
from gcdp.storage import atomic_write

COLUMNS = ("step", "image", "layout", "learning_rate", "pairs_per_second", "val_image", "val_layout")


def not_finite(what: str, step: int, last_saved: int, folder: Path) -> TrainingError:
    """The error of a diverged run, which never overwrites its last good checkpoint."""
    remedy = "lower train.learning_rate, set train.clip or use train.precision 'no'"
    if last_saved:
        remedy += f", and delete {folder} to start over (its checkpoint of step {last_saved} is still good)"
    return TrainingError(f"training diverged, {what} is no longer finite at step {step}: {remedy}")


class Curve:
    """Losses over a run, in curve.csv: means since the previous row, and validation losses where measured.

    Of several processes each collects the losses of its own share, and their mean is written. A resumed run
    passes `first_step` and the `pending` sums of its checkpoint, and so writes the rows of an
    uninterrupted one.
    """

    def __init__(self, path: Path, first_step: int = 0, pending: dict | None = None):
        self.path = path
        self.rows = [row for row in _read(path) if row["step"] <= first_step] if path.is_file() else []
        self._reset()
        if pending:
            self.sums, self.count = pending["sums"], pending["count"]

    def _reset(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.count, self.pairs, self.since = 0, 0, time.monotonic()

    def add(self, losses: dict[str, Tensor], pairs: int) -> None:
        """Collect the losses of one step; nothing is copied from the device yet."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        self.count, self.pairs = self.count + 1, self.pairs + pairs

    def average(self, accelerator: Accelerator) -> None:
        """Make the sums of all processes their mean; before a row is made of them, or they are saved."""
        if accelerator.num_processes > 1 and self.sums:
            own = [torch.as_tensor(total, dtype=torch.float32).to(accelerator.device) for total in self.sums.values()]
            means = accelerator.reduce(torch.stack(own), "mean")
            self.sums = dict(zip(self.sums, means.unbind(), strict=True))

    def log(self, step: int, rate: float, last_saved: int, bar=None) -> None:
        """Append a row of means. Raises TrainingError if a loss is not finite."""
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        speed = self.pairs / max(1e-9, time.monotonic() - self.since)
        self.check_finite(step, last_saved)
        self.rows.append({"step": step, "learning_rate": rate, "pairs_per_second": round(speed, 1), **means})
        if bar is not None:
            bar.set_postfix({**{k: f"{v:.4f}" for k, v in means.items()}, "pairs/s": f"{speed:.0f}"}, refresh=False)
        self._reset()

    def validated(self, step: int, losses: dict[str, float]) -> None:
        """Add validation losses to the row of this step."""
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        self.rows[-1].update({f"val_{name}": value for name, value in losses.items()})

    def pending(self) -> dict:
        """Sums since the last row, as JSON types."""
        return {"sums": {name: float(total) for name, total in self.sums.items()}, "count": self.count}

    def check_finite(self, step: int, last_saved: int) -> None:
        """Raise TrainingError if a loss since the last row is not finite, before a checkpoint is overwritten."""
        bad = [name for name, total in self.sums.items() if not math.isfinite(float(total))]
        if bad:
            raise not_finite(f"the {bad[0]} loss", step, last_saved, self.path.parent)

    def flush(self) -> None:
        """Write curve.csv."""
        with atomic_write(self.path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def copy_to(self, path: Path) -> None:
        """Write the curve a second time, beside the final model."""
        self.flush()
        shutil.copyfile(self.path, path)


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a curve.csv; absent values are left out. Raises CheckpointError for a damaged file.

    So is a loss that is 0 throughout: it is that of a half which training was given clean, and which learned nothing.
    """
    rows = _read(path)
    losses = {name for row in rows for name in row if name.removeprefix("val_") in ("image", "layout")}
    untrained = {name for name in losses if not any(row.get(name) for row in rows)}
    return [{name: value for name, value in row.items() if name not in untrained} for row in rows]


def _read(path: Path) -> list[dict[str, float]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        return [{**row, "step": int(row["step"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is missing or damaged: delete it and train again") from error
