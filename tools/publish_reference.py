"""Make the last `toy` run the reference run: copy its figures, metrics, tables and notebooks to results/reference."""

import shutil

from gcdp.experiments.profile import repository_root

PARTS = ("figures", "metrics", "tables", "notebooks")

if __name__ == "__main__":
    results = repository_root() / "results"
    for part in PARTS:
        shutil.rmtree(results / "reference" / part, ignore_errors=True)
        shutil.copytree(results / "toy" / part, results / "reference" / part)
