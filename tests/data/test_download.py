"""Downloads from a server that behaves and from servers that do not."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import signal
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from bench import limits
from bench.data.sources import download
from bench.data.sources.download import Unavailable, fetch
from bench.data.sources.download_config import Download
from bench.errors import DataError
from bench.files import write_whole

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

PLAIN = np.random.default_rng(0).bytes(5000)
PACKED = gzip.compress(PLAIN)


def archive(**members: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return stream.getvalue()


def get(site, folder: Path, *behaviours: str, name: str = "f.gz", sha256: str | None = None):
    urls = [f"{site.root}/{behaviour}/{name}" for behaviour in behaviours]
    return fetch(Download(urls=urls, sha256=sha256), folder)


@pytest.fixture(autouse=True)
def files(site):
    site.files |= {"f.gz": PACKED, "f.zip": archive(table=PLAIN), "f.bin": PLAIN}


@pytest.mark.parametrize("behaviour", ["ok", "plain", "slow", "moved", "chunked", "dropping"])
@pytest.mark.parametrize("name", ["f.gz", "f.zip", "f.bin"])
def test_a_file_arrives_whole(site, tmp_path, behaviour, name):
    path = get(site, tmp_path / "d", behaviour, name=name)
    assert path.read_bytes() == site.files[name]
    assert sorted(p.name for p in path.parent.iterdir()) == [name, f"{name}.sha256"]
    requests = len(site.requests)
    assert get(site, tmp_path / "d", behaviour, name=name) == path
    assert len(site.requests) == requests, "what is there is not asked for again"


@pytest.mark.parametrize(
    ("behaviour", "name", "reason"),
    [
        ("missing", "f.gz", "404"),
        ("broken", "f.gz", "500"),
        ("silent", "f.gz", "no answer for 0.5 seconds"),
        ("short", "f.gz", "cut off"),
        ("short", "f.bin", "cut off .*4,?990"),
        ("page", "f.gz", "a web page in place of the file"),
        ("page", "f.bin", "a web page in place of the file"),
        ("unsized", "f.bin", "does not say how long"),
        ("ok", "half.gz", "damaged or cut off"),
        ("ok", "half.zip", "damaged or cut off"),
        ("ok", "other.gz", r"not the \.gz file"),
        ("ok", "empty.gz", r"damaged or cut off|not the \.gz file"),
        ("ok", "outside.zip", r"member '\.\./x' would lie outside"),
        ("ok", "absolute.zip", "member '/etc/x' would lie outside"),
        ("ok", "rotten.zip", "damaged or cut off"),
    ],
)
def test_what_is_no_whole_file_is_refused(site, tmp_path, behaviour, name, reason):
    rotten = bytearray(archive(table=PLAIN))
    rotten[1000] ^= 1
    site.files |= {
        "half.gz": PACKED[:-20],
        "half.zip": archive(table=PLAIN)[:-20],
        "other.gz": PLAIN,
        "empty.gz": b"",
        "outside.zip": archive(**{"../x": b"1"}),
        "absolute.zip": archive(**{"/etc/x": b"1"}),
        "rotten.zip": bytes(rotten),
    }
    with pytest.raises(Unavailable, match=reason) as caught:
        get(site, tmp_path / "d", behaviour, name=name)
    assert caught.value.failures[0].startswith(f"{site.root}/{behaviour}/{name}: ")
    assert not [p for p in (tmp_path / "d").iterdir() if not p.name.startswith(".")]
    site.files[name] = {"gz": PACKED, "zip": archive(table=PLAIN), "bin": PLAIN}[
        name[-3:].strip(".")
    ]
    assert get(site, tmp_path / "d", "ok", name=name).read_bytes() == site.files[name]


def test_a_server_that_is_not_there_is_named(tmp_path):
    address = Download(urls=["http://127.0.0.1:9/f.gz"])
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9/f\.gz: no connection"):
        fetch(address, tmp_path)


def test_mirrors_are_tried_in_turn_and_all_named(site, tmp_path):
    assert get(site, tmp_path / "d", "missing", "page", "short", "ok").read_bytes() == PACKED
    with pytest.raises(Unavailable) as caught:
        get(site, tmp_path / "e", "missing", "page")
    assert [failure.split(": ")[0] for failure in caught.value.failures] == [
        f"{site.root}/missing/f.gz",
        f"{site.root}/page/f.gz",
    ]


def test_a_wrong_checksum_is_refused_and_the_next_mirror_tried(site, tmp_path):
    right = hashlib.sha256(PACKED).hexdigest()
    with pytest.raises(Unavailable, match="hash"):
        get(site, tmp_path / "d", "ok", sha256="0" * 64)
    assert not list((tmp_path / "d").iterdir())
    assert get(site, tmp_path / "d", "ok", sha256=right).read_bytes() == PACKED
    with pytest.raises(DataError, match=f"SHA-256 is {right}, expected 000"):
        get(site, tmp_path / "d", "ok", sha256="0" * 64)


def test_the_checksum_seen_first_holds(site, tmp_path):
    path = get(site, tmp_path, "ok")
    record = tmp_path / "f.gz.sha256"
    assert record.read_text() == f"{hashlib.sha256(PACKED).hexdigest()}  f.gz\n"
    path.unlink()
    site.files["f.gz"] = gzip.compress(PLAIN + b"new")
    with pytest.raises(Unavailable, match="hash"):
        get(site, tmp_path, "ok")
    assert not path.exists()
    record.unlink()
    assert get(site, tmp_path, "ok").read_bytes() == site.files["f.gz"]
    path.write_bytes(PACKED)
    with pytest.raises(DataError, match=r"f\.gz: SHA-256 is .* remove|Remove it"):
        get(site, tmp_path, "ok")
    record.write_text("gibberish")
    with pytest.raises(DataError, match=r"f\.gz\.sha256: holds no SHA-256"):
        get(site, tmp_path, "ok")


def test_files_put_by_hand_need_no_network_but_are_verified(tmp_path):
    unreachable = Download(urls=["http://127.0.0.1:9/f.gz"])
    (tmp_path / "f.gz").write_bytes(PACKED[:-20])
    with pytest.raises(DataError, match=r"f\.gz: damaged or cut off.*remove it"):
        fetch(unreachable, tmp_path)
    (tmp_path / "f.gz").write_bytes(PACKED)
    assert fetch(unreachable, tmp_path).read_bytes() == PACKED
    assert (tmp_path / "f.gz.sha256").exists()


def test_a_broken_off_download_goes_on_where_it_ended(site, tmp_path):
    get(site, tmp_path, "dropping")
    ranges = [wanted for _, wanted in site.requests]
    assert ranges == [None, *(f"bytes={n}-" for n in range(1000, len(PACKED), 1000))]


def test_a_part_of_another_version_is_not_gone_on_with(site, tmp_path):
    half_way(site, tmp_path)
    site.files["f.gz"] = gzip.compress(PLAIN[::-1])
    assert get(site, tmp_path, "ok").read_bytes() == site.files["f.gz"]
    assert site.requests[-1][1] is not None, "it was offered"


@pytest.mark.parametrize("behaviour", ["ok", "plain"])
def test_an_old_part_is_no_beginning_of_a_new_version_after_a_kill(
    site, tmp_path, monkeypatch, behaviour
):
    half_way(site, tmp_path, behaviour)
    site.files["f.gz"] = gzip.compress(PLAIN[::-1])

    def killed(path, content):
        write_whole(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "write_whole", killed)
        get(site, tmp_path, behaviour)
    assert get(site, tmp_path, behaviour).read_bytes() == site.files["f.gz"]


def test_a_part_of_another_mirror_is_not_gone_on_with(site, tmp_path):
    half_way(site, tmp_path)
    assert get(site, tmp_path, "plain").read_bytes() == PACKED
    assert site.requests[-1] == ("/plain/f.gz", None)


def test_a_server_without_ranges_sends_it_all_again(site, tmp_path):
    half_way(site, tmp_path, "plain")
    assert get(site, tmp_path, "plain").read_bytes() == PACKED
    assert site.requests[-1][1] is not None


def test_a_part_that_is_too_long_is_thrown_away(site, tmp_path):
    half_way(site, tmp_path)
    with (tmp_path / ".f.gz.part").open("ab") as stream:
        stream.write(bytes(len(PACKED)))
    assert get(site, tmp_path, "ok").read_bytes() == PACKED


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": 1}'])
def test_a_damaged_note_about_a_part_starts_it_anew(site, tmp_path, content):
    half_way(site, tmp_path)
    (tmp_path / ".f.gz.part.json").write_bytes(content)
    assert get(site, tmp_path, "ok").read_bytes() == PACKED
    assert site.requests[-1][1] is None


def test_a_killed_download_is_resumed(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "BLOCK", 1000)
    site.files["f.gz"] = gzip.compress(np.random.default_rng(1).bytes(60_000))
    process = multiprocessing.get_context("fork").Process(target=get, args=(site, tmp_path, "slow"))
    process.start()
    part = tmp_path / ".f.gz.part"
    while not part.exists() or part.stat().st_size < 10_000:
        assert process.is_alive()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert not (tmp_path / "f.gz").exists()
    there = part.stat().st_size
    assert get(site, tmp_path, "slow").read_bytes() == site.files["f.gz"]
    assert site.requests[-1] == ("/slow/f.gz", f"bytes={there}-")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.gz", "f.gz.sha256"]


def half_way(site, folder: Path, behaviour: str = "ok") -> None:
    """Leave what a process leaves that was killed after 2,000 bytes."""
    folder.mkdir(exist_ok=True)
    tag = hashlib.sha256(site.files["f.gz"]).hexdigest()[:8]
    (folder / ".f.gz.part").write_bytes(site.files["f.gz"][:2000])
    (folder / ".f.gz.part.json").write_text(
        f'{{"url": "{site.root}/{behaviour}/f.gz", "validator": "\\"{tag}\\""}}'
    )


def test_a_download_without_end(site, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "UNSIZED_DOWNLOAD", 1 << 20)
    with pytest.raises(Unavailable, match=r"has no end after 1,[0-9,]+ bytes"):
        get(site, tmp_path / "d", "endless", name="f.bin")


def test_a_download_that_no_disk_holds(site, tmp_path, monkeypatch):
    with pytest.raises(Unavailable, match="says that it has 1,000,000,000,000,000 bytes"):
        get(site, tmp_path / "d", "vast")
    monkeypatch.setattr(limits, "DOWNLOAD", 1 << 60)
    with pytest.raises(Unavailable, match=r"and the disk has .* MB left"):
        get(site, tmp_path / "d", "vast")


def test_a_download_that_trickles(site, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.1)
    monkeypatch.setattr(limits, "SLOWEST", 1 << 20)
    with pytest.raises(Unavailable, match=r"bytes came in \d+ seconds"):
        get(site, tmp_path / "d", "slow", name="f.bin")
