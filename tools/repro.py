"""Run the pipeline on all processor cores: what `make` calls.

Usage: python tools/repro.py

First each domain of the selected profile has a `dvc repro` of its own, up to its trained models; then evaluations, the
longest stages, run side by side whatever their domain; a last `dvc repro` runs the rest. Plain `dvc repro` runs the
same stages one after the other.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from gcdp.experiments.params import repository_root
from gcdp.experiments.selection import selected

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock", "repro")
CORES = os.cpu_count() or 1
# A GPU serves one stage after the other: side by side they would compete for its memory.
WORKERS = 1 if torch.cuda.is_available() else CORES


def run(name: str, targets: list[str], threads: int) -> int:
    """`dvc repro` of some stages, each line of its output after `name`; returns its exit status."""
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen([*DVC, *targets], cwd=repository_root(), env=environment, **pipes) as process:
        for line in process.stdout:
            print(f"[{name}] {line}", end="", flush=True)
        return process.wait()


def side_by_side(jobs: dict[str, list[str]], workers: int) -> int:
    """Run the stages of every job, `workers` jobs at a time; returns the first exit status that is not 0."""
    with ThreadPoolExecutor(workers) as pool:
        statuses = pool.map(lambda job: run(*job, max(1, CORES // workers)), jobs.items())
        return next((status for status in statuses if status), 0)


def main() -> int:
    """Run everything; returns the first exit status that is not 0."""
    chosen = selected()
    domains = chosen["domains"]
    up_to_models = {
        domain: [
            f"text@{domain}",
            f"evaluators@{domain}",
            *(f"train@{key}" for key, entry in chosen["models"].items() if entry["domain"] == domain),
        ]
        for domain in domains
    }
    # Single stages: `dvc repro` locks whatever it looks at, also the finished stages before the one that it is to run.
    drawn = {stage: ["--single-item", stage] for stage in (f"evaluate@{key}" for key in chosen["evaluations"])}
    drawn |= {stage: ["--single-item", stage] for stage in (f"sample@{key}" for key in chosen["samples"])}
    failed = side_by_side(up_to_models, min(WORKERS, len(domains))) or side_by_side(drawn, min(WORKERS, len(drawn)))
    return failed or run("rest", [], CORES)


if __name__ == "__main__":
    sys.exit(main())
