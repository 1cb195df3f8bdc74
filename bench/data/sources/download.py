"""Downloads that are whole or absent: mirrors in turn, resumed, verified, checksums remembered.

A file `F` lies in its folder only once it is whole. Beside it lie `F.sha256`, the checksum that was
seen first and holds from then on, and while a download is under way `F.part` with what there is of
it, and `F.part.json` with where that came from.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench import limits
from bench.data.sources.archives import check_whole, readable
from bench.data.sources.download_config import Download
from bench.errors import DataError
from bench.files import sha256_of, write_whole
from bench.folders import scratch
from bench.progress import track

if TYPE_CHECKING:
    import requests

_logger = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds that a server may stay silent."""

TRIES = 3
"""Times in a row that an address may break off without bringing anything new."""

PAUSE = 1.0
"""Seconds before the first of these tries is repeated; each further pause is longer by as much."""

REPORT = 10.0
"""Seconds between two lines about the progress of one download."""

BLOCK = 1 << 20
"""Bytes that are received, and written, at a time: what a killed process loses."""

_BEGINNINGS = {".gz": b"\x1f\x8b", ".zip": b"PK"}
_WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)


class Unavailable(DataError):
    """A file that no mirror has; `failures` names every address and what is wrong with it."""

    def __init__(self, failures: list[str]) -> None:
        self.failures = failures
        super().__init__("; ".join(failures))


