"""`game` has the rows that BIGRec's preparation makes, held against another rendering of it."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.data import store
from bench.data.config import DatasetConfig, dataset_config
from bench.paths import Workspace
from bench.reporting import tables

from .named import named

DAY = 86_400
TITLES = ["Halo &amp; Co", "Zelda", " ", "x", None, "Tetris\n 2", "Doom", "&nbsp;"]


def reviews(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A file grouped by item, with ties of a day, exact repeats and users of one review."""
    draw = random.Random(seed)  # noqa: S311
    metadata = [{"asin": f"B{i:02}", "title": draw.choice(TITLES)} for i in range(30)]
    draw.shuffle(metadata)
    for one in metadata[:3]:
        del one["title"]
    log = []
    for item in draw.sample(range(33), 33):  # three of them have no metadata at all
        for _ in range(draw.randint(2, 14)):
            user, day = f"U{draw.randint(0, 25):02}", draw.randint(0, 9)
            one = {"reviewerID": user, "asin": f"B{item:02}", "unixReviewTime": day * DAY}
            log += [one | {"overall": 5.0}] * draw.choice([1, 1, 1, 2])
    log.append({"reviewerID": "single", "asin": "B00", "unixReviewTime": 0, "overall": 1.0})
    return log, metadata


def oracle(log: list[dict[str, Any]], metadata: list[dict[str, Any]]) -> list[list[tuple]]:
    """Rows (user, history, target) of the three splits, as the procedure is described."""
    import html

    titled = set()
    for item in metadata:
        if len(" ".join(html.unescape(item.get("title") or "").split())) > 1:
            titled.add(item["asin"])
    sequences: dict[str, list[tuple[int, str]]] = {}
    for review in log:
        if review["asin"] in titled:
            mine = sequences.setdefault(review["reviewerID"], [])
            mine.append((review["unixReviewTime"], review["asin"]))
    rows = []
    for user, sequence in sequences.items():
        sequence.sort(key=lambda pair: pair[0])
        items = [item for _, item in sequence]
        for place in range(min(10, len(items) - 1), len(items)):
            row = (user, items[max(0, place - 10) : place], items[place])
            rows.append((sequence[place][0], row))
    rows.sort(key=lambda pair: pair[0])
    ordered = [row for _, row in rows]
    first, second = int(0.8 * len(ordered)), int(0.9 * len(ordered))
    splits = [ordered[:first], ordered[first:second], ordered[second:]]
    return [[row for row in split if row[1]] for split in splits]


def dump(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(r)}\n" for r in records).encode()))


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_are_those_of_the_published_preparation(tmp_path, seed):
    log, metadata = reviews(seed)
    folder = tmp_path / "datasets" / "game" / "downloads"
    folder.mkdir(parents=True)
    dump(folder / "Video_Games_5.json.gz", log)
    dump(folder / "meta_Video_Games.json.gz", metadata)
    workspace = Workspace(tmp_path)
    config = dataset_config("game", workspace)
    data = store.prepare("game", config, config.protocol, workspace)
    assert data.item_tokens == sorted({review["asin"] for review in log}), "left whole"
    for name, expected in zip(("train", "valid", "test"), oracle(log, metadata), strict=True):
        found = named(getattr(data, name), data)
        assert found == expected, name
    report = store.about("game", config.protocol.slug, workspace)["report"]
    assert any(line.startswith("left out") and "without a title" in line for line in report)


def test_another_order_of_ties_is_another_source(tmp_path):
    workspace = Workspace(tmp_path)
    log, metadata = reviews(0)
    configs: list[DatasetConfig] = [
        dataset_config(name, workspace) for name in ("game", "game-drawn")
    ]
    prints = []
    folder = tmp_path / "datasets" / "games" / "downloads"
    folder.mkdir(parents=True)
    dump(folder / "Video_Games_5.json.gz", log)
    dump(folder / "meta_Video_Games.json.gz", metadata)
    for config in (*configs, configs[0]):
        prints.append(store.prepare("games", config, config.protocol, workspace).fingerprint)
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.parametrize("name", ["game", "game-drawn"])
def test_a_board_says_which_tie_rule_its_data_have(tmp_path, monkeypatch, name):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    log, metadata = reviews(0)
    folder = tmp_path / "datasets" / name / "downloads"
    folder.mkdir(parents=True)
    dump(folder / "Video_Games_5.json.gz", log)
    dump(folder / "meta_Video_Games.json.gz", metadata)
    config = dataset_config(name, Workspace(tmp_path))
    data = store.prepare(name, config, config.protocol, Workspace(tmp_path))
    entries = pd.DataFrame(
        {"dataset": [name], "protocol": [data.protocol], "data_fingerprint": [data.fingerprint]}
    )
    assert ("order of the file" in tables._ties(entries)) == (name == "game")
    assert not tables._ties(entries.assign(data_fingerprint="of other data"))
    assert not tables._ties(entries.assign(dataset="unknown"))
