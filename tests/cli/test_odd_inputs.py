"""Odd arguments, files and plug-ins: each ends in its own sentence, and none is the suite's error.

They are of kinds: numbers that Python does not print, texts that no file holds, values that are no
settings, files that never end, and code that raises what nobody catches.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.paths import Workspace
from bench.registry import MethodEntry, SourceRegistry

from .conftest import bench

LONG = "9" * 5000
PLANNED = ["run", "--method", "none", "--dataset", "movielens", "--dry-run"]
EPOCHS = "training.max_epochs"
EMPTY = "is empty: leave it out, or give it a value"
NUL = "the character 0, which no name and no path can have"
FORM = "expected key=value, such as"

SETTINGS = {
    LONG: "line 1: no whole number: Exceeds the limit",
    f"0x{'f' * 90}": "must be a number that 64 bits hold",
    "9" * 30: "must be a number that 64 bits hold",
    "1e400": "must be a finite number (given: inf)",
    ".nan": "must be a finite number (given: nan)",
    "2024-01-01": "should be a valid integer",
    "!!timestamp 2024-01-01": "is a date: a text, number or truth is expected",
    "!!timestamp 2024-99-99": "a value is not what its tag says",
    "!!set {a}": "is a set: a text, number or truth is expected",
    "!!binary aGk=": "is a bytes: a text, number or truth is expected",
    "!!int x": "no whole number: invalid literal",
    "!!float x": "a value is not what its tag says",
    "!!bool maybe": "a value is not what its tag says",
    "!!omap [a]": "expected a mapping of length 1",
    "!!python/object:os.system x": "could not determine a constructor for the tag",
    "{? [1] : 2}": "found unhashable key",
    "{a: 1, a: 2}": "key 'a' is written twice",
    "a: b: c": "mapping values are not allowed here",
    "'": "found unexpected end of stream",
    "[[": "expected the node content",
    "[" * 2000: "nested too deep",
    "&a [*a]": "nested too deep, or within itself",
    "*a": "found undefined alias 'a'",
    '"\\ud800"': "holds half a character, which is no text",
    "true": "a number is expected (given: True)",
    "1.5": "a number with a fractional part",
}

ARGUMENTS = {
    ("--set", ""): EMPTY,
    ("--set", "x"): FORM,
    ("--set", "=1"): FORM,
    ("--set", "training.=1"): FORM,
    ("--set", "training..max_epochs=1"): FORM,
    ("--set", "training=1"): "expected section.key=value. Sections: training, student",
    ("--set", f"{EPOCHS}.x=1"): "should be a valid integer",
    ("--set", "\x1b[31m=1"): "\\u001b[31m=1: expected section.key=value",
    ("--seeds", f"0-{LONG}"): "expected such as 0-4 or 0,2,5",
    ("--seeds", "²"): "expected such as 0-4 or 0,2,5",
    ("--seeds", "5-1"): "'5-1' is no range of seeds",
    ("--jobs", LONG): "is neither a number from 1 to 9999 nor auto",
    ("--jobs", "²"): "is neither a number from 1 to 9999 nor auto",
    ("--threads", LONG): "is not a valid integer range",
    ("--share", f"{LONG}/{LONG}"): "is no share: write such as 3/8",
    ("--share", "3/2"): "is no share: write such as 3/8",
    ("--device", f"cuda:{LONG}"): "not available here. Allowed: auto",
    ("--device", "meta"): "--device meta: not available here",
    ("--dataset", ""): EMPTY,
    ("--dataset", "../x"): "unknown dataset '../x'. Allowed:",
    ("--dataset", "x" * 300): "unknown dataset",
    ("--dataset", "\udcff"): "is no text in UTF-8, and no file either",
    ("--teacher", LONG): "File name too long",
    ("--plugin", LONG): "File name too long",
    ("--suite", ".."): "unknown suite '..'. Allowed:",
    ("--results=",): EMPTY,
    ("--results", "x\0y"): NUL,
}

COMMANDS = {
    ("data", "import", "shop", LONG): "File name too long",
    ("data", "import", "shop", "x\0y"): NUL,
    ("teacher", "check", "-d", "movielens", LONG): "File name too long",
    (
        "report",
        "--metric",
        f"ndcg@{LONG}",
    ): "a cutoff is at least 1, at most 2,147,483,647",
    ("report", "--metric", "ndcg@0"): "a cutoff is at least 1, at most 2,147,483,647",
    ("report", "--metric", "ndcg@²"): "is not a metric; write FAMILY@K",
    ("report", "--serve", "--address", f"localhost:{LONG}"): "expected HOST:PORT",
    ("report", "--serve", "--address", "\udcff:1"): "is no text in UTF-8, and no file either",
    ("report", "--serve", "--address", f"{'x' * 300}:1"): "cannot be listened on",
    ("report", "--output", ""): EMPTY,
    ("report", "--output", "."): "File '.' is a directory",
    ("export", "../.."): "unknown key of a finished trial",
    ("export", "x" * 5000): "unknown key of a finished trial",
    ("doctor", "--locks", "nowhere"): "Directory 'nowhere' does not exist",
    ("results", "merge", "/dev/null"): "neither a folder nor an archive",
    ("work", "-m", "none", "-d", "movielens", "--until", f"{LONG}m"): "is no duration: write",
    ("work", "-m", "none", "-d", "movielens", "--until", "soon"): "is no duration: write",
}

LINES = {
    **{(*PLANNED, "--set", f"{EPOCHS}={value}"): said for value, said in SETTINGS.items()},
    **{(*PLANNED, *words): said for words, said in ARGUMENTS.items()},
    **COMMANDS,
}


def shortened(value: object) -> str | None:
    if isinstance(value, tuple):
        return " ".join(value[-2:])[:40].encode("unicode_escape").decode()
    return ""


def refused(*line: str, said: str) -> None:
    done = bench(*line)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "Error in the suite" not in done.stderr and len(done.stderr) < 3000


@pytest.mark.parametrize(("line", "said"), LINES.items(), ids=shortened)
def test_arguments(line: tuple[str, ...], said: str) -> None:
    refused(*line, said=said)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BENCH_LIMITS", LONG, "a whole number from 1 to 1000000 is expected"),
        ("BENCH_LIMITS", f"0000000001{LONG}", "a whole number from 1 to 1000000 is expected"),
        ("BENCH_LIMITS", "²", "a whole number from 1 to 1000000 is expected"),
    ],
)
def test_variables(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    refused(*PLANNED, said=said)


def zipped(flag: int = 0, method: int = 8) -> bytes:
    """An archive of one table, with a flag and a method of packing that are not its own."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", "user,item,time\n" + "a,b,1\n" * 50)
    raw = bytearray(content.getvalue())
    central = raw.find(b"PK\x01\x02")
    raw[6] |= flag
    raw[central + 8] |= flag
    raw[8] = raw[central + 10] = method
    return bytes(raw)


