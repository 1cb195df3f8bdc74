"""The page of a folder that is being filled: it follows what is done, running, failed and left."""

from __future__ import annotations

import hashlib
import http.server
import logging
import os
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError, ConfigError
from bench.records.archive import SUFFIX
from bench.records.store import RECORD
from bench.records.underway import Progress, Watcher
from bench.reporting.formatting import duration
from bench.reporting.page.content import content
from bench.reporting.page.details import Details
from bench.reporting.page.html import as_json, document

_logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

REST = 10.0
"""A board is made again after this many times the seconds that it took: trials need the cores."""

Select = Callable[[], tuple[pd.DataFrame, pd.DataFrame]]
"""The leaderboard of the folder as it is now, and its runs."""


class Followed:
    """What the page shows of a folder, made again when records have come.

    Args:
        folder: the results folder, or an archive.
        select: reads the folder.
    """

    def __init__(self, folder: Path, select: Select) -> None:
        self._folder, self._select = folder, select
        self._watcher = Watcher(folder)
        self._lock = threading.Lock()
        self._shown: dict[str, Any] = {}
        self._details: Details | None = None
        self._version = ""
        self._next = 0.0

    def status(self) -> dict[str, Any]:
        """How far the trials are, and the version of the board that may be asked for."""
        with self._lock:
            progress, version = self._watcher.look(), self._version
            if time.monotonic() >= self._next:
                version = _stamp(self._folder)
        return {
            "version": version,
            "text": told(progress),
            "total": progress.total,
            "done": progress.done,
            "failed": progress.failed,
            "running": [f"{each.label}, for {duration(each.seconds)}" for each in progress.running],
        }

    def content(self) -> dict[str, Any]:
        """The board as it is now."""
        with self._lock:
            version = _stamp(self._folder)
            if version != self._version:
                started = time.monotonic()
                board, runs = self._select()
                self._shown = {**content(board, runs), "version": version}
                self._details = Details(runs, [each["name"] for each in self._shown["metrics"]])
                self._version = version
                now = time.monotonic()
                self._next = now + REST * (now - started)
            return self._shown

    def entry(self, name: str) -> dict[str, Any] | None:
        """The runs of an entry; None where there is none."""
        with self._lock:
            return self._details.of(name) if self._details else None


def told(progress: Progress) -> str:
    """A line for people."""
    if progress.total == 0:
        return "No run has left word of its trials here; new records are shown as they come."
    parts = [f"{progress.done} of {progress.total} trials done"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    parts.append(f"{len(progress.running)} running")
    if progress.waiting:
        parts.append(f"{progress.waiting} waiting")
    if progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left")
    elif progress.waiting and not progress.running:
        parts.append("nobody works on them: the same command goes on with them")
    return ", ".join(parts)


def _stamp(folder: Path) -> str:
    """Another text whenever records or archives have come or changed."""
    found = []
    for path in [folder] if folder.is_file() else sorted(folder.glob("*")):
        record = path if path.suffix == SUFFIX else path / RECORD
        try:
            found.append(f"{path.name} {record.stat().st_mtime_ns}")
        except OSError:  # no record, or gone meanwhile
            continue
    return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()[:16]


class Server(http.server.ThreadingHTTPServer):
    """Answers the page and what it asks for, to this machine alone unless another address is given.

    Args:
        host: address to listen on.
        port: 0 takes any that is free.
        followed: what is shown.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"

    def __init__(self, host: str, port: int, followed: Followed) -> None:
        self.followed = followed
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, TypeError, UnicodeError) as error:  # no name of a host
            raise ConfigError(
                f"--address {host}:{port} cannot be listened on: {error}. {LOOPBACK}:0 takes any "
                "port that is free"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}/"

    def names(self) -> set[str]:
        """What the page may be asked for by, so that no other site reads it through a browser."""
        host = str(self.server_address[0])
        own = {host, "localhost"} if host == LOOPBACK else set()
        return {f"{name}:{self.server_port}" for name in own}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        names = self.server.names()
        if names and self.headers.get("Host") not in names:
            return self.send_error(HTTPStatus.FORBIDDEN, "unknown host")
        try:
            kind, body = self._answer(self.path.partition("?")[0])
        except BenchError as error:
            _logger.warning(str(error))
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "the folder cannot be read")
        if body is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, path: str) -> tuple[str, bytes | None]:
        followed, kind = self.server.followed, "application/json"
        if path == "/":
            return "text/html", document(followed.content(), {}, connects=True).encode()
        if path == "/status.json":
            return kind, as_json(followed.status())
        if path == "/content.json":
            return kind, as_json(followed.content())
        if path.startswith("/entry/") and path.endswith(".json"):
            found = followed.entry(path[len("/entry/") : -len(".json")])
            return kind, None if found is None else as_json(found)
        return kind, None

    def log_message(self, format: str, *args: Any) -> None:
        _logger.debug(format, *args)
