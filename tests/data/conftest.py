"""A server of files that behaves, and misbehaves, by the first part of the path."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.data.sources import download

PAGE = b"<!DOCTYPE html><html><body>We have moved.</body></html>" * 20


class Site(ThreadingHTTPServer):
    """`root/<behaviour>/<file>`; files are set in `files`, requests are written down.

    ok, plain (no ranges), slow (trickles), silent, missing, broken (500), moved (to ok), page (a
    web page with status 200), short (ends early), dropping (ends early after `patience` bytes, but
    serves ranges), unsized (neither length nor chunks), chunked, stale (ranges of another version),
    endless (chunks without an end), vast (says that it has 10^15 bytes).
    """

    patience = 1000

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        _, behaviour, name = self.path.split("/", 2)
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        self.close_connection = True
        body = self.server.files.get(name, b"")
        if behaviour == "missing":
            return self.send_error(404)
        if behaviour == "broken":
            return self.send_error(500)
        if behaviour == "moved":
            self.send_response(302)
            self.send_header("Location", f"/ok/{name}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if behaviour == "silent":
            return time.sleep(3)
        if behaviour == "page":
            body = PAGE
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        start = 0
        ranges = behaviour in ("ok", "dropping", "slow")
        if wanted and ranges and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if behaviour in ("chunked", "endless"):
            self.send_header("Transfer-Encoding", "chunked")
        elif behaviour == "vast":
            self.send_header("Content-Length", str(10**15))
        elif behaviour != "unsized":
            self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", tag)
        self.send_header("Connection", "close")
        self.end_headers()
        return self._send(behaviour, body[start:])

    def _send(self, behaviour: str, body: bytes) -> None:
        if behaviour == "short":
            body = body[:-10]
        if behaviour == "dropping":
            body = body[: self.server.patience]
        if behaviour == "chunked":
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        while behaviour == "endless":
            self.wfile.write(b"10000\r\n%s\r\n" % bytes(1 << 16))
        step = 100 if behaviour == "slow" else len(body) or 1
        for begin in range(0, len(body), step):
            self.wfile.write(body[begin : begin + step])
            self.wfile.flush()
            if behaviour == "slow":
                time.sleep(0.005)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