HEAD = b"user,item,time\n"
TABLES: dict[str, tuple[bytes, str]] = {
    "cut.csv.gz": (b"\x1f\x8b\x08\x00", "damaged or cut off"),
    "empty.csv": (b"", "empty"),
    "time.csv": (HEAD + b"a,b," + LONG.encode() + b"\n" * 3, "time"),
    "half.json": (b'[{"user": "\\ud800", "item": "a", "time": 3}]', "half.json"),
    "deep.json": (b"[" * 100_000, "deep.json"),
    "cut.parquet": (b"PAR1PAR1", "cut.parquet"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    content, said = TABLES[name]
    (tmp_path / name).write_bytes(content)
    refused("data", "import", "shop", str(tmp_path / name), said=said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped(flag=1), "member 't.csv' is encrypted; decrypt it"),
        (zipped(method=99), "member 't.csv' is packed with method 99, which is not read"),
        (zipped()[:-30], "not an archive of records that can be read"),
    ],
    ids=["encrypted", "packed", "cut"],
)
def test_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    (tmp_path / "odd.zip").write_bytes(content)
    refused("results", "merge", str(tmp_path / "odd.zip"), said=said)
    refused("report", "--results", str(tmp_path / "odd.zip"), said=said)


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_what_never_ends_is_not_read(
    tiny: Workspace, tiny_teacher: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tiny.home))
    path = tiny.home / name
    if name == "pipe":
        os.mkfifo(path)
    np.save(tiny.home / "vectors.npy", np.ones((20, 4), dtype=np.float32))
    vectors = f"embeddings={tiny.home / 'vectors.npy'}"
    importing = ["teacher", "import", "-d", "tiny", "--name", "mine"]
    refused("data", "import", "shop", str(path), said="is a pipe or a device")
    refused(*importing, f"embeddings={path}", said=path.name)
    refused(*importing, vectors, "--items", str(path), said="is no ordinary file")
    refused("data", "import", "shop", str(tiny.home / "interactions.csv"), "--items", str(path),
            said="is a pipe or a device")  # fmt: skip
    refused("list", "methods", "--plugin", str(path), said="no such file")


