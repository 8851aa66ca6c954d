"""Train and score everything that a profile lacks, on all cores or on one GPU: `make train-all PROFILE=toy-scratch`.

    python -m gcdp.experiments.train_all --profile toy-scratch [--domains streets faces] [--workers 16]
                                         [--deadline-minutes 14]

Tasks are done in order of importance, each in a process of its own at the lowest priority. Stop it at any time (Ctrl-C
or SIGTERM): trainings save their state, and the same command goes on. A task that fails leaves the others alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from gcdp.errors import ConfigError, GCDPError
from gcdp.experiments.locks import claimed, is_held
from gcdp.experiments.profile import Profile, load_profile
from gcdp.experiments.progress import Progress
from gcdp.experiments.tasks import Task, data_tasks, do, is_done, needs, plan

# Set before anything computes: one thread a process, and a look for GPUs that leaves child processes free to use them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "TOKENIZERS_PARALLELISM": "false"}
DONE, FAILED, ELSEWHERE = 0, 1, 3  # exit statuses of a task's process
GRACE = 120  # seconds from a request to stop to the end of a process


class Runner:
    """Does tasks, so many at a time, until all are done, one cannot be done, or the deadline is there."""

    def __init__(self, profiles: dict[str, Profile], folder: Path, workers: int, deadline: float | None = None):
        """`folder` keeps locks, logs and the progress table; `deadline` is a time of `time.monotonic`."""
        self.profiles, self.folder, self.workers, self.deadline = profiles, folder, workers, deadline
        self.progress = Progress(folder)
        self.running: dict[Task, multiprocessing.Process] = {}
        self.stopped = False

    def run(self, tasks: list[Task]) -> bool:
        """Do the tasks, the first ones first; returns whether all are done."""
        self.progress.add(tasks)
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while True:
                self._reap()
                if self.deadline is not None and time.monotonic() >= self.deadline:
                    self._stop()
                if not self.stopped:
                    self._launch(tasks)
                if not self.running and not self._waits_for_others(tasks):
                    break
                self.progress.show(self.profiles, self.workers)
                time.sleep(0.1)
        except BaseException:
            self._stop()
            raise
        finally:
            self._join()
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.progress.show(self.profiles, self.workers, now=True)
        return all(self.progress.state(task) == "done" for task in tasks)

    def _stop(self, *_) -> None:
        """Start nothing more, and have trainings save their state."""
        self.stopped = True
        for process in self.running.values():
            if process.is_alive():
                process.terminate()

    def _launch(self, tasks: list[Task]) -> None:
        for task in tasks:
            if len(self.running) >= self.workers:
                return
            if self.progress.state(task) in ("waiting", "elsewhere") and self._is_ready(task):
                self._start(task)

    def _is_ready(self, task: Task) -> bool:
        """Whether a task may start now; one that turns out to be done, or impossible, is noted as such."""
        profile = self.profiles[task.domain]
        if any(self.progress.state(other) != "done" for other in needs(profile, task)):
            return False
        if is_held(self._lock(task)):
            self.progress.note(task, "elsewhere")
            return False
        try:
            if is_done(profile, task):
                self.progress.note(task, "done")
                return False
        except GCDPError as error:
            self.progress.note(task, "failed", str(error))
            return False
        seconds = self.progress.expected(profile, task)
        late = self.deadline is not None and seconds is not None and time.monotonic() + seconds > self.deadline
        return not late

    def _start(self, task: Task) -> None:
        arguments = self.profiles[task.domain], task, self._lock(task), self.folder / "log" / f"{task.name}.txt"
        process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
        process.start()
        self.running[task] = process
        self.progress.started(task)

    def _reap(self) -> None:
        for task, process in list(self.running.items()):
            if process.is_alive():
                continue
            del self.running[task]
            if process.exitcode == DONE:
                self.progress.finished(task, "done")
            elif process.exitcode == ELSEWHERE:
                self.progress.note(task, "elsewhere")
            elif self.stopped:
                self.progress.finished(task, "stopped")
            else:
                self.progress.finished(task, "failed", self._last_line(task) or f"exit status {process.exitcode}")

    def _join(self) -> None:
        end = time.monotonic() + GRACE
        for process in self.running.values():
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._reap()

    def _waits_for_others(self, tasks: list[Task]) -> bool:
        """Whether a task that another program does is still under way, and may set others free."""
        return not self.stopped and any(self.progress.state(task) == "elsewhere" for task in tasks)

    def _lock(self, task: Task) -> Path:
        return self.folder / "locks" / task.name

    def _last_line(self, task: Task) -> str:
        log = self.folder / "log" / f"{task.name}.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
        return lines[-1] if lines else ""


def work(profile: Profile, task: Task, lock: Path, log: Path) -> None:
    """What the process of a task does; its exit status says how it ended, the last line of its log why it failed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        try:
            with claimed(lock) as held:
                if not held:
                    status = ELSEWHERE
                else:
                    _compute(profile, task)
                    status = DONE
        except GCDPError as error:
            print(f"error: {error}")
            status = FAILED
        except BaseException:
            traceback.print_exc(file=file)
            status = FAILED
        file.flush()
    os._exit(status)


def _compute(profile: Profile, task: Task) -> None:
    import torch

    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        os.nice(19)
    if not is_done(profile, task):  # another program may have done it since
        do(profile, task)


def _load_libraries() -> None:
    """Load what every task uses, once, before processes are forked."""
    import transformers.models.auto
    import transformers.models.bert.modeling_bert  # noqa: F401


def train_all(name: str, domains: list[str] | None = None, workers: int = 0, minutes: float = 0) -> bool:
    """Train and score what profile `name` lacks; returns whether nothing is missing any more.

    Args:
        domains: only these; by default all of the profile.
        workers: tasks at a time; 0 takes one a core.
        minutes: time for all; near its end no task is started that would not be done in time, and at its end trainings
            save their state. 0 sets no limit.

    Raises ConfigError for unknown names, or a profile that uses released weights.
    """
    start, profile = time.monotonic(), load_profile(name)
    if profile.released:
        raise ConfigError(f"profile '{name}' uses released weights: train profile '{profile.released}-scratch'")
    profiles = {domain: load_profile(name, domain) for domain in domains or profile.domains}
    _load_libraries()
    deadline = start + 60 * minutes if minutes else None
    runner = Runner(profiles, profile.results_folder("study"), workers or os.cpu_count() or 1, deadline)
    complete = runner.run(data_tasks(profiles)) and runner.run(plan(profiles))
    print(f"progress: {runner.progress.path}")
    return complete


def main() -> None:
    """Command line: exit status 0 where nothing is missing any more, else 1."""
    if any(name not in os.environ for name in ENVIRONMENT):  # libraries read them when they are loaded
        command = [sys.executable, "-m", "gcdp.experiments.train_all", *sys.argv[1:]]
        os.execve(sys.executable, command, {**ENVIRONMENT, **os.environ})
    parser = argparse.ArgumentParser(description="Train and score everything that a profile lacks.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--domains", nargs="+")
    parser.add_argument("--workers", type=int, default=0, help="tasks at a time; by default one a core")
    parser.add_argument("--deadline-minutes", type=float, default=0)
    given = parser.parse_args()
    try:
        sys.exit(not train_all(given.profile, given.domains, given.workers, given.deadline_minutes))
    except GCDPError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
