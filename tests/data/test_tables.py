"""The one reader of tables: what is written is what is read, or is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.order import stable_order
from bench.data.sources import log
from bench.data.sources.columns import Cells
from bench.data.sources.log import Tokens, token_of
from bench.data.sources.records import SPLITTERS, columns_of
from bench.data.sources.tables import CHUNK, open_table, read_table
from bench.errors import DataError


def table(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lists(path: Path) -> dict[str, list[str]]:
    return {str(name): column.tolist() for name, column in read_table(path).items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "a,b\n1,x\n2,y\n"),
        ("t.CSV", "a,b\r\n1,x\r\n\r\n2,y"),
        ("t.csv", "\ufeffa,b\n1,x\n2,y\n\n\n"),
        ("t.csv", "a, b\n1, x\n2 , y \n"),
        ("t.csv", "a,b,,\n1,x,,\n2,y,,\n"),
        ("t.csv", "sep=;\na;b\n1;x\n2;y\n"),
        ("t.csv", ",Unnamed: 0,a,b\n0,0,1,x\n1,1,2,y\n"),
        ("t.csv", '"a","b"\n"1",1,"x"\n"7",2,"y"\n'),
        ("t.tsv", '"a"\t"b"\n"1"\t"x"\n2\ty\n'),
        ("t.tsv", '"a"\t"b"\n"1"\t1\t"x"\n"2"\t2\t"y"\n'),
        ("t.inter", "a:token\tb:token_seq\n1\tx\n2\ty\n"),
    ],
    ids=[
        *("plain", "dos", "mark", "blanks", "empty columns", "sep line"),
        *("pandas index", "row names of R", "quoted header", "R with tabs", "RecBole"),
    ],
)
def test_one_table_as_many_programs_write_it(tmp_path, name, content):
    found = lists(table(tmp_path, content, name))
    assert {key: found[key] for key in "ab"} == {"a": ["1", "2"], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "a,b\n1,x,\n2,y\n", r"row 1: has too many fields"),
        ("t.csv", "a,b\n1,x\n2,y,z\n", r"row 2: has too many fields: 3 under a header of 2"),
        ("t.csv", "a,b\n1,God, The\n2,Sea, The\n", r"row 1: has too many .* \(2 such rows of 2\)"),
        ("t.csv", "a,b\n1\n", r"row 1: has too few fields: 1 under a header of 2 \(a, b\)"),
        ("t.csv", "# made in 2020\na,b\n1,x\n", r"row 1: has too many fields"),
        ("t.csv", 'a,b\n1,"x" y\n', r"line 2: ',' expected after '\"'"),
        ("t.csv", 'a,b\n1,"say \\"x\\""\n', r"line 2: ',' expected after '\"'"),
        ("t.csv", 'a,b\n1,"x\n', r"line 2: unexpected end of data"),
        (
            "t.csv",
            "a,b\n1,\udcff\n".encode("utf-8", "surrogateescape"),
            r"line 2 cannot be read as",
        ),
        ("t.csv", "a,b\n1,x\n".encode("utf-16"), r"it is in UTF-16; save it in UTF-8"),
        ("t.csv", "a:token,a\n1,x\n", r"column 'a' stands twice"),
        ("t.csv", "a:x,a:y\n1,x,z\n", r"under a header of 2 \(a:x, a:y\)"),
        ("t.xlsx", "", r"unknown kind of table"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, content, name))


def test_lists_in_parquet_are_refused_with_the_reason(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"user": [["a"]], "item": ["x"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column 'user' holds list.*a row for each item"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("content", "titles"),
    [
        ('1\t"Line one\nline two"\n2\ty\n', ["Line one\nline two", "y"]),
        ('1\t"a\n\nb"\n2\t"c\td"\n', ["a\n\nb", "c\td"]),
        ('1\t"Weird Al" Yankovic\n2\t"A" and "B"\n', ['"Weird Al" Yankovic', '"A" and "B"']),
        ('1\t"One\n2\tTwo"\n', ['"One', 'Two"']),
        ('1\t"One\n2\t"Two\n', ['"One', '"Two']),
        ('1\t5" floppy\n2\t"say ""x"""\n', ['5" floppy', 'say "x"']),
    ],
    ids=["line end", "several", "quotes in titles", "two rows", "open quotes", "pairs"],
)
def test_quotes_between_tabs_are_read_as_spreadsheets_write_them(tmp_path, content, titles):
    assert lists(table(tmp_path, "id\ttitle\n" + content, "t.tsv"))["title"] == titles


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)


