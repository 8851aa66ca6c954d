"""Make the last `toy` run the reference run: copy its figures, metrics, tables and notebooks to results/reference.

Usage: python tools/publish_reference.py           everything
       python tools/publish_reference.py prose     only the prose of notebooks whose code is still that of the copies
"""

import base64
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from gcdp.experiments.profile import repository_root

PARTS = ("figures", "metrics", "tables", "notebooks")
EMBEDDED = re.compile(r'("image/png": ")([A-Za-z0-9+/=]+)(?:\\n)?(")')
INLINE = re.compile(r'("data:image/png;base64,)([A-Za-z0-9+/=]+)(")')
PDF = re.compile(r" \(\[PDF\]\([^)]*\)\)")  # a link to it
LINK = re.compile(r"\]\((\w+)\.(ipynb|md)\)")


def relinked(path: Path) -> str:
    """The text of an executed notebook whose links lead to executed ones, of its own domain where there are such.

    A notebook that was not executed is linked where it is written.
    """
    suffix = path.stem.partition("-")[2]  # domain, or domain-model
    endings = dict.fromkeys((f"-{suffix}", f"-{suffix.partition('-')[0]}", f"-{suffix.partition('-')[0]}-joint", ""))

    def target(link: re.Match[str]) -> str:
        name, ending = link.groups()
        if ending == "md":  # the guide, which lies beside the sources alone
            return f"](../../../notebooks/{name}.md)"
        own = [copy for each in endings if (copy := path.with_name(f"{name}{each}.ipynb")).is_file()]
        found = [*own, *sorted(path.parent.glob(f"{name}-*.ipynb"))]
        return f"]({found[0].name if found else f'../../../notebooks/{name}.ipynb'})"

    return LINK.sub(target, path.read_text(encoding="utf-8"))


def publish(results: Path) -> None:
    """Copy <results>/toy to <results>/reference: pictures in palettes and no PDF, since git keeps every version."""
    for part in PARTS:
        shutil.rmtree(results / "reference" / part, ignore_errors=True)
        shutil.copytree(results / "toy" / part, results / "reference" / part, ignore=shutil.ignore_patterns("*.pdf"))
    for path in sorted((results / "reference" / "figures").glob("*.png")):
        path.write_bytes(in_palette(path.read_bytes()))
    for path in sorted((results / "reference" / "notebooks").glob("*.ipynb")):
        path.write_text(EMBEDDED.sub(_smaller, PDF.sub("", relinked(path))), encoding="utf-8")
    for path in sorted((results / "reference" / "tables").glob("*.md")):
        path.write_text(PDF.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")
    page = (results / "toy" / "report.html").read_text(encoding="utf-8")
    (results / "reference" / "report.html").write_text(INLINE.sub(_smaller, page), encoding="utf-8")


def in_palette(png: bytes) -> bytes:
    """A picture with at most 256 colors, a third of the size; as it was where that is not smaller."""
    target = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, kmeans=4, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return min(target.getvalue(), png, key=len)


def _smaller(found: re.Match[str]) -> str:
    return f"{found[1]}{base64.b64encode(in_palette(base64.b64decode(found[2]))).decode()}{found[3]}"


def refresh_prose(copies: Path, sources: Path) -> list[str]:
    """Give published notebooks the Markdown cells of their sources, where all code is the same; returns their names."""
    changed = []
    for path in sorted(copies.glob("*.ipynb")):
        before, source = path.read_text(encoding="utf-8"), sources / f"{path.stem.partition('-')[0]}.ipynb"
        copy, now = json.loads(before), json.loads(source.read_text(encoding="utf-8"))
        if _code(copy) != _code(now):
            continue
        copy["cells"] = list(_woven(copy["cells"], now["cells"]))
        path.write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        path.write_text(relinked(path), encoding="utf-8")
        if path.read_text(encoding="utf-8") != before:
            changed.append(path.stem)
    return changed


def _woven(executed: list[dict], source: list[dict]) -> Iterator[dict]:
    """The prose of the source around the executed code, injected parameters after those that they stand for."""
    code = iter([cell for cell in executed if cell["cell_type"] == "code" and not _injected(cell)])
    injected = [cell for cell in executed if _injected(cell)]
    for cell in source:
        yield next(code) if cell["cell_type"] == "code" else cell
        if "parameters" in cell["metadata"].get("tags", ()):
            yield from injected


def _injected(cell: dict) -> bool:
    return "injected-parameters" in cell["metadata"].get("tags", ())


def _code(notebook: dict) -> list[str]:
    """Sources of the code cells that somebody wrote."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and not _injected(cell)]
    return ["".join(cell["source"]) for cell in cells]


if __name__ == "__main__":
    if sys.argv[1:] == ["prose"]:
        root = repository_root()
        print("\n".join(refresh_prose(root / "results" / "reference" / "notebooks", root / "notebooks")))
    else:
        publish(repository_root() / "results")
