"""The three lists of dependencies agree with each other and with what is installed."""

import configparser
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml
from jupyter_client import KernelManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
ACCELERATOR_PACKAGES = re.compile(r"^(nvidia-|cuda-|triton$|torchvision$)")


def requirement_lines(text):
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith(("#", "-"))]


def pins(lines):
    """Name -> version of lines that each pin exactly one version."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.+!]*)", line)
        assert match, f"{line!r} is not of the form name==version"
        name = canonicalize_name(match[1])
        assert name not in found, f"{name} is pinned twice"
        found[name] = match[2]
    return found


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def requirements(project):
    table = project["project"]
    # "fid" is never installed here: it brings torchvision, which must match torch's build
    extras = {name: lines for name, lines in table["optional-dependencies"].items() if name != "fid"}
    lines = table["dependencies"] + [line for group in extras.values() for line in group]
    return {canonicalize_name(item.name): item for item in map(Requirement, lines)}


@pytest.fixture(scope="module")
def lock():
    return pins(requirement_lines((ROOT / "requirements.lock").read_text()))


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda_pip(conda):
    (section,) = [item["pip"] for item in conda["dependencies"] if isinstance(item, dict)]
    return section


def test_lock_satisfies_every_range_of_pyproject(requirements, lock):
    for name, requirement in requirements.items():
        assert name in lock, f"{name} of pyproject.toml is missing from requirements.lock"
        assert requirement.specifier.contains(lock[name]), f"requirements.lock has {name} {lock[name]}"


def test_environment_yml_names_what_pyproject_names_at_the_locked_versions(requirements, lock, conda_pip):
    assert pins(requirement_lines("\n".join(conda_pip))) == {name: lock[name] for name in requirements}
    assert "-c requirements.lock" in conda_pip and "-e ." in conda_pip


def test_environment_yml_uses_a_python_the_package_accepts(project, conda):
    (python,) = [item for item in conda["dependencies"] if isinstance(item, str) and item.startswith("python=")]
    accepted = Requirement(f"python{project['project']['requires-python']}").specifier
    assert accepted.contains(python.split("=", 1)[1])


def test_build_backend_is_locked_since_it_is_not_downloaded_apart(project, lock):
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)])


def test_lock_leaves_the_choice_of_accelerator_to_torch(lock):
    assert not [name for name in lock if ACCELERATOR_PACKAGES.match(name)]
    assert not [name for name, version in lock.items() if Version(version).local]


def test_installed_versions_are_the_locked_ones(requirements, lock):
    # A local suffix such as +cpu names a build, not another version.
    installed = {name: Version(importlib.metadata.version(name)).public for name in requirements}
    assert installed == {name: lock[name] for name in requirements}


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is the CUDA build")
def test_cpu_build_of_torch_stands_alone():
    names = {canonicalize_name(dist.metadata["Name"]) for dist in importlib.metadata.distributions()}
    assert not [name for name in names if ACCELERATOR_PACKAGES.match(name)]


def test_kernel_python3_is_this_interpreter():
    command = KernelManager(kernel_name="python3").format_kernel_cmd()
    assert Path(command[0]).absolute() == Path(sys.executable).absolute()


def test_dvc_neither_reports_home_nor_stages_by_itself():
    config = configparser.ConfigParser()
    assert config.read(ROOT / ".dvc" / "config")
    core = {name: config.getboolean("core", name) for name in ("analytics", "autostage", "check_update")}
    assert core == {"analytics": False, "autostage": False, "check_update": False}


def test_package_ships_its_type_marker(project):
    assert (ROOT / "src" / "gcdp" / "py.typed").is_file()
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["gcdp"]
