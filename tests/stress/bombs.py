"""Files that are made to exhaust a machine, at random: what each costs until it is refused.

    python tests/stress/bombs.py [--count 500] [--seed 0]

Every bomb is a random member of a family. A process of its own reads it as the suite would, and
tells its memory and its processor time. A bomb is met if it is refused in a sentence, or read after
all, before `MEMORY` or `SECONDS` are spent. Prints a table of the families; exits 1 where one bomb
is not met.
"""

from __future__ import annotations

import argparse
import bz2
import gc
import gzip
import io
import json
import lzma
import os
import pickle
import random
import resource
import struct
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import torch
from pyarrow import parquet

from bench import layers
from bench.data.sources import download, importing
from bench.data.sources.archives import check_whole, lines_of
from bench.data.sources.download_config import Download
from bench.data.sources.pickled import read_pickled
from bench.data.sources.tables import open_table, read_table
from bench.errors import BenchError
from bench.records.store import ResultStore
from bench.source import code_digest, decorated_classes
from bench.teachers.manifest import read_manifest
from bench.teachers.reading import Unreadable, read_array

MEMORY = 1 << 30
"""Bytes that reading a bomb may take at most, those of Python and its packages included."""

SECONDS = 10.0
"""Seconds of the processor that reading one may take at most."""

GIVEN_UP = 60
"""Seconds of the processor after which a reader is killed."""

MB = 1 << 20

Act = Callable[[], object]
"""Reads a bomb as the suite would."""

Family = Callable[[random.Random, Path], Act]
"""Makes a bomb in an empty folder."""

FAMILIES: dict[str, Family] = {}


def family(name: str) -> Callable[[Family], Family]:
    """Register what makes the members of a family."""

    def registered(make: Family) -> Family:
        FAMILIES[name] = make
        return make

    return registered


def zeros(megabytes: int, pack: Callable[[bytes], bytes], block: bytes = bytes(MB)) -> bytes:
    """Megabytes of a block, packed: all these formats may be packed in several pieces."""
    size = min(megabytes, 32)
    whole = pack(block * size) * (megabytes // size)
    return whole + (pack(block * (megabytes % size)) if megabytes % size else b"")


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 6, mtime=0),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=1),
}


def drained(path: Path, member: str | None = None) -> Act:
    def act() -> None:
        with lines_of(path, member) as lines:
            for _ in lines:
                pass

    return act


@family("tar archives that grow")
def growing_tar(chance: random.Random, folder: Path) -> Act:
    kind = chance.choice(list(PACKERS))
    path = folder / f"t.tar.{kind}"
    pack, megabytes = PACKERS[kind], chance.randrange(100, 3500)
    before = tarfile.TarInfo("before")
    before.size = megabytes * MB
    parts = [pack(before.tobuf()), zeros(megabytes, pack)]
    if chance.random() < 0.5:
        parts.reverse()  # no archive at all, to its end
    table = tarfile.TarInfo("t.csv")
    path.write_bytes(b"".join([*parts, pack(table.tobuf() + bytes(1024))]))
    return chance.choice([drained(path, "t.csv"), lambda: check_whole(path)])


