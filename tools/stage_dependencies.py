"""Write the source files that each stage of dvc.yaml depends on, from the imports of its notebook.

Usage: python tools/stage_dependencies.py

The lines `- src/gcdp/...` of a stage are replaced; everything else of the file stays as it is. Most rooms stand as one
folder. Rooms that every notebook uses a part of are named file by file, so that an edit of a figure trains nothing.
"""

import re
from pathlib import Path

from gcdp import provenance

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("diffusion", "network", "text", "data", "toy", "training", "generators", "evaluation")
LINE = re.compile(r"^( *)- src/gcdp/.*\n", re.MULTILINE)
STAGE = re.compile(r"^  (\w+):\n(?:(?!^  \w).*\n)+", re.MULTILINE)
NOTEBOOK = re.compile(r"^ *- (notebooks/\w+\.ipynb)\n", re.MULTILINE)


def dependencies(notebook: Path) -> list[str]:
    """Folders and files below src/ whose change may change what a notebook computes, sorted."""
    paths = set()
    for module in provenance.closure(provenance.notebook_imports(notebook)):
        parts = module.split(".")
        if module == provenance.PACKAGE:
            continue
        if parts[1] in FOLDERS:
            paths.add(f"src/gcdp/{parts[1]}")
        elif (path := provenance.module_path(module)).stem != "__init__":
            found = [path, *path.parent.glob(f"{path.stem}.*.jinja")]  # and the template beside it
            paths |= {each.relative_to(ROOT).as_posix() for each in found}
    return sorted(paths)


def rewrite(text: str) -> str:
    """The text of dvc.yaml with the source lines of every stage made anew."""

    def stage(match: re.Match) -> str:
        block = match[0]
        notebook = NOTEBOOK.search(block)
        if notebook is None:
            return block
        indent = re.match(r" *", notebook[0])[0]
        block = LINE.sub("", block)
        lines = "".join(f"{indent}- {path}\n" for path in dependencies(ROOT / notebook[1]))
        end = block.index(notebook[0]) + len(notebook[0])
        return block[:end] + lines + block[end:]

    return STAGE.sub(stage, text)


if __name__ == "__main__":
    path = ROOT / "dvc.yaml"
    path.write_text(rewrite(path.read_text(encoding="utf-8")), encoding="utf-8")
