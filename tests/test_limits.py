"""Files that are made to exhaust a machine: each is refused in a sentence, at once."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import layers, limits
from bench.data.sources.archives import check_whole, lines_of
from bench.data.sources.importing import read, tables_at
from bench.data.sources.pickled import read_pickled
from bench.data.sources.tables import read_table
from bench.errors import BenchError, ConfigError, DataError
from bench.limits import Budget, TooMuch, weight
from bench.source import code_digest
from bench.teachers.reading import Unreadable, read_array

MB = 1 << 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that cost less are enough."""
    monkeypatch.setattr(limits, "FREE_BYTES", 4 * MB)
    monkeypatch.setattr(limits, "FREE_CELLS", 200_000)
    monkeypatch.setattr(limits, "LINE", MB)


def grown(path: Path) -> Path:
    """A tar archive, packed to a few kilobytes, of one empty file and 8 MB of zeros behind it."""
    pack = bz2.BZ2File if path.suffix == ".bz2" else gzip.GzipFile
    with pack(path, "wb") as stream:
        for name, size in (("zeros", 8 * MB), ("t.csv", 0)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            stream.write(entry.tobuf())
            for _ in range(size // MB):
                stream.write(bytes(MB))
        stream.write(bytes(1024))
    return path


def a_huge_header(path: Path) -> Path:
    """A tar archive with a name that says it has 4 GB."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(MB)))
    return path


def overlapping(path: Path) -> Path:
    """A zip archive of 20 members that are all the same 150 KB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.csv", bytes(150_000))
        first = archive.filelist[0]
        for number in range(1, 20):
            twin = zipfile.ZipInfo(f"{number}.csv")
            for part in ("compress_type", "compress_size", "file_size", "CRC", "header_offset"):
                setattr(twin, part, getattr(first, part))
            archive.filelist.append(twin)
        archive._didModify = True
    return path


def encrypted(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", b"user,item\n")
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag, in the member's own header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (grown, "t.tar.bz2", "unpacks to more than 4,194,304 bytes"),
        (grown, "t.tgz", "unpacks to more than"),
        (a_huge_header, "t.tgz", "damaged or cut off"),
        (overlapping, "t.zip", "lie over one another"),
        (encrypted, "t.zip", "member 't.csv' is encrypted"),
    ],
)
def test_archives(tmp_path: Path, make: Callable[[Path], Path], name: str, said: str) -> None:
    path = make(tmp_path / name)
    with pytest.raises(DataError, match=said):
        check_whole(path)
    with pytest.raises(DataError, match=said), lines_of(path, "*.csv") as lines:
        list(lines)


def packed(path: Path, block: bytes, times: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(b"a,b\n" if ".csv" in path.name else b"a\tb\tc\n")
        for _ in range(times):
            stream.write(block)
    return path


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "block", "said"),
    [
        ("one-line.csv.gz", b"0" * MB, "a line of more than 1,048,576 bytes"),
        ("empty-lines.csv.gz", b"\n" * MB, "more than [0-9,]+ cells"),
        ("short-rows.csv.gz", b"12,3456\n" * (MB // 8), "more than [0-9,]+ cells"),
        ("wide.tsv.gz", b"\t" * MB + b"\n", "more than [0-9,]+ cells|unpacks to more"),
        ("open-quotes.tsv.gz", b'a\tb\t"c\n' * (MB // 8), "quotes that close nowhere"),
    ],
)
def test_packed_tables(tmp_path: Path, name: str, block: bytes, said: str) -> None:
    path = packed(tmp_path / name, block, 6)
    with pytest.raises(TooMuch, match=said):
        read_table(path)


def test_a_header_without_names(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n\n\n")
    with pytest.raises(DataError, match="names no column"):
        read_table(path)


@pytest.mark.usefixtures("small")
def test_a_parquet_table_of_nothing(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"user": pyarrow.nulls(10**6, pyarrow.int64())}), path)
    with pytest.raises(TooMuch, match=r"more than [0-9,]+ cells"):
        read_table(path)


@pytest.mark.usefixtures("small")
def test_texts_that_stand_once_and_count_often(tmp_path: Path) -> None:
    """A dictionary of one text of a megabyte, which 20 rows name."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    text = pyarrow.DictionaryArray.from_arrays(np.zeros(20, np.int32), ["x" * MB])
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"title": text}), path)
    with pytest.raises(TooMuch, match="unpacks to more than"):
        read_table(path)


def test_a_table_that_says_there_are_many_items(tmp_path: Path) -> None:
    row = "seq,len_seq,next\n[0],1,1\n"
    for name in ("train_data", "val_data", "test_data"):
        (tmp_path / f"{name}.csv").write_text(row.replace("[0]", '"[0]"'))
    statistics = tmp_path / "data_statis.csv"
    statistics.write_text("seq_size,item_num\n1,1000000000")
    with pytest.raises(TooMuch, match=r"more than [0-9,]+ cells"):
        read(tables_at(tmp_path))
    statistics.write_text("seq_size,item_num\n1,3")
    assert len(read(tables_at(tmp_path)).item_tokens) == 3


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def call(module: str, name: str, arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + arguments + pickle.REDUCE


NESTED = b"]\x94" + b"".join(b"](" + b"h%c" % n * 9 + b"e\x94" for n in range(20))
"""Lists of nine times the list before, 20 deep."""
TUPLES = b"N\x94" + b"".join(b"h%ch%c\x86\x94" % (n, n) for n in range(60))
"""Pairs of the pair before, 60 deep: their hash is 2^60 hashes."""
BILLION = b"\x8a\x05" + (10**10).to_bytes(5, "little")

PICKLES = {
    "bytes of a length": call("builtins", "bytes", BILLION + b"\x85"),
    "bytearray of a length": call("builtins", "bytearray", BILLION + b"\x85"),
    "bytearray that says it is long": b"\x96" + struct.pack("<Q", 8 << 30) + b"x",
    "array of a shape": call("numpy", "ndarray", BILLION + b"\x85\x85"),
    "array of a shape, reconstructed": call(
        "numpy._core.multiarray", "_reconstruct", b"cnumpy\nndarray\n" + BILLION + b"\x85C\x01b\x87"
    ),
    "array whose state has a shape": call(
        "numpy._core.multiarray", "_reconstruct", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87"
    )
    + b"(K\x01"
    + BILLION
    + b"\x85"
    + call("numpy", "dtype", b"\x8c\x02O8\x89\x88\x87")
    + b"\x89]tb",
    "lists in lists as an index": call("pandas", "Index", NESTED + b"\x85"),
    "lists in lists as encoded text": call("_codecs", "encode", NESTED + b"\x8c\x06latin1\x86"),
    "an encoding that grows": call("_codecs", "encode", b"\x8c\x01x\x8c\x05utf-7\x86"),
    "tuples as a name": b"}" + TUPLES + b"Ns",
    "tuples as names": b"}(" + TUPLES + b"Nu",
    "tuples in a set": b"\x8f(" + TUPLES + b"\x90",
    "a list within itself": call("pandas", "Index", b"]\x94h\x00a\x85"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.df"
    path.write_bytes(opcodes(PICKLES[name]))
    with pytest.raises(DataError, match=r"t\.df: ") as refusal:
        read_pickled(path)
    assert len(str(refusal.value)) < 1000


@pytest.mark.usefixtures("small")
def test_one_list_in_every_row_of_a_pickle(tmp_path: Path) -> None:
    shared = list(range(10_000))
    frame = pd.DataFrame({"seq": pd.Series([shared] * 500, dtype=object)})
    path = tmp_path / "t.df"
    path.write_bytes(pickle.dumps(frame))
    with pytest.raises(TooMuch, match=r"more than [0-9,]+ cells"):
        read_pickled(path)


@pytest.mark.usefixtures("small")
def test_tensors_that_are_views(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "all_embeddings.pt"
    for value, said in (
        (torch.zeros(1).expand(10**6, 10**6), "a view of fewer numbers"),
        (torch.empty(10**6, 10**6, device="meta"), "on the device meta"),
        (torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8), "of torch.qint8"),
        (torch.zeros(3, dtype=torch.complex64), "of torch.complex64"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "of different lengths"),
    ):
        torch.save(value, path)
        with pytest.raises(Unreadable, match=said):
            read_array(path, "floats")
    content = io.BytesIO()
    torch.save(torch.zeros(2 * MB), content)
    with zipfile.ZipFile(content) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in plain.infolist():
            new.writestr(member.filename, plain.read(member))
    with pytest.raises(Unreadable, match="unpacks to more than"):
        read_array(path, "floats")


CHAIN = "a0: &a0 [1, 2]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  k{n}: 1\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CHAIN, "stands for more than 100,000 values"),
        ("a: &a [*a]", "nested too deep, or within itself"),
        ("a: " + "[" * 5_000, "nested too deep"),
        ("a: " + "1" * 5000, "no whole number"),
        ("a: 0x" + "f" * 5000, "64 bits"),
        ("a: " + "1, " * 100_000, "300,003 characters are no configuration"),
        ("a: !!timestamp 2024-01-01", "'a' is a date"),
        ("a: !!timestamp 2024-99-01", "not what its tag says"),
        ("a: !!binary aGk=", "'a' is a bytes"),
        ("a: !!set {b}", "'a' is a set"),
    ],
    ids=lambda text: text[:12],
)
def test_configurations(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        layers.load_yaml(path)


def test_merged_mappings_that_merge_others(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(MERGED)
    try:
        assert len(layers.load_yaml(path)) == 12  # newer releases of PyYAML take each key once
    except ConfigError as error:
        assert "stands for more than 100,000 values" in str(error)


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "-" * 50_000 + "1",
        "x = " + "1+" * 5000 + "1",
        "x = a" + ".b" * 5000,
        "1," * 200_000,
    ],
    ids=["signs", "sums", "attributes", "long"],
)
def test_sources(tmp_path: Path, source: str) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(source)
    with pytest.raises(BenchError, match=r"nested too deep|more than 262,144 bytes"):
        code_digest(path)


def test_what_a_value_weighs() -> None:
    assert weight(3) == 1
    assert weight([1, [2, (3,)], {"a": 4}]) == 9
    shared = [1, 2]
    assert weight([shared, shared]) == weight([[1, 2], [1, 2]])


def test_depth_that_only_a_second_look_shows() -> None:
    chain: list[object] = [[]]
    for _ in range(2 * limits.DEPTH):
        chain.append([chain[-1]])
    with pytest.raises(RecursionError):
        weight(chain)  # each was weighed before the one that holds it


def test_more_is_allowed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget("x", 10)
    with pytest.raises(TooMuch, match=r"x: unpacks to more than .*BENCH_LIMITS=10 allows ten"):
        budget.unpacked(limits.FREE_BYTES + 1)
    monkeypatch.setenv(limits.VARIABLE, "10")
    Budget("x", 10).unpacked(10 * limits.FREE_BYTES)
    monkeypatch.setenv(limits.VARIABLE, "all")
    with pytest.raises(ConfigError, match="BENCH_LIMITS=all: a whole number"):
        Budget("x", 10)


def test_memory_that_nothing_counts(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    if not Path("/proc/self/statm").is_file():
        pytest.skip("the system cannot hold a process to an amount of memory")
    with pytest.raises(TooMuch, match="needs too much memory"), limits.reading(tmp_path):
        bytearray(2 << 30)
    bytearray(700 * MB)  # as before


def test_honest_tables_are_far_from_all_limits(tmp_path: Path) -> None:
    """Of 200,000 rows with as little in them as honest rows can have."""
    chance = random.Random(7)  # noqa: S311 - no secret
    rows = [f"user-{n // 50:08d},{chance.randrange(300)},{n},5\n" for n in range(200_000)]
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress("".join(["user,item,time,rating\n", *rows]).encode(), 9))
    budget = Budget(path, path.stat().st_size)
    with lines_of(path) as lines:
        budget.cells(2 * 4 * 200_000)
        assert sum(1 for _ in lines) == 200_001
