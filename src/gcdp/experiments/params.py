"""The files of `params/`: read, merged with the profile that they are `like`, and held against what DVC tracks.

DVC tracks the keys of one file and fails on absent ones. A profile that says `like: <other>` and holds only its
differences therefore also has a resolved file, params/resolved/<name>.yaml, written by `gcdp.experiments.selection`.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from gcdp.errors import ConfigError

COMMAND = "python -m gcdp.experiments.selection"


def repository_root() -> Path:
    """The folder that holds `params/`: the nearest one above the working folder, else the source checkout."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "params").is_dir() and (folder / "dvc.yaml").is_file():
            return folder
    raise ConfigError(f"no params/ folder above {here}: run from inside the repository")


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: mappings merge key by key at every depth, everything else replaces."""
    result = deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else deepcopy(value)
    return result


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises ConfigError naming the file, the line and the remedy."""
    name = path.relative_to(repository_root()).as_posix()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1}, {error.problem}" if mark else str(error).splitlines()[0]
        raise ConfigError(f"{name} cannot be read as YAML ({reason}): correct the file") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must hold a mapping of names to values")
    return content


def profile_names() -> list[str]:
    """The profiles of `params/`, in alphabetical order."""
    return sorted(path.stem for path in (repository_root() / "params").glob("*.yaml"))


def settings_file(name: str) -> str:
    """The file with all settings of a profile, which DVC tracks, relative to the repository."""
    return f"params/resolved/{name}.yaml" if "like" in _written(name) else f"params/{name}.yaml"


def resolved(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """All settings of a profile: those of the profile that it is `like`, with its differences merged deeply.

    Raises ConfigError where a profile is unknown, cannot be read, or is like itself by way of others (`above`).
    """
    content = _written(name)
    if "like" not in content:
        return content
    other = content.pop("like")
    if other in (*above, name):
        raise ConfigError(f"params/{name}.yaml: like: '{other}' leads back to {name}: name a profile that stands alone")
    if other not in profile_names():
        known = ", ".join(known for known in profile_names() if known != name)
        raise ConfigError(f"params/{name}.yaml: like: profile '{other}' is unknown: choose one of {known}")
    return merged(resolved(other, (*above, name)), content)


def tracked(name: str) -> dict[str, Any]:
    """`resolved` of a profile, once it is certain that DVC sees the same.

    Raises ConfigError with the remedy where the resolved file is missing or out of step.
    """
    content, file = resolved(name), settings_file(name)
    if file == f"params/{name}.yaml":
        return content
    path = repository_root() / file
    if not path.is_file():
        raise ConfigError(f"{file} is missing, the full form of params/{name}.yaml: write it by `{COMMAND}`")
    if read_yaml(path) != content:
        raise ConfigError(f"{file} is out of step with params/{name}.yaml: write it anew by `{COMMAND}`")
    return content


def write_resolved(name: str) -> None:
    """Write the resolved file of a profile that says `like`; one without needs none."""
    file = settings_file(name)
    if file == f"params/{name}.yaml":
        return
    path = repository_root() / file
    path.parent.mkdir(exist_ok=True)
    text = f"# Written by `{COMMAND}` from params/{name}.yaml, for DVC: change that file, not this one.\n"
    path.write_text(text + yaml.safe_dump(resolved(name), sort_keys=False, width=120), encoding="utf-8")


def _written(name: str) -> dict[str, Any]:
    """What the file of a profile itself says. Raises ConfigError for an unknown profile."""
    path = repository_root() / "params" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(profile_names())
        raise ConfigError(f"profile '{name}' is unknown: choose one of {known}, or add params/{name}.yaml")
    return read_yaml(path)
