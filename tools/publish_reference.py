"""Make the last `toy` run the reference run: copy its figures, metrics, tables and notebooks to results/reference.

Usage: python tools/publish_reference.py           everything
       python tools/publish_reference.py prose     only the prose of notebooks whose code is still that of the copies
"""

import json
import re
import shutil
import sys
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


def refresh_prose(copies: Path, sources: Path) -> list[str]:
    """Give published notebooks the Markdown cells of their sources, where all code is the same; returns their names."""
    changed = []
    for path in sorted(copies.glob("*.ipynb")):
        source = sources / f"{path.stem.partition('-')[0]}.ipynb"
        copy, now = (json.loads(each.read_text(encoding="utf-8")) for each in (path, source))
        shown = [cell for cell in copy["cells"] if "injected-parameters" not in cell["metadata"].get("tags", ())]
        if [_code(cell) for cell in shown] != [_code(cell) for cell in now["cells"]]:
            continue
        for cell, own in zip(shown, now["cells"], strict=True):
            if cell["cell_type"] == "markdown":
                cell["source"] = own["source"]
        before = path.read_text(encoding="utf-8")
        path.write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        path.write_text(relinked(path), encoding="utf-8")
        if path.read_text(encoding="utf-8") != before:
            changed.append(path.stem)
    return changed


def _code(cell: dict) -> str | None:
    """Source of a code cell; None for prose."""
    return "".join(cell["source"]) if cell["cell_type"] == "code" else None


if __name__ == "__main__":
    if sys.argv[1:] == ["prose"]:
        root = repository_root()
        print("\n".join(refresh_prose(root / "results" / "reference" / "notebooks", root / "notebooks")))
    else:
        publish(repository_root() / "results")
