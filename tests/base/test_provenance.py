"""The code behind a result: closure of imports, and a fingerprint that comments leave alone."""

import ast

import pytest

from gcdp import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: `main` imports `part` inside a function, and the settings."""
    files = {
        "main.py": '"""Doc."""\n\n\ndef run():\n    """What it does."""\n    from gcdp.part import x\n\n    return x\n',
        "part.py": "from gcdp.experiments import profile\n\nx = 1  # one\n",
        "alone.py": "y = 2\n",
        "experiments/profile.py": "z = 3\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    for function in (provenance._code, provenance._imports_of):
        function.cache_clear()
    yield tmp_path
    for function in (provenance._code, provenance._imports_of):
        function.cache_clear()


def fingerprint(package, name=None, text=None):
    if name:
        (package / name).write_text(text)
    for function in (provenance._code, provenance._imports_of):
        function.cache_clear()
    return provenance.source_fingerprint("gcdp.main")


def test_the_closure_follows_imports_inside_functions_but_not_settings(package):
    assert provenance.closure(["gcdp.main"]) == {"gcdp.main", "gcdp.part"}
    assert "gcdp.experiments.profile" in provenance.closure(["gcdp.main"], leaves=frozenset())


def test_comments_docstrings_and_layout_leave_the_fingerprint_alone(package):
    before = fingerprint(package)
    text = '"""Other words."""\n# a remark\ndef run():\n    from gcdp.part import x\n    return (x)\n'
    assert fingerprint(package, "main.py", text) == before


def test_code_of_any_module_reached_changes_it(package):
    before = fingerprint(package)
    assert fingerprint(package, "alone.py", "y = 3\n") == before
    assert fingerprint(package, "experiments/profile.py", "z = 4\n") == before
    assert fingerprint(package, "part.py", "x = 2\n") != before


def test_an_unknown_module_is_named():
    with pytest.raises(KeyError, match="nothing"):
        provenance.module_path("gcdp.nothing")


def test_every_version_of_python_writes_equal_source_alike():
    source = 'def f(x):\n    return f"{x!r}" + "a"\n'
    arguments = "arguments(args=[arg(arg='x')])"
    formatted = "FormattedValue(value=Name(id='x',ctx=Load()),conversion=114)"
    value = f"BinOp(left=JoinedStr(values=[{formatted}]),op=Add(),right=Constant(value='a'))"
    function = f"FunctionDef(name='f',args={arguments},body=[Return(value={value})])"
    assert provenance._written(ast.parse(source)) == f"Module(body=[{function}])"
