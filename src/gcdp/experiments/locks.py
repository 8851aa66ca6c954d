"""Who works on what: a lock file for each task, so that several processes, or several programs, share one list."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock `path` for the block; yields False where another process that is alive holds it."""
    held = claim(path)
    try:
        yield held
    finally:
        if held:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def awaited(path: Path) -> Iterator[None]:
    """Hold the lock `path` for the block, as soon as no other process does; says so where it has to wait."""
    held = claim(path)
    if not held:
        print(f"waiting for {path}, which another process holds: delete it if that is no more", flush=True)
    while not held:
        time.sleep(0.2)
        held = claim(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def claim(path: Path) -> bool:
    """Make the lock file, with process and host in it; take over that of a process that is no more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    mine.write_text(f"{os.getpid()} {socket.gethostname()}\n", encoding="utf-8")
    try:
        os.link(mine, path)  # fails where the lock exists; it is never seen half written
        return True
    except FileExistsError:
        return _taken_over(path, mine)
    finally:
        mine.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock; one on another host is taken to be alive."""
    return _holds(_read(path))


def _taken_over(path: Path, mine: Path) -> bool:
    stale = _read(path)
    if _holds(stale):
        return False
    aside = mine.with_name(f"{mine.name}.stale")
    try:
        os.rename(path, aside)  # of several that try, one moves it
    except FileNotFoundError:
        return False
    try:
        if aside.read_text(encoding="utf-8") != stale:  # another one had taken it over in between: give it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            return False
    finally:
        aside.unlink()
    with contextlib.suppress(FileExistsError):
        os.link(mine, path)
        return True
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _holds(content: str) -> bool:
    process, _, host = content.strip().partition(" ")
    if not process.isdigit():
        return False
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
