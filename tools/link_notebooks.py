"""Write the last cell of every notebook: links to the next one, the one before, and all of them.

Usage: python tools/link_notebooks.py

The order is that of the table in notebooks/README.md.
"""

import re
from pathlib import Path

import nbformat

from gcdp.experiments.profile import repository_root

ROW = re.compile(r"^\|[^|]*\| \[[^]]*\]\(\.\./results/reference/notebooks/(\w+?)(?:-[\w-]+)?\.ipynb\)", re.MULTILINE)
CELL = "where-next"


def reading_order(readme: str) -> list[str]:
    """Names of the notebooks in the table of notebooks/README.md."""
    return ROW.findall(readme)


def title(notebook: nbformat.NotebookNode) -> str:
    """The heading of a notebook."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def linked(folder: Path) -> dict[Path, str]:
    """{notebook: its text with the last cell as it should be} of a folder. Raises KeyError for one without a row."""
    names = reading_order((folder / "README.md").read_text(encoding="utf-8"))
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))}
    if missing := sorted(set(notebooks) - set(names)):
        raise KeyError(f"notebooks/README.md has no row for {', '.join(missing)}: add it where it is to be read")
    found = {}
    for place, name in enumerate(names):
        parts = []
        if place + 1 < len(names):
            parts += [f"**Next:** [{title(notebooks[names[place + 1]])}]({names[place + 1]}.ipynb)"]
        if place:
            parts += [f"Before: [{title(notebooks[names[place - 1]])}]({names[place - 1]}.ipynb)"]
        cells = [cell for cell in notebooks[name].cells if cell.get("id") != CELL]
        text = " · ".join([*parts, "[All notebooks](README.md)"])
        notebook = notebooks[name] | {"cells": [*cells, nbformat.v4.new_markdown_cell(text, id=CELL)]}
        found[folder / f"{name}.ipynb"] = nbformat.writes(nbformat.from_dict(notebook)).rstrip("\n") + "\n"
    return found


if __name__ == "__main__":
    for path, text in linked(repository_root() / "notebooks").items():
        path.write_text(text, encoding="utf-8")
