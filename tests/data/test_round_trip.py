"""What programs write is imported as it is, or is refused: there is no third thing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.config import DatasetConfig
from bench.data.prepare.interactions import Interactions, canonical
from bench.data.sources import importing
from bench.data.sources.public import read_public
from bench.data.sources.texts import clean_text
from bench.errors import DataError

Columns = dict[str, list]

EXAMPLES = int(os.environ.get("ROUND_TRIPS", "20"))
"""Tables of each writer; ROUND_TRIPS=100 makes more than 2,000 of them all."""


def _csv(columns: Columns, **options) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **{"lineterminator": "\r\n", **options})
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def _polars(columns: Columns) -> str:
    """As `write_csv` does: quotes where they are needed, and round texts that are empty."""

    def cell(value: object) -> str:
        text = str(value)
        quoted = not text or any(mark in text for mark in ',"\r\n')
        return '"' + text.replace('"', '""') + '"' if quoted else text

    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join(",".join(map(cell, row)) + "\n" for row in rows)


def _r(columns: Columns, separator: str, *, names: str, escape: str) -> str:
    """As write.csv (names in a column of its own, quotes doubled) and write.table do it."""

    def cell(value: object) -> str:
        if not isinstance(value, str):
            return str(value)
        return '"' + value.replace('"', escape + '"') + '"'

    header = [cell(name) for name in columns]
    rows = [[cell(value) for value in row] for row in zip(*columns.values(), strict=True)]
    if names != "none":
        rows = [[f'"{n}"', *row] for n, row in enumerate(rows, start=1)]
    if names == "column":
        header = ['""', *header]
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


def _pandas(columns: Columns, **options) -> str:
    return pd.DataFrame(columns).to_csv(**options)


def _parquet(columns: Columns, **options) -> bytes:
    stream = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stream, **options)
    return stream.getvalue()


WRITERS: dict[str, tuple[str, Callable[[Columns], str | bytes]]] = {
    "spreadsheet": ("csv", lambda c: "\ufeff" + _csv(c)),
    "spreadsheet, tabs": ("tsv", lambda c: _csv(c, delimiter="\t")),
    "spreadsheet, UTF-16": ("txt", lambda c: _csv(c, delimiter="\t").encode("utf-16")),
    "spreadsheet of Europe": ("csv", lambda c: _csv(c, delimiter=";")),
    "with its separator": ("csv", lambda c: "sep=;\r\n" + _csv(c, delimiter=";")),
    "with empty columns": ("csv", lambda c: _csv({**c, "": [""] * len(c["item"])})),
    "all quoted": ("csv", lambda c: _csv(c, quoting=csv.QUOTE_ALL, lineterminator="\n")),
    "no quotes at all": (
        "csv",
        lambda c: "".join(
            ",".join(map(str, row)) + "\n" for row in [list(c), *zip(*c.values(), strict=True)]
        ),
    ),
    "old Mac": ("csv", lambda c: _csv(c, lineterminator="\r")),
    "R, write.csv": ("csv", lambda c: _r(c, ",", names="column", escape='"')),
    "R, write.csv without names": ("csv", lambda c: _r(c, ",", names="none", escape='"')),
    "R, write.table": ("csv", lambda c: _r(c, ",", names="header", escape="\\")),
    "R, write.table, tabs": ("tsv", lambda c: _r(c, "\t", names="header", escape="\\")),
    "pandas": ("csv", lambda c: _pandas(c, index=False)),
    "pandas with its index": ("csv", lambda c: _pandas(c)),
    "pandas, tabs": ("tsv", lambda c: _pandas(c, index=False, sep="\t")),
    "pandas, gzip": ("csv.gz", lambda c: gzip.compress(_pandas(c, index=False).encode())),
    "polars": ("csv", _polars),
    "a code page": ("csv", lambda c: _csv(c).encode("cp1252", errors="strict")),
    "parquet": ("parquet", _parquet),
    "RecBole": (
        "inter",
        lambda c: _csv(
            {f"{name}:token": values for name, values in c.items()},
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
            quotechar=None,
            lineterminator="\n",
        ),
    ),
}

titles = st.text(
    st.one_of(
        st.sampled_from("ab ,;\t\"'\n\\"),
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]),
    ),
    max_size=6,
)
logs = st.lists(
    st.tuples(st.sampled_from(["u1", "u 2", "é"]), st.integers(0, 4), st.integers(0, 9)),
    min_size=1,
    max_size=8,
)


def expected(log: list[tuple[str, int, int]], texts: list[str]) -> Interactions:
    users, items, times = zip(*log, strict=True)
    return canonical(
        list(users),
        [f"i{item}" for item in items],
        item_texts={f"i{n}": clean_text(text) for n, text in enumerate(texts)},
        time=pd.Series(times).to_numpy(),
    )


def shop(log, texts) -> dict[str, Columns]:
    """The tables of interactions and of items."""
    users, items, times = map(list, zip(*log, strict=True))
    return {
        "interactions": {"user": users, "item": [f"i{i}" for i in items], "time": times},
        "items": {"item": [f"i{n}" for n in range(5)], "title": texts},
    }


def written(write: Callable[[Columns], str | bytes], columns: Columns) -> bytes:
    content = write(columns)
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(log=logs, texts=st.lists(titles, min_size=5, max_size=5))
def test_a_table_is_imported_as_it_was_or_refused(tmp_path_factory, writer, log, texts):
    ending, write = WRITERS[writer]
    folder: Path = tmp_path_factory.mktemp("trip")
    try:
        for name, columns in shop(log, texts).items():
            (folder / f"{name}.{ending}").write_bytes(written(write, columns))
    except (csv.Error, UnicodeEncodeError):  # what this format, or its code page, cannot hold
        return
    try:
        data = importing.read(
            importing.tables_at(folder / f"interactions.{ending}", folder / f"items.{ending}")
        )
    except DataError:
        return
    assert data.fingerprint == expected(log, texts).fingerprint


PUBLISHERS: dict[str, tuple[str, Callable[[Columns], str | bytes]]] = {
    "JSON lines": ("jsonl", lambda c: _objects(c, json.dumps)),
    "JSON lines in UTF-8, gzip": (
        "json.gz",
        lambda c: gzip.compress(_objects(c, lambda o: json.dumps(o, ensure_ascii=False)).encode()),
    ),
    "Python literals": ("python", lambda c: _objects(c, repr)),
    "fields between colons": ("dat", lambda c: _colons(c)),
    "csv of numbers": ("csv", lambda c: _csv(c, lineterminator="\n")),
    "RecBole": (
        "inter",
        lambda c: _csv(
            {f"{name}:token": values for name, values in c.items()},
            **{"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None},
        ),
    ),
}


def _objects(columns: Columns, dump: Callable[[dict], str]) -> str:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return "".join(f"{dump(row)}\n" for row in rows)


def _colons(columns: Columns) -> str:
    return "".join("::".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True))


@pytest.mark.parametrize("writer", PUBLISHERS)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(log=logs, texts=st.lists(titles, min_size=5, max_size=5))
def test_a_download_is_read_as_it_was_or_refused(tmp_path_factory, writer, log, texts):
    ending, write = PUBLISHERS[writer]
    folder: Path = tmp_path_factory.mktemp("trip")
    tables = {}
    try:
        for name, columns in shop(log, texts).items():
            (folder / f"{name}.{ending}").write_bytes(written(write, columns))
            places = {key: place for place, key in enumerate(columns)}
            tables[name] = {
                "urls": [f"http://127.0.0.1:9/{name}.{ending}"],
                "columns": places if ending == "dat" else {key: key for key in columns},
                "tolerance": 0,
                **({"format": "python"} if ending == "python" else {}),
            }
    except (csv.Error, UnicodeEncodeError):
        return
    config = DatasetConfig.model_validate(
        {"source": "download", "tables": [{**tables, "unrated": True}]}
    )
    try:
        data = read_public("any", config, folder)
    except DataError:
        return
    shown = ["" if "getTime" in text else text for text in texts]
    assert data.fingerprint == expected(log, shown).fingerprint