IMPORTS = "from bench.distillation import Method\nfrom bench.registry import register_method\n"
CLASS = 'class Odd(Method):\n    """Odd."""\n'
NAMED = f'{IMPORTS}@register_method("odd")\n{CLASS}'
SOURCES = {
    "x = " + "-" * 50_000 + "1": "nested too deep",
    "x = a" + ".b" * 9000: "nested too deep",
    f"x = {LONG}": "Exceeds the limit",
    "x = '\0'": "null bytes",
    "1," * 200_000: "has more than 262,144 bytes",
    "# coding: nonsense\nx = 1": "no class decorated with @register_method",
    f"{IMPORTS}@register_method()\n{CLASS}": "takes one name: write register_method",
    f"{IMPORTS}@register_method(*names)\n{CLASS}": "is read without being run",
    f"{IMPORTS}@register_method('a' * 10**10)\n{CLASS}": "is read without being run",
    f"{IMPORTS}@register_method(5)\n{CLASS}": "'name'",
    f"{IMPORTS}@register_method('A B')\n{CLASS}": "'A B' is no name: write it in kebab-case",
    f"{IMPORTS}@register_method('\\ud800')\n{CLASS}": "half a character, which is no text",
    f"{IMPORTS}@register_method('none')\n{CLASS}": "two methods are called 'none'",
    f"{IMPORTS}@register_method('odd', needs={{1, 2}})\n{CLASS}": "'needs",
    f"{IMPORTS}@register_method('odd', needs={{'x'}})\n{CLASS}": "'needs",
    f"{IMPORTS}@register_method('odd', **more)\n{CLASS}": "is read without being run",
    f"{IMPORTS}@register_method('odd', knows={{'x'}})\n{CLASS}": "unknown argument 'knows'",
}


@pytest.mark.parametrize(("source", "said"), SOURCES.items(), ids=lambda text: text[-30:-1])
def test_plug_ins(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "plugin.py").write_text(source)
    refused("list", "methods", "--plugin", str(tmp_path / "plugin.py"), said=said)


RAISED = {
    "raise GeneratorExit": "GeneratorExit",
    "raise SystemExit(0)": "SystemExit: 0",
    "raise MemoryError": "MemoryError",
    "def f(): f()\nf()": "RecursionError",
    "class E(BaseException): pass\nraise E('text')": "E: text",
    "class E(Exception):\n    def __str__(self): 1 / 0\nraise E": "(no message: ZeroDivisionError)",
    "raise ValueError('\\ud800')": "ValueError: \\ud800",
}


@pytest.mark.parametrize(("line", "said"), RAISED.items())
def test_plug_ins_that_raise_when_they_are_imported(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(f"{NAMED}{line}\n")
    methods: SourceRegistry[Any, MethodEntry] = SourceRegistry(
        "method", MethodEntry, "bench.distillation:Method", "method", tmp_path / "none"
    )
    methods.add_plugin(path)
    with pytest.raises(ConfigError) as caught:
        methods.load("odd")
    assert f"method 'odd' cannot be imported from {path}: " in str(caught.value)
    assert said.encode().decode("unicode_escape") in str(caught.value)
