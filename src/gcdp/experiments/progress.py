"""How far a list of tasks is: states, how long tasks took, how long the others may take, and a table of it all."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from gcdp.errors import GCDPError
from gcdp.experiments.profile import Profile
from gcdp.experiments.tasks import Task, training
from gcdp.storage import atomic_write
from gcdp.training.curve import read_curve

SHOW_EVERY = 15  # seconds between two tables


class Speed(NamedTuple):
    """Where a training stands: steps done as of its last checkpoint, of how many, and its pairs a second."""

    steps: int
    of: int
    pairs: float


class Progress:
    """States of tasks: waiting, running, done, failed, stopped, or elsewhere (another program does it).

    `folder` gets progress.txt, the table, and times.jsonl, a line for each task that ended: of tasks of one kin on this
    machine it is known how long they take.
    """

    def __init__(self, folder: Path):
        self.path, self.times = folder / "progress.txt", folder / "times.jsonl"
        self.states: dict[Task, str] = {}
        self.reasons: dict[Task, str] = {}
        self.since: dict[Task, float] = {}
        self.places: dict[Task, tuple[tuple[Path, Path], int]] = {}
        self.begun = time.monotonic()
        self.shown = 0.0
        self.records = self._read()

    def add(self, tasks: list[Task]) -> None:
        """Tasks to come."""
        self.states |= dict.fromkeys(tasks, "waiting")

    def state(self, task: Task) -> str:
        """Where a task stands."""
        return self.states.get(task, "waiting")

    def note(self, task: Task, state: str, reason: str = "") -> None:
        """A state that took no time."""
        if reason:
            self.reasons[task] = reason
            print(f"{task.name}: {state}: {reason}", flush=True)
        self.states[task] = state

    def started(self, task: Task) -> None:
        """A task begins now."""
        self.states[task], self.since[task] = "running", time.monotonic()

    def finished(self, task: Task, state: str, reason: str = "") -> None:
        """A task that began has ended."""
        seconds = time.monotonic() - self.since.pop(task)
        self.note(task, state, reason)
        if not reason:
            print(f"{task.name}: {state} after {seconds / 60:.1f} minutes", flush=True)
        record = {"task": task.name, "kin": list(task.kin), "state": state, "seconds": round(seconds, 1)}
        self.records.append({**record, "machine": socket.gethostname()})
        self.times.parent.mkdir(parents=True, exist_ok=True)
        with open(self.times, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.records[-1]) + "\n")

    def seconds(self, task: Task) -> float:
        """How long a task took until now, all of its parts together."""
        past = sum(each["seconds"] for each in self.records if each["task"] == task.name)
        return past + (time.monotonic() - self.since[task] if task in self.since else 0.0)

    def expected(self, profile: Profile, task: Task) -> float | None:
        """Seconds that a task may still take, by those of its kin, else of its kind, on this machine; None: unknown."""
        here = [r for r in self.records if r["machine"] == socket.gethostname() and r["state"] == "done"]
        known = [(each["seconds"], each["kin"]) for each in here]
        for count in range(len(task.kin), 0, -1):  # kind, then domain, then model
            found = [seconds for seconds, kin in known if kin[:count] == list(task.kin[:count])]
            if found:
                so_far = time.monotonic() - self.since[task] if task in self.since else 0.0
                return max(0.0, max(found[-5:]) - so_far)
        return None

    def show(self, profiles: dict[str, Profile], workers: int, now: bool = False) -> None:
        """Write the table, every now and then."""
        if not now and time.monotonic() - self.shown < SHOW_EVERY:
            return
        self.shown = time.monotonic()
        text = self.table(profiles, workers)
        with atomic_write(self.path) as partial:
            partial.write_text(text, encoding="utf-8")
        if now:
            print(text, flush=True)

    def table(self, profiles: dict[str, Profile], workers: int) -> str:
        """One line a task, and a line for all."""
        rows = [f"{'task':48} {'state':10} {'steps':>13} {'minutes':>8} {'pairs/s':>8}"]
        open_seconds, unknown = 0.0, 0
        for task, state in self.states.items():
            speed = self._speed(profiles[task.domain], task) if state in ("running", "stopped", "done") else None
            steps = f"{speed.steps}/{speed.of}" if speed else ""
            pairs = f"{speed.pairs:.0f}" if speed else ""
            minutes = f"{self.seconds(task) / 60:.1f}" if self.seconds(task) else ""
            rows.append(f"{task.name:48} {state:10} {steps:>13} {minutes:>8} {pairs:>8}  {self.reasons.get(task, '')}")
            if state in ("waiting", "running", "stopped"):
                left = self.expected(profiles[task.domain], task)
                open_seconds, unknown = open_seconds + (left or 0.0), unknown + (left is None)
        counts = {state: list(self.states.values()).count(state) for state in sorted(set(self.states.values()))}
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        minutes = open_seconds / 60
        left = f"about {minutes:.0f} process minutes left, {minutes / workers:.0f} by {workers} workers"
        more = f", and {unknown} tasks of unknown length" if unknown else ""
        rows.append(f"{states}; {(time.monotonic() - self.begun) / 60:.1f} minutes so far; {left}{more}")
        return "\n".join(row.rstrip() for row in rows) + "\n"

    def _speed(self, profile: Profile, task: Task) -> Speed | None:
        if task.kind != "train":
            return None
        try:
            if task not in self.places:
                run = training(profile, task)
                self.places[task] = (run.state_folder, run.model_folder), run.config.steps
            folders, steps = self.places[task]
            path = next(path for folder in folders if (path := folder / "curve.csv").is_file())
            rows = [row for row in read_curve(path) if row.get("pairs_per_second")]
        except (GCDPError, OSError, StopIteration):
            return None
        return Speed(rows[-1]["step"], steps, rows[-1]["pairs_per_second"]) if rows else None

    def _read(self) -> list[dict[str, Any]]:
        if not self.times.is_file():
            return []
        lines = self.times.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]
