"""The rows that D3 and MiniOneRec publish come in as they are."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.data import store
from bench.data.config import dataset_config
from bench.data.sources import importing
from bench.errors import DataError
from bench.paths import Workspace

from .named import named

HEADER = [
    *("user_id", "history_item_title", "item_title", "history_item_id", "item_id"),
    *("history_item_sid", "item_sid", "timestamp"),
]


def published(folder: Path, seed: int = 0) -> dict[str, list[tuple[str, list[str], str]]]:
    """Write rows as they are published: of all users in the order of time, cut in 8:1:1."""
    draw = random.Random(seed)  # noqa: S311
    rows = []
    for user in range(12):
        items = [draw.randrange(30) for _ in range(draw.randint(2, 18))]
        times = sorted(draw.randrange(10**6) for _ in items)
        for place in range(1, len(items)):
            history = items[max(0, place - 10) : place]
            rows.append((times[place], f"A{user}", history, items[place]))
    rows.sort(key=lambda row: row[0])
    cuts = [0, int(0.8 * len(rows)), int(0.9 * len(rows)), len(rows)]
    expected = {}
    for split, start, end in zip(("train", "valid", "test"), cuts, cuts[1:], strict=False):
        (folder / split).mkdir(parents=True)
        path = folder / split / "Industrial_and_Scientific_5_2016-10-2018-11.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADER)
            for time, user, history, item in rows[start:end]:
                titles, sids = [f'It\'s {i}, "new"' for i in history], [f"<a_{i}>" for i in history]
                writer.writerow([user, titles, f"It's {item}", history, item, sids, "<a_1>", time])
        expected[split] = [
            (user, [str(i) for i in history], str(item))
            for _, user, history, item in rows[start:end]
        ]
    return expected


@pytest.mark.parametrize("seed", range(3))
def test_rows_users_and_titles_are_the_published_ones(tmp_path, seed, monkeypatch):
    expected = published(tmp_path / "rows", seed)
    catalogue = {str(i): {"title": f"Thing {i}", "description": "x"} for i in range(31)}
    (tmp_path / "rows" / "Industrial.item.json").write_text(json.dumps(catalogue))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["data", "import", "industrial", str(tmp_path / "rows")])
    assert done.exit_code == 0, done.output
    config = dataset_config("industrial", Workspace(tmp_path))
    data = store.prepare("industrial", config, config.protocol, Workspace(tmp_path))
    assert (config.protocol.name, data.n_items) == ("given", 31)
    assert data.item_texts[data.item_tokens.index("7")] == "Thing 7"
    for split, rows in expected.items():
        found = named(getattr(data, split), data)
        assert sorted(found) == sorted(rows)


def test_titles_of_the_rows_where_there_is_no_catalogue(tmp_path):
    published(tmp_path)
    data = importing.read(importing.tables_at(tmp_path))
    assert all(text.startswith("It's ") for text in data.item_texts)


def test_a_row_that_does_not_follow_is_a_user_of_its_own(tmp_path):
    for split, row in (("train", "[1]"), ("valid", "[1, 2]"), ("test", "[9]")):
        (tmp_path / f"{split}.csv").write_text(f'user_id,history_item_id,item_id\nu,"{row}",2\n')
    data = importing.read(importing.tables_at(tmp_path))
    assert data.user_tokens == ["u", "u~1"]
    assert any("1 times a row does not follow" in line for line in data.report)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\nu,2\n", "no column history_item_id"),
        ("user_id,history_item_id,item_id\nu,3,2\n", "row 1: '3' is no list"),
        ('user_id,history_item_id,item_id\nu,"__import__(1)",2\n', "is no list"),
        ("user_id,history_item_id,item_id\nu,[],2\n", "no history"),
    ],
)
def test_other_rows_are_refused(tmp_path, content, message):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        importing.read(importing.tables_at(tmp_path))


def test_two_categories_in_one_folder_are_told(tmp_path):
    published(tmp_path)
    (tmp_path / "train" / "Office_Products.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"one table train\.csv or train"):
        importing.read(importing.tables_at(tmp_path, layout="minionerec"))