def fetch(download: Download, folder: Path) -> Path:
    """The file in `folder`, downloaded if it is not there yet.

    Call it under a lock on `folder`. Files that somebody put there by hand are verified once.

    Args:
        download: the addresses, tried in this order.
        folder: where downloads are kept; made if missing.

    Raises:
        Unavailable: no address gives the file, whole and with the right checksum.
        DataError: the file in the folder is damaged, or another one than was seen first.
        ConfigError: the folder cannot be written to.
    """
    path = folder / download.file_name
    expected = download.sha256 or _recorded(path)
    if path.exists():
        _check(path, expected)
        return path
    failures = []
    for url in download.urls:
        _logger.info(f"downloading {url}")
        try:
            with scratch(path) as temporary:
                found = _retrieve(url, expected, temporary / path.name, _part(path))
                verify(found)
                found.rename(path)
        except (OSError, ValueError, DataError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            _record(path)
            return path
    raise Unavailable(failures)


def verify(path: Path) -> None:
    """Read a packed file to its end, where its checksum is; refuse a web page in place of data.

    Raises:
        DataError: damaged, cut off, of another kind than its name says, far larger than it is
            packed, or an archive with a member that would lie outside its folder.
    """
    with readable(path), path.open("rb") as stream:
        _reject_other_kind(path.name, stream.read(BLOCK))
    check_whole(path)


def _retrieve(url: str, sha256: str | None, path: Path, part: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    receive = _Resuming(part)
    pooch.retrieve(url, sha256, fname=path.name, path=path.parent, downloader=receive)
    return path


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that goes on where an earlier try, or an earlier process, ended."""

    part: Path

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests
        import urllib3

        most, fruitless = 0, 0
        while True:
            try:
                self._receive(url)
                break
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                if isinstance(error, requests.HTTPError):
                    raise  # the server's answer, which another try would not change
                there = self.part.stat().st_size if self.part.exists() else 0
                most, fruitless = max(most, there), 0 if there > most else fruitless + 1
                if fruitless == TRIES:
                    raise OSError(_reason(error)) from error
                time.sleep(PAUSE * fruitless)
        self.part.replace(output_file)
        self._state.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def _receive(self, url: str) -> None:
        """One request: the file, or what is missing of it where the server can tell it apart."""
        import requests

        start, validator = self._resumable(url)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()
                raise requests.ConnectionError("what was there already does not fit")
            response.raise_for_status()
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0
            total = _total(response, start)
            if not start:
                # Killed after the next line, it would be taken for the beginning of this version.
                self.part.unlink(missing_ok=True)
            state = {"url": url, "validator": _validator(response)}
            write_whole(self._state, json.dumps(state).encode())
            with self.part.open("ab" if start else "wb", buffering=0) as stream:
                self._copy(response, stream, start, total)
        received = self.part.stat().st_size
        if total is not None and received != total:
            raise requests.ConnectionError(f"cut off after {received:,} of {total:,} bytes")

    def _resumable(self, url: str) -> tuple[int, str]:
        """How many bytes of the file are there, and what the server knows it by."""
        try:
            state = json.loads(self._state.read_bytes())
            same = state["url"] == url and state["validator"]
            return (self.part.stat().st_size, state["validator"]) if same else (0, "")
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""

    def _copy(
        self, response: requests.Response, stream: IO[bytes], start: int, total: int | None
    ) -> None:
        name = self.part.name.removesuffix(".part").removeprefix(".")
        of = "" if total is None else f" of {_size(total)}"
        done, said = start, time.monotonic()
        pace = _Pace(name, total, self.part.parent)
        # As it is sent: a server that calls a gzip file "encoded" must not have it unpacked here.
        with track(name, total, "bytes", logged=False) as advance:
            advance(start)
            for block in _blocks(response):
                if done == 0:
                    _reject_other_kind(name, block)
                stream.write(block)
                done += len(block)
                pace.check(done, done - start)
                advance(len(block))
                if time.monotonic() - said > REPORT:
                    said = time.monotonic()
                    _logger.debug(f"  {name}: {_size(done)}{of}")


class _Pace:
    """Ends a download that is longer, or slower, than one in good faith.

    Args:
        name: of the file, for messages.
        total: bytes that it has; None where nobody said so.
        folder: where it is going to be.

    Raises:
        TooMuch: it says that it has more bytes than a download may have.
        DataError: the disk has no place for them.
    """

    def __init__(self, name: str, total: int | None, folder: Path) -> None:
        self._name = name
        self._most = limits.allowed(limits.UNSIZED_DOWNLOAD if total is None else limits.DOWNLOAD)
        self._started = time.monotonic()
        if total is None:
            return
        if total > self._most:
            raise limits.TooMuch(name, f"says that it has {total:,} bytes")
        if total > (free := shutil.disk_usage(folder).free):
            raise DataError(f"{name}: has {_size(total)}, and the disk has {_size(free)} left")

    def check(self, done: int, received: int) -> None:
        """Say how many bytes there are, and how many of them this connection brought.

        Raises:
            TooMuch: more than may be.
            DataError: so few in so much time that it would never end.
        """
        if done > self._most:
            raise limits.TooMuch(self._name, f"has no end after {done:,} bytes")
        seconds = time.monotonic() - self._started
        if seconds > limits.PATIENCE and received < limits.SLOWEST * seconds:
            raise DataError(f"{self._name}: {received:,} bytes came in {seconds:.0f} seconds")


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """What is sent, as soon as it comes: of a whole block that trickles in nobody would hear."""
    raw = response.raw
    if not hasattr(raw, "read1") or getattr(raw, "chunked", False):
        yield from raw.stream(BLOCK, decode_content=False)
        return
    while block := raw.read1(BLOCK, decode_content=False):
        yield block


def _total(response: requests.Response, start: int) -> int | None:
    """Size of the whole file; None where the form of the answer tells its end.

    Raises:
        requests.HTTPError: neither a size nor chunks: nobody could tell a file that is cut off, and
            another try would not change that.
    """
    import requests

    length = limits.whole_number(response.headers.get("Content-Length", ""), 2**63)
    if length is not None:
        return start + length
    if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None
    raise requests.HTTPError("the server does not say how long the file is", response=response)


def _validator(response: requests.Response) -> str:
    """What a server recognises this version of the file by; empty if it gives nothing strong."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _reject_other_kind(name: str, beginning: bytes) -> None:
    expected = _BEGINNINGS.get(Path(name).suffix, b"")
    if _WEB_PAGE.match(beginning):
        raise DataError(f"{name}: a web page in place of the file")
    if not beginning.startswith(expected[: len(beginning)]) or (expected and not beginning):
        raise DataError(f"{name}: not the {Path(name).suffix} file that its name promises")


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    """The checksum that was seen first (in the form that `sha256sum --check` reads)."""
    place = _checksum_file(path)
    if not place.exists():
        return None
    found = re.match(r"[0-9a-f]{64}\b", place.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise DataError(f"{place}: holds no SHA-256 checksum; remove it")
    return found[0]


def _record(path: Path) -> None:
    if not _checksum_file(path).exists():
        write_whole(_checksum_file(path), f"{sha256_of(path)}  {path.name}\n".encode())


def _check(path: Path, expected: str | None) -> None:
    """Refuse a file that is not the expected one; look into one of which nothing is known."""
    if expected is None:
        try:
            verify(path)
        except DataError as error:
            raise DataError(f"{error}; remove it") from error
        _record(path)
    elif (found := sha256_of(path)) != expected:
        raise DataError(
            f"{path}: SHA-256 is {found}, expected {expected}: damaged, or another version. "
            f"Remove it to download it again (and {_checksum_file(path).name} to accept a new "
            "version)"
        )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _reason(error: Exception) -> str:
    """The cause in few words, without the address that connection errors repeat."""
    text = str(error)
    if cut := re.search(r"IncompleteRead\(([^)]*)\)", text):
        return f"cut off ({cut[1]})"
    if "timed out" in text:
        return f"no answer for {TIMEOUT:g} seconds"
    if cause := re.search(r"Caused by (\w+)", text):
        return f"no connection ({cause[1]})"
    return text.partition(" for url: ")[0] or type(error).__name__
