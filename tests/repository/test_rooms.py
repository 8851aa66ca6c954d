"""The rooms of the package: imports run down one list, never up and never in a circle."""

from pathlib import Path

import pytest

from gcdp import provenance

ROOT = Path(provenance.__file__).parent
BASE = ("errors", "validation", "storage", "devices", "processes", "provenance", "weights")
# A room may import those before it; two of them even less: the method stands alone, and measures know no training.
ROOMS = (
    "diffusion", "network", "text", "data", "toy", "training", "generators", "evaluation", "experiments", "reporting",
)  # fmt: skip
ALLOWED = {
    "base": {"base"},
    "diffusion": {"diffusion"},
    "network": {"network"},
    "text": {"text", "base"},
    "data": {"data", "base"},
    "toy": {"toy", "data", "base"},
    "training": {"training", "diffusion", "network", "data", "base"},
    "generators": {"generators", "training", "data", "text", "network", "diffusion", "base"},
    "evaluation": {"evaluation", "text", "data", "base"},
    "experiments": {"experiments", *ROOMS[:-1], "base"},
    "reporting": {"reporting", "experiments", "evaluation", "data", "base"},
}
MODULES = sorted(
    ".".join(("gcdp", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)


def room(module: str) -> str:
    first = module.split(".")[1] if "." in module else ""
    return first if first in ROOMS else "base"


def arrows(module: str) -> set[str]:
    return provenance.imports(provenance.module_path(module).read_text())


def test_every_module_stands_in_a_room():
    loose = {module.split(".")[1] for module in MODULES if "." in module and room(module) == "base"}
    assert loose <= set(BASE), f"modules outside the rooms: {sorted(loose - set(BASE))}"


@pytest.mark.parametrize("module", [module for module in MODULES if module != "gcdp"])
def test_imports_run_down_the_list_only(module):
    upward = sorted(other for other in arrows(module) if room(other) not in ALLOWED[room(module)] | {"base"})
    assert not upward, f"{module} imports {', '.join(upward)}: its room may import {sorted(ALLOWED[room(module)])}"


def test_the_method_imports_errors_and_validation_alone_beside_itself():
    """`diffusion` and `network` can be read, and taken, without the rest of the package."""
    for module in MODULES:
        if room(module) in ("diffusion", "network"):
            others = {other for other in arrows(module) if room(other) != room(module)}
            assert others <= {"gcdp.errors", "gcdp.validation"}, module
    lines = [len(provenance.module_path(m).read_text().splitlines()) for m in MODULES if room(m) in ROOMS[:2]]
    assert sum(lines) < 2000


def test_no_module_imports_itself_by_a_detour():
    graph = {module: arrows(module) & set(MODULES) - {"gcdp"} for module in MODULES}
    while free := [module for module, others in graph.items() if not others]:
        graph = {module: others - set(free) for module, others in graph.items() if module not in free}
    assert not graph, f"circle among {sorted(graph)}"


def test_an_upward_arrow_and_a_circle_are_seen():
    found = provenance.imports("from gcdp.experiments import study\nimport numpy\ndef f():\n    import gcdp.errors")
    assert found == {"gcdp.experiments.study", "gcdp.errors"}
    assert provenance.imports("from gcdp.training.loop import fit\nfrom gcdp import load_pipeline") == {
        "gcdp.training.loop", "gcdp"
    }  # fmt: skip


def test_the_test_rooms_mirror_the_package():
    folders = {path.parent.name for path in Path(__file__).parents[1].rglob("test_*.py")}
    assert folders - {"tests"} <= {*ROOMS, "base", "repository", "pipeline"}