@family("tar headers that claim")
def claiming_tar(chance: random.Random, folder: Path) -> Act:
    path = folder / "t.tgz"
    entry = tarfile.TarInfo("././@LongLink")
    entry.type = chance.choice(
        [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE]
    )
    entry.size = chance.choice([MB, 64 * MB, 1 << 32, 1 << 40])
    filling = b"12 path=abc\n" if chance.random() < 0.5 else bytes(12)
    megabytes = chance.randrange(1, 300)
    block = (filling * (MB // 12 + 1))[:MB]
    path.write_bytes(
        gzip.compress(entry.tobuf(tarfile.GNU_FORMAT)) + zeros(megabytes, PACKERS["gz"], block)
    )
    return chance.choice([drained(path, "*"), lambda: check_whole(path)])


@family("zip archives")
def zips(chance: random.Random, folder: Path) -> Act:
    path = folder / "t.zip"
    method = chance.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(path, "w", method) as archive:
        with archive.open("t.csv", "w") as stream:
            for _ in range(chance.randrange(1, 300)):
                stream.write(bytes(MB))
        kind = chance.randrange(3)
        if kind == 0:  # members that lie over one another
            for number in range(chance.randrange(2, 2000)):
                twin = zipfile.ZipInfo(f"{number}.csv")
                for part in ("compress_type", "compress_size", "file_size", "CRC", "header_offset"):
                    setattr(twin, part, getattr(archive.filelist[0], part))
                archive.filelist.append(twin)
            archive._didModify = True
        elif kind == 1:
            archive.filelist[0].file_size = chance.choice([0, 1, 2**31])
    return chance.choice([drained(path, "t.csv"), lambda: check_whole(path)])


def packed_table(path: Path, header: bytes, block: bytes, megabytes: int) -> None:
    whole = block * (MB // max(1, len(block)) + 1)
    path.write_bytes(gzip.compress(header) + zeros(megabytes, PACKERS["gz"], whole))


@family("packed tables")
def packed_tables(chance: random.Random, folder: Path) -> Act:
    ending, tab = chance.choice([("csv", b","), ("tsv", b"\t")])
    path = folder / f"interactions.{ending}.gz"
    header = tab.join([b"user", b"item", b"time"]) + b"\n"
    block = chance.choice(
        [
            b"0" * MB,  # one line
            b"\n",
            tab.join([b"1", b"2", b"3"]) + b"\n",
            tab.join([b"12345", b"abc", b"1000000"]) + b"\n",
            tab * chance.randrange(1, MB),
            tab * chance.randrange(1, 1000) + b"\n",
            tab.join([b"a", b'"b', b"1"]) + b"\n",
            b'"' * chance.randrange(1, 4000) + tab + b"x\n",
            tab.join([b'"', b'""', b'"""']) + b"\n",
            b"\xff\n",
        ]
    )
    packed_table(path, header, block, chance.randrange(64, 3200))
    if chance.random() < 0.5:
        return lambda: read_table(path)
    return lambda: importing.read(importing.tables_at(path))


@family("packed lines of objects")
def objects(chance: random.Random, folder: Path) -> Act:
    path = folder / "t.json.gz"
    depth = chance.randrange(1, 10**5)
    block = chance.choice(
        [
            b"[" * depth + b"]" * depth + b"\n",
            b'{"a":' * depth + b"1" + b"}" * depth + b"\n",
            b'{"user": 1, "item": 2}\n',
            b'{"user": ' + b"9" * chance.randrange(1, 10**5) + b', "item": 1}\n',
            b"-" * chance.randrange(1, 10**5) + b"1\n",
            b"(" * chance.randrange(1, 10**4) + b"\n",
            b"[" + b"1," * chance.randrange(1, MB) + b"]\n",
            b'{"user": "' + b"x" * chance.randrange(1, 10**5) + b'"}\n',
        ]
    )
    packed_table(path, b"", block, chance.randrange(64, 1000))
    form: Any = chance.choice(["json", "python"])

    def act() -> None:
        with open_table(path, form, tolerance=1.0) as table:
            for _ in table.chunks({"user": "user", "item": "item"}):
                pass

    return act


@family("sequences")
def sequences(chance: random.Random, folder: Path) -> Act:
    path = folder / "s.txt.gz"
    block = chance.choice([b"a ", b"ab ", b"1,2,", b"\n", b"u 1 2 3\n", b"[", b"[1] ", b"'a' "])
    packed_table(path, b"", block, chance.randrange(16, 1000))
    layout = chance.choice(["user-sequences", "item-sequences"])
    return lambda: importing.read(importing.tables_at(path, layout=layout))


@family("tables that claim items")
def claims(chance: random.Random, folder: Path) -> Act:
    row = "seq,len_seq,next\n" + f'"{"[" * chance.randrange(1, 30_000)}0]",1,1\n'
    if chance.random() < 0.7:
        row = 'seq,len_seq,next\n"[0, 5]",1,1\n'
    for name in ("train_data", "val_data", "test_data"):
        (folder / f"{name}.csv").write_text(row)
    items = chance.choice([10**6, 10**9, 10**18, 10**300])
    (folder / "data_statis.csv").write_text(
        f"seq_size,item_num\n{chance.choice([1, items])},{items}"
    )
    return lambda: importing.read(importing.tables_at(folder))


@family("parquet tables")
def parquets(chance: random.Random, folder: Path) -> Act:
    path = folder / "interactions.parquet"
    rows = chance.choice([10**6, 10**7, 3 * 10**7])
    kind = chance.randrange(5)
    if kind == 0:
        column = pyarrow.nulls(rows, chance.choice([pyarrow.int64(), pyarrow.string()]))
    elif kind == 1:
        column = pyarrow.array(np.zeros(rows, np.int64))
    elif kind == 2:  # a long text that stands once, and rows that name it
        text = "x" * chance.randrange(MB, 4 * MB)
        column = pyarrow.DictionaryArray.from_arrays(np.zeros(rows // 10**5, np.int32), [text])
    elif kind == 3:
        column = pyarrow.array(["y" * 1000]).take(pyarrow.array(np.zeros(rows // 100, np.int32)))
    else:
        column = pyarrow.array([[0] * chance.randrange(10**5, 10**7)])
    table = pyarrow.table({name: column for name in ("user", "item", "time")})
    parquet.write_table(
        table,
        path,
        compression=chance.choice(["zstd", "snappy", "gzip"]),
        use_dictionary=chance.random() < 0.7,
        store_schema=chance.random() < 0.5,
        row_group_size=chance.choice([10**4, 10**8]),
    )
    if chance.random() < 0.2:  # counts that are not there
        content = bytearray(path.read_bytes())
        for _ in range(3):
            content[-chance.randrange(9, min(400, len(content)))] = chance.randrange(256)
        path.write_bytes(content)
    if chance.random() < 0.5:
        return lambda: read_table(path)
    return lambda: importing.read(importing.tables_at(path))


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def call(module: str, name: str, arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + arguments + pickle.REDUCE


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def nested(chance: random.Random, tuples: bool = False) -> bytes:
    """Lists of the list before, several times, many deep."""
    width, depth = chance.randrange(2, 200), chance.randrange(5, 200)
    one = b"(" + b"h%c" * width + (b"t\x94" if tuples else b"l\x94")
    levels = [one.replace(b"%c", bytes([level])) for level in range(depth)]
    return b"N\x94" + b"".join(levels)


def texts_over_one_another(chance: random.Random) -> bytes:
    """An array of texts of which each is the whole buffer."""
    rows, size = chance.randrange(10, 2000), chance.randrange(1000, 10**5)
    offsets = np.zeros(rows + 1, np.int32)
    offsets[1::2] = size
    array = pyarrow.array(["x"])
    restore, (parts,) = array.__reduce__()
    buffers = [None, pyarrow.py_buffer(offsets.tobytes()), pyarrow.py_buffer(b"x" * size)]
    state = (parts[0], rows, 0, 0, buffers, *parts[5:])
    return pickle.dumps(_Reduced(restore, (state,)), 4)


class _Reduced:
    """Pickles as the call of a function."""

    def __init__(self, function: object, arguments: tuple[object, ...]) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@family("pickles")
def pickles(chance: random.Random, folder: Path) -> Act:
    path = folder / "t.df"
    size = chance.choice([1 << 28, 1 << 31, 10**10, 10**15])
    many = number(size)
    core = "numpy._core.multiarray"
    content = chance.choice(
        [
            lambda: opcodes(b"Nr" + struct.pack("<I", size % 2**32)),  # place in the memo
            lambda: opcodes(b"\x96" + struct.pack("<Q", size) + b"x"),
            lambda: opcodes(b"\x8e" + struct.pack("<Q", size) + b"x"),
            lambda: opcodes(
                call("builtins", chance.choice(["bytes", "bytearray"]), many + b"\x85")
            ),
            lambda: opcodes(call("numpy", "ndarray", many + b"\x85\x85")),
            lambda: opcodes(
                call(core, "_reconstruct", b"cnumpy\nndarray\n" + many + b"\x85C\x01b\x87")
            ),
            lambda: opcodes(
                call(core, "_reconstruct", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87"),
                b"(K\x01" + many + b"\x85",
                call("numpy", "dtype", b"\x8c\x02O8\x89\x88\x87") + b"\x89]tb",
            ),
            lambda: opcodes(call("pandas", "Index", nested(chance) + b"\x85")),
            lambda: opcodes(call("_codecs", "encode", nested(chance) + b"\x8c\x06latin1\x86")),
            lambda: opcodes(call("numpy", "dtype", nested(chance) + b"\x85")),
            lambda: opcodes(b"}" + nested(chance, tuples=True) + b"Ns"),
            lambda: opcodes(b"\x8f(" + nested(chance, tuples=True) + b"\x90"),
            lambda: opcodes(nested(chance, tuples=True)),
            lambda: pickle.dumps(
                pd.DataFrame(
                    {"seq": pd.Series([list(range(5000))] * chance.randrange(10**3, 10**5))}
                )
            ),
            lambda: pickle.dumps(pd.DataFrame(index=range(size))),
            lambda: texts_over_one_another(chance),
            lambda: opcodes(b"I" + b"9" * chance.randrange(5000, 10**6) + b"\n"),
            lambda: opcodes(b"(" * chance.randrange(10, 10**6)),
            lambda: opcodes(b"]" + b"\x85" * chance.randrange(10, 10**6)),
        ]
    )
    path.write_bytes(content())
    return lambda: read_pickled(path)


@family("tensors")
def tensors(chance: random.Random, folder: Path) -> Act:
    path = folder / "all_embeddings.pt"
    rows, width = (chance.randrange(10, 10**7) for _ in range(2))
    kind = chance.randrange(5)
    if kind == 0:
        torch.save(torch.zeros(1).expand(rows, width), path)
    elif kind == 1:
        torch.save(torch.zeros(64).as_strided((rows, 64), (0, 1)), path)
    elif kind == 2:
        torch.save(torch.empty(rows, width, device="meta"), path)
    elif kind == 3:
        torch.save(torch.zeros(1).expand(rows, width), path, _use_new_zipfile_serialization=False)
    else:
        content = io.BytesIO()
        torch.save(torch.zeros(chance.randrange(10, 60), MB), content)
        with zipfile.ZipFile(content) as plain, zipfile.ZipFile(path, "w", 8) as packed:
            for member in plain.infolist():
                packed.writestr(member.filename, plain.read(member))
    return lambda: read_array(path, "floats")


@family("arrays that claim")
def arrays(chance: random.Random, folder: Path) -> Act:
    path = folder / "rankings.npy"
    shape = tuple(chance.randrange(1, 10**7) for _ in range(chance.randrange(1, 4)))
    kind = chance.choice(["<f8", "|O", "|V1000000", "<U10000000", "<i4"])
    header = str({"descr": kind, "fortran_order": False, "shape": shape})
    if chance.random() < 0.3:
        header = "(" * chance.randrange(10, 60_000)
    raw = header.encode().ljust(118)
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(raw)) + raw + bytes(1000))
    return lambda: read_array(path, "numbers", mapped=chance.random() < 0.5)


@family("configurations")
def configurations(chance: random.Random, folder: Path) -> Act:
    path = folder / "c.yaml"
    width, depth = chance.randrange(2, 30), chance.randrange(3, 60)
    digits = chance.randrange(1000, 10**5)
    chain = ["a0: &a0 [1, 2]"]
    chain += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    merged = ["a0: &a0 {x: 1}"]
    merged += [
        f"a{n}: &a{n}\n  k{n}: 1\n  <<: [{', '.join([f'*a{n - 1}'] * width)}]"
        for n in range(1, depth)
    ]
    path.write_text(
        chance.choice(
            [
                "\n".join(chain),
                "\n".join(merged),
                "a: &a [" + "*a, " * width + "]",
                "a: " + "[" * digits,
                "a: " + "{a: " * (digits // 4),
                "a: " + "9" * digits,
                "a: 0x" + "f" * digits,
                "a: 1." + "0" * digits,
                "- " * digits,
                "".join(f"{' ' * n}a:\n" for n in range(width * 10)),
                '"' + "\\x41" * (digits // 4),
                "a: [" + "1, " * (digits // 3) + "]",
                "&a " * (digits // 3),
                "".join(f"k{n}: &k{n} 1\n" for n in range(digits // 10)),
            ]
        )
    )
    return lambda: layers.load_yaml(path)


@family("numbers of many digits")
def digits(chance: random.Random, folder: Path) -> Act:
    path = folder / "interactions.csv"
    many = chance.randrange(1000, 10**5)
    cell = chance.choice(
        [
            "9" * many,
            "0." + "1" * many,
            f"1e{'9' * chance.randrange(5, 30)}",
            f"-1e-{'9' * chance.randrange(5, 30)}",
            "1" * many + "." + "1" * many,
            "2024-01-01T00:00:00." + "9" * many,
            f"{'9' * 300}e{chance.randrange(10**6, 10**9)}",
        ]
    )
    row = ["u", "i", "1", "1"]
    column = chance.randrange(4)
    lines = ["user,item,time,rating"]
    for _ in range(chance.randrange(1, 200)):
        row[column] = cell
        lines.append(",".join(row))
    path.write_text("\n".join(lines))
    return lambda: importing.read(importing.tables_at(path))


@family("manifests")
def manifests(chance: random.Random, folder: Path) -> Act:
    depth = chance.randrange(100, 10**6)
    inside = chance.choice(
        [
            "[" * depth + "]" * depth,
            '{"a":' * depth + "1" + "}" * depth,
            "9" * depth,
            f"1e{'9' * chance.randrange(3, 30)}",
            '"' + "\\u001b" * (depth // 6) + '"',
        ]
    )
    key = chance.choice(["recipe", "metrics", "notes", "files", "id_base", "members"])
    (folder / "teacher.json").write_text(
        f'{{"name": "t", "dataset": "d", "signals": ["embeddings"], "{key}": {inside}}}'
    )
    return lambda: json.dumps(read_manifest(folder).model_dump())


@family("sources of plug-ins")
def sources(chance: random.Random, folder: Path) -> Act:
    path = folder / "plugin.py"
    many = chance.randrange(500, 10**5)
    path.write_text(
        chance.choice(
            [
                "x = " + "-" * many + "1",
                "x = " + "1+" * many + "1",
                "x = a" + ".b" * many,
                "x = " + "(" * many,
                "x = [" + "1," * many + "]",
                "x = " + "lambda: " * many + "1",
                "x = " + "9" * many,
                "@register_method(" + "-" * many + "1)\nclass A: pass",
                "@a" + ".b" * many + ".register_method('x')\nclass A: pass",
                "if a: pass\n" + "elif b: pass\n" * many,
                "x = f'" + "{x}" * many + "'",
            ]
        )
    )
    return lambda: (list(decorated_classes(path, "register_method")), code_digest(path))


@family("archives of records")
def records(chance: random.Random, folder: Path) -> Act:
    key = "0" * 64
    inside = chance.choice(
        [
            lambda n: b" " * n,
            lambda n: b'{"settings": {"a": ' + b"[]," * (n // 3),
            lambda n: b'{"settings": ' + b'{"a":' * (n // 5),
            lambda n: b'{"epochs": ' + b"9" * n,
        ]
    )(chance.randrange(10**4, 2 * 10**8))
    if chance.random() < 0.3:
        (folder / key).mkdir()
        (folder / key / "record.json").write_bytes(inside)
    else:
        with zipfile.ZipFile(folder / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{key}/record.json", inside)
            archive.writestr(f"{key}/ranks.npy", b"")
    return lambda: ResultStore(folder).records()


class Endless(BaseHTTPRequestHandler):
    """Sends without end, or says that it will."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/chunks/SIZE/...`, `/says/BYTES/...` or `/trickle/BYTES/...`."""
        _, how, size, _ = self.path.split("/", 3)
        self.close_connection = True
        self.send_response(200)
        if how == "chunks":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", size)
        self.end_headers()
        block = bytes(MB)
        try:
            while how == "chunks":
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            while how == "says":
                self.wfile.write(block)
            while how == "trickle":
                self.wfile.write(b"\x00")
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        pass


@family("downloads")
def downloads(chance: random.Random, folder: Path) -> Act:
    how = chance.choice(["chunks", "says", "says", "trickle"])
    size = chance.choice([10, 10**6, 10**12, 10**18])
    name = chance.choice(["f.bin", "f.csv", "f.gz"])

    def act() -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/{how}/{size}/{name}"
            if how == "trickle":  # a minute otherwise
                download.limits.PATIENCE = 2.0
            try:
                download.fetch(Download(urls=[url]), folder)
            finally:
                server.shutdown()

    return act


@dataclass(frozen=True)
class Cost:
    """What reading a bomb took.

    Attributes:
        family: of the bomb.
        end: `refused`, `read`, `defect` or `killed`.
        words: what the reader said.
        memory: bytes at most, those of Python included.
        seconds: of the processor.
    """

    family: str
    end: str
    words: str
    memory: int
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the bomb did no harm."""
        cheap = self.memory < MEMORY and self.seconds < SECONDS
        return cheap and self.end in ("refused", "read")


def measured(name: str, seed: int) -> Cost:
    """Make a bomb and read it, in a process of its own."""
    receiving, sending = os.pipe()
    with tempfile.TemporaryDirectory(prefix="bomb-") as place:
        process = os.fork()
        if process == 0:
            os.close(receiving)
            _read_and_leave(name, seed, Path(place), sending)
        os.close(sending)
        with os.fdopen(receiving, "rb") as stream:
            said = stream.read()
        _, status = os.waitpid(process, 0)
    if not said:
        return Cost(name, "killed", f"by signal {status & 127}", MEMORY, float(GIVEN_UP))
    return Cost(name, *json.loads(said))


def _read_and_leave(name: str, seed: int, folder: Path, sending: int) -> None:
    warnings.simplefilter("ignore")
    act = FAMILIES[name](random.Random(seed), folder)  # noqa: S311 - no secret
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget what making it took
    begun = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(begun) + GIVEN_UP, int(begun) + GIVEN_UP))
    try:
        words = str(act())[:100]
        end = "read"
    except (BenchError, Unreadable) as error:
        end, words = "refused", str(error)
    except BaseException:
        end, words = "defect", traceback.format_exc()
    cost = (end, words, _peak(), time.process_time() - begun)
    with os.fdopen(sending, "w") as stream:
        json.dump(cost, stream)
    os._exit(0)


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def table(costs: list[Cost]) -> str:
    """A line for each family: how its members ended and what the costliest of them took."""
    lines = [
        "| family | bombs | refused | read | not met | peak memory | processor |",
        "|---|---|---|---|---|---|---|",
    ]
    names = dict.fromkeys(cost.family for cost in costs)
    groups = {name: [cost for cost in costs if cost.family == name] for name in names}
    for name, members in {**groups, "all": costs}.items():
        ends = Counter(cost.end for cost in members)
        lines.append(
            f"| {name} | {len(members)} | {ends['refused']} | {ends['read']} "
            f"| {sum(not cost.met for cost in members)} "
            f"| {max(cost.memory for cost in members) >> 20} MiB "
            f"| {max(cost.seconds for cost in members):.1f} s |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure bombs of all families; 1 where one was not met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    asked = parser.parse_args()
    chosen = asked.family or list(FAMILIES)
    costs = []
    for number in range(asked.count):
        name = chosen[number % len(chosen)]
        cost = measured(name, asked.seed + number)
        costs.append(cost)
        if not cost.met:
            print(f"{name}, --seed {asked.seed + number}: {cost}", file=sys.stderr, flush=True)  # noqa: T201
    costs.sort(key=lambda cost: chosen.index(cost.family))
    print(table(costs))  # noqa: T201
    return int(not all(cost.met for cost in costs))


if __name__ == "__main__":
    sys.exit(main())