@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5), st.sampled_from(",\t"))
def test_what_python_writes_comes_back(tmp_path_factory, rows, separator):
    """Save for the blanks around a field, which no reader of ids may mind."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    writer.writerows([("a", "b", "c"), *rows])
    name = "t.csv" if separator == "," else "t.tsv"
    path = table(tmp_path_factory.mktemp("any"), stream.getvalue(), name)
    try:
        found = read_table(path)
    except DataError:
        assert separator == "\t", "only between tabs quotes can mean two things"
        return
    expected = [tuple(field.strip() for field in row) for row in rows]
    assert list(found.itertuples(index=False, name=None)) == expected


def test_rows_keep_their_numbers(tmp_path):
    path = table(tmp_path, "a,b\n1,x\n\n3,y\n")
    assert read_table(path).index.tolist() == [1, 3]


def test_a_share_of_bad_rows_is_skipped_and_told(tmp_path):
    good = "".join(f'{{"a": {n}}}\n' for n in range(199))
    with open_table(table(tmp_path, good + "{\n", "t.json"), tolerance=0.01) as rows:
        found = [value for chunk in rows.chunks({"a": "a"}) for value in chunk["a"].values]
    assert found == list(range(199))
    assert rows.faults.report()[0].startswith("skipped 1 rows of t.json (first: row 200: no record")
    with (
        pytest.raises(DataError, match=r"row 200: no record.*\(3 such rows of 202\)"),
        open_table(table(tmp_path, good + "{\n" * 3, "t.json"), tolerance=0.01) as rows,
    ):
        list(rows.chunks({"a": "a"}))


fields = st.text('ab1 ,\t:"\r', max_size=4)


@pytest.mark.parametrize("form", ["csv", "tsv", "dat"])
@given(
    rows=st.lists(st.lists(fields, min_size=1, max_size=3), min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n", ""]),
)
def test_lines_that_are_divided_at_once_are_divided_as_each_alone(form, rows, end):
    split = SPLITTERS[form]
    separator = {"csv": ",", "tsv": "\t", "dat": "::"}[form]
    lines = [separator.join(row) + "\n" for row in rows]
    lines[-1] = lines[-1][:-1] + end
    lines = list(filter(None, lines))
    columns = columns_of(lines, split) if lines else None
    if columns is not None:
        assert list(map(list, zip(*columns, strict=True))) == list(split(iter(lines), "t"))


def test_most_lines_are_divided_at_once():
    lines = [f"u{n},i{n},{n}\r\n" for n in range(5)]
    assert columns_of(lines, SPLITTERS["csv"])[2] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("at", [0, CHUNK - 1, CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_quote_anywhere_is_read_as_one(tmp_path, at, name):
    separator = "," if name == "t.csv" else "\t"
    titles = [f"t{n}" for n in range(3 * CHUNK)]
    titles[at] = f"a{separator}b"
    rows = (
        f'{n}{separator}"{t}"\n' if n == at else f"{n}{separator}{t}\n"
        for n, t in enumerate(titles)
    )
    path = table(tmp_path, f"id{separator}title\n" + "".join(rows), name)
    assert lists(path) == {"id": [str(n) for n in range(3 * CHUNK)], "title": titles}


def test_the_line_of_a_bad_quote_is_told_wherever_it_stands(tmp_path):
    rows = "".join(f"{n},x\n" for n in range(2 * CHUNK))
    with pytest.raises(DataError, match=rf"line {2 * CHUNK + 2}: "):
        read_table(table(tmp_path, f'a,b\n{rows}1,"x"y\n'))


ids = st.one_of(
    st.text("ab0. \x00é\n\u3000", max_size=5),
    st.sampled_from(["x" * 15, "x" * 16, "x" * 63, "x" * 64, "x" * 2000, "6.0", "6", " 6"]),
    st.integers(-3, 3),
    st.just(6.0),
    st.none(),
    st.just(["6"]),
)


@given(chunks=st.lists(st.lists(ids, max_size=6), min_size=1, max_size=4), size=st.integers(1, 200))
def test_ids_are_told_apart_as_texts_are(chunks, size):
    tokens, expected = Tokens(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "COLLECTED", size)
        for chunk in chunks:
            good = tokens.read(Cells("item", range(len(chunk)), chunk), None)
            texts = [token_of(v) if isinstance(v, str | int | float) else "" for v in chunk]
            assert good.tolist() == [bool(text) for text in texts]
            tokens.keep(good)
            expected += filter(None, texts)
        if expected:
            assert tokens.categorical().tolist() == expected
    assert tokens.count == len(expected)


def test_ids_whose_numbers_are_equal_are_not():
    """Two ids that become one number of 64 bits, found by trying millions."""
    ids = ["aaaaaaaabcdefgh", "btawpnmjc%478,F", "aaaaaaaabcdefgh", "xmgqclutq'cYC]r"]
    tokens = Tokens()
    tokens.keep(tokens.read(Cells("item", range(4), ids), None))
    assert tokens.categorical().tolist() == ids


@given(st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1))))
def test_the_order_of_numbers_is_the_stable_one(values):
    array = np.array(values, dtype=np.int64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()
