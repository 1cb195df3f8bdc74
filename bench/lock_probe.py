"""Whether locks hold in a folder, and between the processes that ask at the same time."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from bench import locks
from bench.files import writing_to

FOLDER = ".locks-probe"
HOLD_SECONDS = 2.0
LAST_SECONDS = 20.0
"""How long to wait for processes that began before."""

WAITS, HOLDS, DONE = "waits", "holds", "done"


def probe(place: Path) -> tuple[bool, list[str], list[str]]:
    """Take a lock in a folder, in turns with the other processes that do so now.

    Args:
        place: an existing folder.

    Returns:
        Whether the file system has locks (else there are leases); the nodes of the other processes
        that were met; the nodes that held the lock while this process held it.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    folder = place / FOLDER
    with writing_to(place):
        folder.mkdir(exist_ok=True)
        own = folder / f"{platform.node()}-{os.getpid()}.node"
        own.write_text(WAITS)
        try:
            met, clashes = _take_turns(folder, own)
            return locks.has_locks(folder / "lock"), sorted(met), sorted(clashes)
        finally:
            own.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another one is still there
                folder.rmdir()


def _take_turns(folder: Path, own: Path) -> tuple[set[str], set[str]]:
    met: set[str] = set()
    clashes: set[str] = set()
    end, held = time.monotonic() + LAST_SECONDS, False
    time.sleep(HOLD_SECONDS / 2)  # tasks of one step begin within a second or so
    while time.monotonic() < end:
        met |= {_node(other) for other, _ in _others(folder, own)}
        if not held:
            with locks.attempted(folder / "lock") as granted:
                if granted:
                    held = True
                    own.write_text(HOLDS)
                    until = time.monotonic() + HOLD_SECONDS
                    while time.monotonic() < until:
                        holding = (o for o, says in _others(folder, own) if says == HOLDS)
                        clashes |= set(map(_node, holding))
                        time.sleep(0.05)
                    own.write_text(DONE)
        elif all(says == DONE for _, says in _others(folder, own)):
            break
        time.sleep(0.1)
    return met, clashes


def _others(folder: Path, own: Path) -> Iterator[tuple[Path, str]]:
    """Processes that were heard of lately, and what each says."""
    for path in folder.glob("*.node"):
        with contextlib.suppress(OSError):
            fresh = own.stat().st_mtime - path.stat().st_mtime < LAST_SECONDS
            if path != own and fresh:
                yield path, path.read_text()


def _node(path: Path) -> str:
    return path.stem.rpartition("-")[0]
