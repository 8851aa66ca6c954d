"""Which of our source files a piece of code runs, and a fingerprint of what they say.

A result is kept only as long as the code that made it stays the same. The code behind a result is the closure of its
imports: every module of this package that its entry modules reach, at the top of a file or inside a function.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = "gcdp"
ROOT = Path(__file__).parent
# These modules read and check settings. What they say reaches a result by the settings alone, and whoever keeps a
# result compares those.
SETTINGS = frozenset(f"{PACKAGE}.experiments.{name}" for name in ("params", "profile", "sections", "selection"))


def module_path(module: str) -> Path:
    """Source file of a module or package of ours. Raises KeyError where there is none."""
    path = ROOT.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise KeyError(module)


def imports(source: str) -> set[str]:
    """Modules of ours that `source` imports, also inside functions; without the packages that hold them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in members if _is_module(name)}
            names |= modules
            names |= {node.module} if len(modules) < len(members) else set()
    return {name for name in names if name == PACKAGE or name.startswith(f"{PACKAGE}.")}


def notebook_imports(path: Path) -> set[str]:
    """Modules of ours that the code cells of a notebook import."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return set().union(*(imports("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"))


def closure(modules: Iterable[str], leaves: frozenset[str] = SETTINGS) -> set[str]:
    """Those of `modules` that are ours and all that they reach; those of `leaves` are left out and not followed."""
    reached: set[str] = set()
    waiting = {module for module in modules if module.partition(".")[0] == PACKAGE} - leaves
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= _imports_of(module) - reached - leaves
    return reached


def source_fingerprint(*modules: str) -> str:
    """Fingerprint of the code in `closure(modules)`: comments, docstrings and layout of a file do not count.

    It is the same for every version of Python.
    """
    digest = hashlib.sha256()
    for module in sorted(closure(modules)):
        digest.update(module.encode())
        digest.update(_code(module).encode())
    return digest.hexdigest()[:16]


def _is_module(name: str) -> bool:
    try:
        module_path(name)
    except KeyError:
        return False
    return name.startswith(f"{PACKAGE}.")


# Files do not change while a program runs that has imported them, so each is read once.
@cache
def _imports_of(module: str) -> set[str]:
    return imports(module_path(module).read_text(encoding="utf-8"))


@cache
def _code(module: str) -> str:
    tree = ast.parse(module_path(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)] or [ast.Pass()]
    return _written(tree)


def _written(value) -> str:
    """A syntax tree as text. Empty fields are left out: newer versions of Python have more of them."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    fields = ((name, part) for name, part in ast.iter_fields(value) if part is not None and part != [])
    return f"{type(value).__name__}({','.join(f'{name}={_written(part)}' for name, part in fields)})"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
