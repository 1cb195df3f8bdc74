"""Every dataset that is declared is made of files as its publishers write them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.data import store
from bench.data.config import DatasetConfig, dataset_config, dataset_names
from bench.paths import Workspace

USERS, ITEMS, DAY = range(30), range(1, 13), 86_400
LOG = [(f"U{u}", i, 1_400_000_000 + (7 * u + 13 * i) % 400 * DAY) for u in USERS for i in ITEMS]
"""Users, items and seconds; every user has every item, so that a 5-core keeps them all."""

TITLES = [f"The {i}th &amp; last" for i in ITEMS]
GENRES = "Action|Sci-Fi"


def lines(records: list[dict], dump: Callable[[dict], str] = json.dumps) -> bytes:
    return "".join(f"{dump(record)}\n" for record in records).encode()


def table(separator: str, header: list[str], rows: list[list]) -> bytes:
    rows = [header, *rows] if header else rows
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def amazon(name: str, dump: Callable[[dict], str]) -> bytes:
    """Of 2014 and 2018; the metadata of 2014 are Python literals."""
    if name.startswith("meta_"):
        about = zip(ITEMS, TITLES, strict=True)
        return lines(
            [{"asin": f"B{i:09}", "title": title, "price": "$5"} for i, title in about], dump
        )
    log = [{"reviewerID": user, "asin": f"B{i:09}", "unixReviewTime": t} for user, i, t in LOG]
    return lines([{"reviewText": "Good.\nVery", "overall": 4.0, "vote": "2", **one} for one in log])


def amazon_2023(name: str) -> bytes:
    if name.startswith("meta_"):
        about = zip(ITEMS, TITLES, strict=True)
        return lines([{"main_category": "", "parent_asin": f"B{i}", "title": t} for i, t in about])
    log = [{"user_id": u, "parent_asin": f"B{i}", "timestamp": 1000 * t} for u, i, t in LOG]
    return lines([{"rating": 5.0, "asin": "B_variant", "images": [], **one} for one in log])


def movielens(folder: str) -> bytes:
    ratings = [[u[1:], i, 3.5, t] for u, i, t in LOG]
    movies = [[i, f"Film, The ({1990 + i})", GENRES] for i in ITEMS]
    if folder == "ml-20m":
        movies = [[i, f'"{title}"', genres] for i, title, genres in movies]
        members = {
            "ratings.csv": table(",", ["userId", "movieId", "rating", "timestamp"], ratings),
            "movies.csv": table(",", ["movieId", "title", "genres"], movies),
        }
    else:
        members = {"ratings.dat": table("::", [], ratings), "movies.dat": table("::", [], movies)}
    return zipped({f"{folder}/{name}": content for name, content in members.items()})


def recbole(name: str, user: str, item: str, listed: dict[str, list]) -> bytes:
    log = [[u, f"{i}", 4.0, float(t)] for u, i, t in LOG]
    header = [f"{user}:token", f"{item}:token", "rating:float", "timestamp:float"]
    rows = [list(row) for row in zip(*listed.values(), strict=True)]
    items = table("\t", list(listed), rows)
    return zipped({f"{name}.inter": table("\t", header, log), f"{name}.item": items})


def steam(name: str) -> bytes:
    if "games" in name:  # one of many has no id
        about = [
            {"id": str(i), "app_name": f"Game {i}", "genres": ["Indie"]} for i in range(1, 200)
        ]
        return gzip.compress(lines([*about, {"app_name": "A game without an id"}], repr))
    days = {t: f"2014-{1 + t // DAY % 12:02}-{1 + t // DAY % 28:02}" for _, _, t in LOG}
    log = [{"username": u, "product_id": str(i), "date": days[t]} for u, i, t in LOG]
    return gzip.compress(lines([{"hours": 1.5, **one} for one in log], repr))


def citeulike(name: str) -> bytes:
    if name == "users.dat":  # articles are counted from 0, in raw-data.csv from 1
        library = " ".join(str(i - 1) for i in ITEMS)
        return f"{len(ITEMS)} {library}\n".encode() * len(USERS)
    rows = [[i, f'"Caf\u00e9 {i}, ""or"""', i, '"abs"'] for i in ITEMS]
    header = ['"doc.id"', '"raw.title"', '"citeulike.id"', '"raw.abstract"']
    return table(",", header, rows).decode().encode("latin-1")


