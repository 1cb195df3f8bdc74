"""Downloading Amazon reviews, from a server that behaves and from servers that do not."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.data.amazon import read_amazon
from bench.data.config import DatasetConfig
from bench.errors import DataError

REVIEWS = [
    {"reviewerID": user, "asin": item, "unixReviewTime": time, "overall": 5.0}
    for user in ("u1", "u2")
    for time, item in enumerate(("B2", "B1", "B3"))
]
METADATA = [
    {"asin": "B1", "title": "Ratchet &amp; Clank"},
    {"asin": "B2", "title": "var aPageStart = (new Date()).getTime();"},
    {"asin": "B9", "title": "Nobody reviewed this"},
]


def packed(records: list[dict]) -> bytes:
    return gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode())


class Handler(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/missing/"):
            self.send_error(404)
            return
        body = self.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-10] if self.path.startswith("/dropped/") else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.files = {"r.json.gz": packed(REVIEWS), "m.json.gz": packed(METADATA)}
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def config(*roots: str, sha256: str | None = None) -> DatasetConfig:
    return DatasetConfig.model_validate(
        {
            "source": "amazon-2018",
            "reviews": {"urls": [f"{root}/r.json.gz" for root in roots], "sha256": sha256},
            "metadata": {"urls": [f"{root}/m.json.gz" for root in roots]},
        }
    )


def quiet(line: str) -> None:
    pass


def test_reviews_become_interactions_with_titles(server, tmp_path):
    data = read_amazon("game", config(server + "/ok"), tmp_path / "d", quiet)
    assert (data.user_tokens, data.item_tokens) == (["u1", "u2"], ["B1", "B2", "B3"])
    assert data.item_texts == ["Ratchet & Clank", "", ""]
    assert [data.item_tokens[i] for i in data.item[:3]] == ["B2", "B1", "B3"], "by time"
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["m.json.gz", "r.json.gz"]


def test_the_next_mirror_is_tried(server, tmp_path):
    data = read_amazon("game", config(server + "/missing", server + "/ok"), tmp_path, quiet)
    assert len(data) == 6


@pytest.mark.parametrize(
    ("path", "reason"), [("/missing", "404"), ("/dropped", "r.json.gz"), ("/half", "cut off")]
)
def test_a_failed_download_says_what_else_can_be_done(server, tmp_path, path, reason):
    Handler.files["r.json.gz"] = packed(REVIEWS)[:-20] if path == "/half" else packed(REVIEWS)
    with pytest.raises(DataError) as caught:
        read_amazon("game", config(server + path), tmp_path / "d", quiet)
    message = str(caught.value)
    for part in (
        f"{server}{path}/r.json.gz",
        reason,
        str(tmp_path / "d"),
        "Put r.json.gz and m.json.gz into",
        "bench data import game PATH",
        "movielens",
    ):
        assert part in message
    assert not list((tmp_path / "d").iterdir())


def test_a_wrong_hash_is_refused(server, tmp_path):
    with pytest.raises(DataError, match="hash"):
        read_amazon("game", config(server + "/ok", sha256="0" * 64), tmp_path, quiet)
    right = hashlib.sha256(Handler.files["r.json.gz"]).hexdigest()
    assert len(read_amazon("game", config(server + "/ok", sha256=right), tmp_path, quiet)) == 6


def test_files_put_by_hand_need_no_network(tmp_path):
    (tmp_path / "r.json.gz").write_bytes(packed(REVIEWS))
    (tmp_path / "m.json.gz").write_bytes(packed(METADATA))
    unreachable = config("http://127.0.0.1:9")
    assert len(read_amazon("game", unreachable, tmp_path, quiet)) == 6
    (tmp_path / "r.json.gz").write_bytes(packed(REVIEWS)[:-20])
    with pytest.raises(DataError, match=r"r\.json\.gz: damaged or cut off.*remove it"):
        read_amazon("game", unreachable, tmp_path, quiet)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"asin": "B1"}'])
def test_a_damaged_line_is_named(tmp_path, content):
    (tmp_path / "r.json.gz").write_bytes(gzip.compress(content))
    (tmp_path / "m.json.gz").write_bytes(packed(METADATA))
    with pytest.raises(DataError, match="line 1: no "):
        read_amazon("game", config("http://127.0.0.1:9"), tmp_path, quiet)
