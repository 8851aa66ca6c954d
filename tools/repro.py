"""Run the pipeline on all processor cores: what `make` calls.

Usage: python tools/repro.py

First each domain of the selected profile has a `dvc repro` of its own, up to its trained models; domains of
super-resolution come after those that they enlarge. Then stages that do not need each other run side by side:
evaluations and samples, the longest; claims and figures; figures that show a study. A last `dvc repro` runs the rest.
Plain `dvc repro` runs the same stages one after the other.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import yaml

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


def singles(stages: list[str]) -> dict[str, list[str]]:
    """One job a stage, and that stage alone: `dvc repro` also locks the finished stages that it looks at."""
    return {stage: ["--single-item", stage] for stage in stages}


def figures(chosen: dict, of_study: bool) -> list[str]:
    """Stages after the evaluation, with or without those that show a study; the report comes last, by itself."""
    stages = yaml.safe_load((repository_root() / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    found = []
    for name, stage in stages.items():
        deps = stage.get("do", stage)["deps"]
        if name.startswith(("fig", "table", "supp")) and of_study == any("/study/" in dep for dep in deps):
            domains = stage.get("foreach") or stage.get("matrix", {}).get("domain")
            found += [f"{name}@{domain}" for domain in chosen[domains.strip("${}")]] if domains else [name]
    return found


def main() -> int:
    """Run everything; returns the first exit status that is not 0."""
    chosen = selected()
    up_to_models = {
        domain: [
            f"text@{domain}",
            f"evaluators@{domain}",
            *(f"train@{key}" for key, entry in chosen["models"].items() if entry["domain"] == domain),
        ]
        for domain in chosen["domains"]
    }
    own_size = {domain: stages for domain, stages in up_to_models.items() if domain in chosen["tables"]}
    larger = {domain: stages for domain, stages in up_to_models.items() if domain not in own_size}
    drawn = [f"evaluate@{key}" for key in chosen["evaluations"]] + [f"sample@{key}" for key in chosen["samples"]]
    claims = [f"claim@{domain}" for domain in chosen["studies"]]
    rounds = (drawn, claims + figures(chosen, of_study=False), figures(chosen, of_study=True))
    for jobs in (own_size, larger, *map(singles, rounds)):
        if jobs and (failed := side_by_side(jobs, min(WORKERS, len(jobs)))):
            return failed
    return run("rest", [], CORES)


if __name__ == "__main__":
    sys.exit(main())