def foursquare(name: str) -> bytes:
    when = "Tue Apr {:02} 18:00:{:02} +0000 2012"
    rows = [
        [u[1:], f"4b{i}", "4bf58", "Caf\u00e9", 40.7, -74.0, -240, when.format(1 + i, int(u[1:]))]
        for u, i, _ in LOG
    ]
    content = table("\t", [], rows).decode().encode("latin-1")
    return zipped({"dataset_tsmc2014/dataset_TSMC2014_NYC.txt": content})


def yelp(name: str) -> bytes:
    days = {t: f"2014-{1 + t // DAY % 12:02}-{1 + t // DAY % 28:02} 20:30:02" for _, _, t in LOG}
    log = [{"user_id": u, "business_id": f"b{i}", "date": days[t]} for u, i, t in LOG]
    about = [{"business_id": f"b{i}", "name": f"Shop {i}", "categories": "Pubs"} for i in ITEMS]
    return tarred(
        {
            "yelp_academic_dataset_business.json": lines(about),
            "yelp_academic_dataset_review.json": lines([{"stars": 4.0, **one} for one in log]),
        }
    )


MOVIES = {
    "item_id:token": list(ITEMS),
    "movie_name:token_seq": [f"Film {i}" for i in ITEMS],
    "year:token": [1990] * 12,
    "type:token_seq": ["Action Drama"] * 12,
}
FILES: dict[str, Callable[[str], bytes]] = {
    "dataset_tsmc2014.zip": foursquare,
    "foursquare_NYC.zip": lambda name: recbole(
        "foursquare_NYC",
        *("user_id", "venue_id"),
        {"venue_id:token": list(ITEMS), "venue_category_name:token_seq": ["Pub"] * 12},
    ),
    "steam.zip": lambda name: recbole(
        "steam",
        *("user_id", "product_id"),
        {"id:token": list(ITEMS), "app_name:token_seq": ["Game"] * 12},
    ),
    "steam_reviews.json.gz": steam,
    "steam_games.json.gz": steam,
    "users.dat": citeulike,
    "raw-data.csv": citeulike,
    "yelp_dataset.tar": yelp,
}
for size in ("ml-1m", "ml-10m", "ml-20m"):
    FILES[f"{size}.zip"] = lambda name: movielens(name.removesuffix(".zip"))
    FILES[f"{size}-recbole.zip"] = lambda name: recbole("ml", "user_id", "item_id", MOVIES)


def content_of(name: str, config: DatasetConfig) -> bytes:
    if name in FILES:
        return FILES[name](name)
    literal = "amazon/categoryFiles" in str(config.tables)  # of 2014
    content = (
        amazon_2023(name) if ".jsonl" in name else amazon(name, repr if literal else json.dumps)
    )
    return gzip.compress(content) if name.endswith(".gz") else content


def declared() -> list[tuple[str, int]]:
    workspace = Workspace(Path("nowhere"))
    configs = {name: dataset_config(name, workspace) for name in dataset_names(workspace)}
    return [
        (name, place)
        for name, config in configs.items()
        for place in range(max(1, len(config.tables)))
        if name != "game-synthetic"  # the size of the real one: tests/data/test_synthetic.py
    ]


@pytest.mark.parametrize(("name", "place"), declared())
def test_a_declared_dataset_is_prepared_from_the_files_of_its_publishers(
    tmp_path, monkeypatch, name, place
):
    """Place by place: what a place does not have is not there."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    config = dataset_config(name, Workspace(tmp_path))
    if config.tables:
        chosen = config.tables[place]
        downloads = tmp_path / "datasets" / name / "downloads"
        downloads.mkdir(parents=True)
        for part in filter(None, (chosen.interactions, chosen.items)):
            (downloads / part.file_name).write_bytes(content_of(part.file_name, config))
        monkeypatch.setattr("bench.data.sources.public.fetch", only_what_is_there)
    done = CliRunner().invoke(main, ["data", "prepare", name])
    assert done.exit_code == 0, done.output
    if config.tables:
        data = store.load(name, config.protocol.slug, Workspace(tmp_path))
        about = store.about(name, config.protocol.slug, Workspace(tmp_path))
        assert (data.n_users, data.n_items) == (len(USERS), len(ITEMS))
        assert about["interactions"] == len(LOG)
        assert all(data.item_texts)
    assert config.licence or config.synthetic


def only_what_is_there(table, folder):
    from bench.data.sources.download import Unavailable

    path = folder / table.file_name
    if path.exists():
        return path
    raise Unavailable([f"{table.urls[0]}: not there"])
