"""Files on disk, each way of writing them once: atomic, hashed, guarded, and never executing code when read."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from safetensors.torch import load_file, save_file
from torch import Tensor

from gcdp.errors import CheckpointError, DataError, GCDPError


def fingerprint(settings: dict[str, Any]) -> str:
    """Short hash of JSON-like settings, independent of key order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path, error: type[GCDPError] = CheckpointError) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` on success; on failure the old file stays untouched.

    The folder is made where needed. Raises `error` when the disk is full or the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except (OSError, SafetensorError) as cause:
        # safetensors reports errors of the system as text
        if getattr(cause, "errno", None) == errno.ENOSPC or "No space left" in str(cause):
            reason, remedy = "disk full while writing", "free some space"
        else:
            reason, remedy = f"{getattr(cause, 'strerror', None) or cause} while writing", "make the folder writable"
        raise error(f"{reason} {path}: {remedy} and run again; the previous file is kept") from cause
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors atomically as safetensors."""
    with atomic_write(path) as partial:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read (tensors, metadata). Raises CheckpointError if the file is missing or damaged."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is missing or damaged: delete it and run again") from error


def save_compressed(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write arrays and JSON-like facts atomically as one compressed file: safetensors, then xz."""
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"facts": json.dumps(facts)})
    with atomic_write(path) as partial:
        partial.write_bytes(lzma.compress(content, preset=9))


def load_compressed(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_compressed` wrote: (arrays, facts). Raises CheckpointError if it is missing or damaged."""
    try:
        content = lzma.decompress(path.read_bytes())
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["facts"])
    except (OSError, EOFError, lzma.LZMAError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is missing or damaged: delete it and run again") from error


def read_json(path: Path, remedy: str):
    """Parsed JSON; raises DataError with ``remedy`` where the file is missing or malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: {remedy}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON ({error}): {remedy}.") from error


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces ``folder`` only if the block succeeds.

    An interrupted or failed build therefore leaves the former folder, or none, but never half of one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f".{folder.name}.{os.getpid()}.new"
    former = folder.parent / f".{folder.name}.{os.getpid()}.old"
    for leftover in (fresh, former):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        if folder.exists():
            folder.rename(former)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def write_json(path: Path, content) -> None:
    """Write JSON atomically and with a fixed layout, so that equal content gives equal bytes."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
