"""Make the last `toy` run the reference run: copy its figures, metrics, tables and notebooks to results/reference."""

import re
import shutil
from pathlib import Path

from gcdp.experiments.profile import repository_root

PARTS = ("figures", "metrics", "tables", "notebooks")
LINK = re.compile(r"\]\((\w+)\.ipynb\)")


def relinked(path: Path) -> str:
    """The text of an executed notebook whose links lead to executed ones, of its own domain where there are such.

    A notebook that was not executed is linked where it is written.
    """
    suffix = path.stem.partition("-")[2]  # domain, or domain-model
    endings = dict.fromkeys((f"-{suffix}", f"-{suffix.partition('-')[0]}", f"-{suffix.partition('-')[0]}-joint", ""))

    def target(link: re.Match[str]) -> str:
        name = link[1]
        own = [copy for ending in endings if (copy := path.with_name(f"{name}{ending}.ipynb")).is_file()]
        found = [*own, *sorted(path.parent.glob(f"{name}-*.ipynb"))]
        return f"]({found[0].name if found else f'../../../notebooks/{name}.ipynb'})"

    return LINK.sub(target, path.read_text(encoding="utf-8"))


def publish(results: Path) -> None:
    """Copy <results>/toy to <results>/reference."""
    for part in PARTS:
        shutil.rmtree(results / "reference" / part, ignore_errors=True)
        shutil.copytree(results / "toy" / part, results / "reference" / part)
    for path in sorted((results / "reference" / "notebooks").glob("*.ipynb")):
        path.write_text(relinked(path), encoding="utf-8")


if __name__ == "__main__":
    publish(repository_root() / "results")
