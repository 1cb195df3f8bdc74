"""Leases: what takes the place of locks on file systems that have none, between machines as well.

A lease is a file that its holder makes, renews and removes. One that was not renewed for minutes is
of a holder that is gone, and is taken. So unlike a lock it may be held by two for a while: by one
that was suspended for minutes, and by who took it for dead. What is done under it must bear that.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from bench.variables import seconds_in

SECONDS = "BENCH_LEASE_SECONDS"
"""Environment variable: after how many seconds without renewal a lease is stale."""
STALE_SECONDS = 300.0
_MAX_BYTES = 4096
RENEWALS = 5
"""How often a lease is renewed before it would be stale."""


def stale_seconds() -> float:
    """After how many seconds without renewal a lease is stale.

    Raises:
        ConfigError: the environment variable is no number above 0.
    """
    return seconds_in(SECONDS, STALE_SECONDS, zero=False)


@contextlib.contextmanager
def leased(path: Path) -> Iterator[bool]:
    """Try to hold the lease of a file, which is made and removed; yields whether it is granted.

    Never waits.

    Raises:
        OSError: the file cannot be written to.
    """
    token = uuid.uuid4().hex
    if not (_made(path, token) or (_taken(path) and _made(path, token))):
        yield False
        return
    over = threading.Event()
    threading.Thread(target=_renew, args=(path, token, over), daemon=True).start()
    try:
        yield True
    finally:
        over.set()
        if _content(path).get("token") == token:
            with contextlib.suppress(OSError):  # it may be gone, with its folder
                path.unlink()


def is_held(path: Path, handle: int) -> bool:
    """Whether an open file is a lease that somebody holds.

    Args:
        path: the file.
        handle: it is read through this one: to close another frees locks of the file.
    """
    content = _parsed(_read(handle))
    return bool(content) and not _is_stale(path, content)


def signature(text: bytes) -> str:
    """Who holds the lease whose file has this content, and since when; empty if it is none."""
    content = _parsed(text)
    if not {"machine", "pid", "since"} <= content.keys():
        return ""
    machine = str(content["machine"]).partition(" ")[0]
    return f"process {content['pid']} on {machine}, since {content['since']}"


def now() -> str:
    """This moment, as people read it."""
    return datetime.now().astimezone().isoformat(" ", "seconds")


def _made(path: Path, token: str) -> bool:
    """Make the file of a lease; False if there is one."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as stream:
        json.dump({"token": token, "since": now(), **_holder()}, stream)
    return True


def _taken(path: Path) -> bool:
    """Remove a lease that is stale; False if it is not, or somebody else is at it."""
    if not _is_stale(path, _content(path)):
        return False
    # Two that find it stale must not remove each other's.
    taking = path.with_name(f".{path.name}.taking")
    try:
        os.close(os.open(taking, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        if _age(taking) > stale_seconds():  # left by one that was killed
            taking.unlink(missing_ok=True)
        return False
    try:
        if not _is_stale(path, _content(path)):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        taking.unlink(missing_ok=True)


def _renew(path: Path, token: str, over: threading.Event) -> None:
    while not over.wait(stale_seconds() / RENEWALS):
        with contextlib.suppress(OSError):
            if _content(path).get("token") == token:  # else it was taken
                os.utime(path)


def _is_stale(path: Path, content: dict[str, Any]) -> bool:
    """Whether the holder is known to be gone, or was not heard of for too long."""
    here = _holder()
    if content.get("machine") == here["machine"]:
        with contextlib.suppress(psutil.Error, KeyError):
            return bool(psutil.Process(content["pid"]).create_time() != content["started"])
        return True
    return _age(path) > stale_seconds()


def _age(path: Path) -> float:
    """Seconds since a file was written, by the clock of its file system; 0 if it is gone."""
    probe = path.with_name(f".{path.name}.now-{uuid.uuid4().hex[:8]}")
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


def _content(path: Path) -> dict[str, Any]:
    """What a lease says; nothing where it is none, or is being written."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return {}


def _read(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, _MAX_BYTES)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache
def _machine() -> str:
    """Within which process ids tell processes apart."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _holder() -> dict[str, Any]:
    pid = os.getpid()
    return {"machine": _machine(), "pid": pid, "started": psutil.Process(pid).create_time()}
