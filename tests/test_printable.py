"""What data cannot do to a terminal, to a screen, to a spreadsheet."""

from __future__ import annotations

import ast
import csv
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.paths import PACKAGE
from bench.printable import LINES, WIDTH, for_screen, for_spreadsheet, for_terminal

ODD = "\x1b[2J\x07\r\x7f\x9b\u202e\u2028\udcff"


@given(st.text(st.characters(exclude_categories=[])))
def test_a_terminal_obeys_nothing(text: str) -> None:
    shown = for_terminal(text + ODD)
    kinds = {unicodedata.category(character) for character in set(shown) - {"\n", "\t"}}
    assert not kinds & {"Cc", "Cs", "Zl"}
    assert not set("\u202e\u2066") & set(shown)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_stays_the_same(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    assert json.loads(for_terminal(written)) == text


def test_a_message_is_no_longer_than_a_screen() -> None:
    assert for_screen("one\ntwo") == "one\ntwo"
    long = for_screen("names: " + "x" * 10**6 + " Allowed: y")
    assert len(long) < WIDTH + 60 and long.endswith("Allowed: y") and "(998,818 char" in long
    many = for_screen("\n".join(map(str, range(1000)))).splitlines()
    assert len(many) == LINES + 1 and many[-1] == "... and 960 lines more"


@given(st.text("=+-@\t\r'ab,\"\n"))
def test_a_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = for_spreadsheet(text)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")
    stream = io.StringIO()
    csv.writer(stream).writerow([cell, "end"])
    read = next(csv.reader(io.StringIO(stream.getvalue(), newline="")))[0]
    formula = read.startswith("'") and read.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r")
    assert (read[1:] if formula else read) == text or "\r" in text


@pytest.mark.parametrize("value", [-1.5, None, 3])
def test_numbers_stay(value: object) -> None:
    assert for_spreadsheet(value) is value


def test_commands_print_through_one_place() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        if path.name in ("printing.py", "main.py"):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        assert not names & {"click.echo", "click.secho", "print"}, path
