"""Public sources in every format they are published in, from a local server."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import signal
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import limits
from bench.data import describe, store
from bench.data.config import DatasetConfig, Filters, dataset_config, dataset_names
from bench.data.prepare import filters
from bench.data.prepare.interactions import canonical
from bench.data.sources.archives import lines_of
from bench.data.sources.columns import Cells
from bench.data.sources.public import item_texts, read_public
from bench.errors import ConfigError, DataError, UnknownNameError
from bench.paths import Workspace

from ..listening import listening

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

RATINGS = [
    ("u2", "B1", 5.0, 300),
    ("u1", "B2", 4.0, 100),
    ("u1", "B1", 3.5, 200),
    ("u2", "B3", 1.0, 100),
    ("u1", "B3", 2.0, 300),
]
"""user, item, rating, time"""

EXPECTED = [("u1", "B2"), ("u1", "B1"), ("u1", "B3"), ("u2", "B3"), ("u2", "B1")]
"""By user and time."""


def zipped(**members: str | bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def json_lines(records: list[dict], dump=json.dumps) -> bytes:
    return gzip.compress("".join(f"{dump(record)}\n" for record in records).encode())


def pairs(data) -> list[tuple[str, str]]:
    tokens = zip(data.user, data.item, strict=True)
    return [(data.user_tokens[u], data.item_tokens[i]) for u, i in tokens]


class Mirror:
    """Tables of a source on a server."""

    def __init__(self, site) -> None:
        self.site = site

    def table(self, content: bytes, name: str, *behaviours: str, **fields) -> dict:
        self.site.files[name] = content
        urls = [f"{self.site.root}/{behaviour}/{name}" for behaviour in behaviours or ("ok",)]
        return {"urls": urls, **fields}


@pytest.fixture
def mirror(site) -> Mirror:
    return Mirror(site)


def config(*tables: dict, **fields) -> DatasetConfig:
    return DatasetConfig.model_validate({"source": "download", "tables": list(tables), **fields})


REVIEW = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "rating": "overall"}


def reviews(dump=json.dumps) -> bytes:
    return json_lines(
        [
            {"reviewerID": u, "asin": i, "overall": r, "unixReviewTime": t, "reviewText": "Good"}
            for u, i, r, t in RATINGS
        ],
        dump,
    )


METADATA = [
    {"asin": "B9", "title": "Nobody reviewed this"},
    {"asin": "B1", "title": ""},
    {"asin": "B1", "title": "Ratchet &amp; Clank", "price": None},
    {"asin": "B1", "title": "Ratchet, the second"},
    {"asin": "B2", "title": "var aPageStart = (new Date()).getTime();"},
    {"asin": "B3"},
]


def amazon(mirror: Mirror, *behaviours: str) -> dict:
    titles = {"item": "asin", "title": "title"}
    return {
        "interactions": mirror.table(reviews(), "r.json.gz", *behaviours, columns=REVIEW),
        "items": mirror.table(json_lines(METADATA), "m.json.gz", *behaviours, columns=titles),
    }


def test_json_lines_of_reviews_and_titles(mirror, tmp_path):
    data = read_public("game", config(amazon(mirror)), tmp_path)
    assert pairs(data) == EXPECTED
    assert (data.user_tokens, data.item_tokens) == (["u1", "u2"], ["B1", "B2", "B3"])
    assert data.item_texts == ["Ratchet & Clank", "", ""], "the first title that is one"
    assert data.time.tolist() == [100, 200, 300, 100, 300]
    assert data.rating.tolist() == [4.0, 3.5, 2.0, 1.0, 5.0]
    assert data.report[0] == "read 5 rows of r.json.gz"
    assert "2 of 3 items lack a title" in data.report


def test_python_literals_with_dates_and_lists_of_genres(mirror, tmp_path):
    days = {100: "2017-12-01", 200: "2017-12-02", 300: "2018-01-01"}
    played = [{"username": u, "product_id": i, "date": days[t]} for u, i, _, t in RATINGS]
    games = [{"id": "B1", "app_name": "Portal 2", "genres": ["Action", "Massively Multiplayer"]}]
    tables = {
        "interactions": mirror.table(
            json_lines(played, repr),
            "r.json.gz",
            format="python",
            columns={"user": "username", "item": "product_id", "time": "date"},
            time_format="%Y-%m-%d",
        ),
        "items": mirror.table(
            json_lines(games, repr),
            "m.json.gz",
            format="python",
            columns={"item": "id", "title": "app_name", "genres": "genres"},
        ),
    }
    data = read_public("steam", config(tables), tmp_path)
    assert pairs(data) == EXPECTED
    assert data.time[0] == pd.Timestamp("2017-12-01", tz="UTC").timestamp()
    assert data.item_texts[0] == "Portal 2. Genres: Action, Massively Multiplayer"


def movielens(mirror: Mirror, ratings: bytes, movies: bytes, ending: str, **shared) -> dict:
    content = zipped(**{f"ml/r.{ending}": ratings, f"ml/m.{ending}": movies, "__MACOSX/ml/r.x": ""})
    table = mirror.table(content, f"{ending}.zip")
    rated, listed = shared["rated"], shared["listed"]
    return {
        "interactions": {**table, "member": f"*/r.{ending}", "columns": rated},
        "items": {**table, "member": f"*/m.{ending}", "columns": listed, **shared["more"]},
        "unrated": True,
    }


def dat(mirror: Mirror) -> dict:
    return movielens(
        mirror,
        "".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in RATINGS).encode(),
        "B1::Net, The (1995)::Sci-Fi|Thriller\nB2::Misérables, Les (1995)::Drama\n"
        "B3::Heat (1995)::\nB4::Unseen (1994)::Drama\n".encode("latin-1"),
        "dat",
        rated={"user": 0, "item": 1, "rating": 2, "time": 3},
        listed={"item": 0, "title": 1, "genres": 2},
        more={"encoding": "latin-1"},
    )


def csv(mirror: Mirror) -> dict:
    return movielens(
        mirror,
        (
            "userId,movieId,rating,timestamp\n"
            + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in RATINGS)
        ).encode(),
        'movieId,title,genres\r\nB1,"Net, The (1995)",Sci-Fi|Thriller\r\n'
        'B2,"Misérables, Les (1995)",Drama\r\nB3,Heat (1995),(no genres listed)\r\n'
        "B4,Unseen (1994),Drama\r\n".encode(),
        "csv",
        rated={"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"},
        listed={"item": "movieId", "title": "title", "genres": "genres"},
        more={},
    )


def atomic(mirror: Mirror) -> dict:
    tables = movielens(
        mirror,
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        + "".join(f"{u}\t{i}\t{r}\t{float(t)}\n" for u, i, r, t in RATINGS).encode(),
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "B1\tNet, The\t1995\tSci-Fi Thriller\nB2\tMisérables, Les\t1995\tDrama\n"
        "B3\tHeat\t1995\t\nB4\tUnseen\t1994\tDrama\n".encode(),
        "tsv",
        rated={"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"},
        listed={
            "item": "item_id",
            "title": "movie_title",
            "year": "release_year",
            "genres": ["genre", "class"],
        },
        more={},
    )
    return tables


def test_movielens_is_the_same_in_each_of_its_formats(mirror, tmp_path):
    read = [read_public("ml", config(tables(mirror)), tmp_path) for tables in (dat, csv, atomic)]
    assert pairs(read[0]) == EXPECTED
    assert read[0].item_tokens == ["B1", "B2", "B3", "B4"], "unrated movies are in the catalogue"
    assert read[0].item_texts == [
        "The Net (1995). Genres: Sci-Fi, Thriller",
        "Misérables, Les (1995). Genres: Drama",
        "Heat (1995)",
        "Unseen (1994). Genres: Drama",
    ]
    assert len({data.fingerprint for data in read}) == 1


def test_lists_of_articles_keep_the_order_of_the_file(mirror, tmp_path):
    table = mirror.table(b"3 7 5 10\n0\n1 5\n", "users.dat", format="lists")
    data = read_public("citeulike", config({"interactions": table}), tmp_path)
    assert pairs(data) == [("0", "7"), ("0", "5"), ("0", "10"), ("2", "5")]
    assert data.time is None


def test_lists_without_an_order_have_one_drawn_and_titles_of_another_count(mirror, tmp_path):
    lines = "".join(f"10 {' '.join(str(10 * u + i) for i in range(10))}\n" for u in range(30))
    titles = "doc.id,raw.title\n" + "".join(f"{i + 1},Title {i}\n" for i in range(300))
    listed = mirror.table(lines.encode(), "users.dat", format="lists")
    columns = {"item": "doc.id", "title": "raw.title"}
    items = mirror.table(titles.encode(), "raw.csv", columns=columns, first_id=1)
    place = {"interactions": listed, "items": items}
    data = read_public("citeulike", config(place, unordered=True), tmp_path)
    assert data.item_texts[data.item_tokens.index("7")] == "Title 7"
    last = [int(item) for user, item in pairs(data)][9::10]
    assert sum(item % 10 == 9 for item in last) < 15, "the greatest of ten comes last by chance"
    assert not any("WARNING" in line for line in data.report)


def test_check_ins_have_places_for_titles(mirror, tmp_path):
    line = "470\tB1\tc\tArts & Crafts Store\t40.7\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n"
    table = mirror.table(zipped(**{"d/x_NYC.txt": line, "d/x_TKY.txt": line * 2}), "d.zip")
    table["member"] = "*_NYC.txt"
    times = {"columns": {"user": 0, "item": 1, "time": 7}, "time_format": "%a %b %d %H:%M:%S %z %Y"}
    tables = {
        "interactions": {**table, **times},
        "items": {**table, "columns": {"item": 1, "title": 3}},
    }
    data = read_public("foursquare", config(tables), tmp_path)
    assert data.time.tolist() == [1333476009]
    assert data.item_texts == ["Arts & Crafts Store"]


def test_another_place_with_the_same_data_is_taken_when_the_first_fails(mirror, tmp_path):
    places = [amazon(mirror, "missing"), atomic(mirror)]
    lines: list[str] = []
    with listening(lines.append):
        data = read_public("ml", config(*places), tmp_path / "d")
    assert pairs(data) == EXPECTED
    assert data.origin == f"download of {mirror.site.root}/ok/tsv.zip"
    assert f"ml: downloading {mirror.site.root}/missing/r.json.gz" in lines


def test_one_error_names_every_address_and_what_else_can_be_done(mirror, tmp_path):
    places = [amazon(mirror, "missing", "page"), {**atomic(mirror)}]
    places[1]["interactions"]["urls"] = [f"{mirror.site.root}/short/tsv.zip"]
    with pytest.raises(DataError) as caught:
        read_public("game", config(*places), tmp_path / "d")
    for part in (
        f"{mirror.site.root}/missing/r.json.gz: 404 Client Error: Not Found\n",
        f"{mirror.site.root}/page/r.json.gz: r.json.gz: a web page",
        f"{mirror.site.root}/short/tsv.zip: cut off",
        f"Put r.json.gz and m.json.gz into {tmp_path / 'd'} by hand",
        "bench data import game PATH",
        "movielens",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "row 1: no record"),
        (b"[]", "row 1: no record"),
        (b"7", "row 1: no record"),
        (b'{"asin": "B1"}', "row 1: no 'reviewerID'"),
        (b'\n{"asin": "B1"}', "row 1: no record"),
        (b'{"reviewerID": "", "asin": "i", "unixReviewTime": 1, "overall": 1}', "is not an id"),
        (b'{"reviewerID": null, "asin": "i", "unixReviewTime": 1, "overall": 1}', "is not an id"),
        (
            b'{"reviewerID": "u", "asin": "i", "unixReviewTime": "x", "overall": 1}',
            "row 1: 'x' is not a number",
        ),
        (
            b'{"reviewerID": "u", "asin": "i", "unixReviewTime": "inf", "overall": 1}',
            "is not a number",
        ),
        (b"", "no interactions"),
    ],
)
def test_a_line_that_is_no_review_is_named(mirror, tmp_path, content, problem):
    table = mirror.table(gzip.compress(content), "r.json.gz", columns=REVIEW)
    with pytest.raises(DataError, match=problem):
        read_public("game", config({"interactions": table}), tmp_path)


@pytest.mark.parametrize("spoilt", [("user", ""), ("item", ""), ("time", "x"), ("rating", "x")])
def test_a_record_is_counted_from_1_whichever_of_its_values_is_bad(mirror, tmp_path, spoilt):
    rows = [dict(zip(REVIEW, (u, i, t, r), strict=True)) for u, i, r, t in RATINGS]
    role, value = spoilt
    rows[2][role] = value
    table = mirror.table(json_lines(rows), "r.json.gz", columns={role: role for role in REVIEW})
    with pytest.raises(DataError, match=r"r\.json\.gz: column '.*', row 3: 'x?' is not an? "):
        read_public("game", config({"interactions": table}), tmp_path)


@pytest.mark.parametrize(("scale", "point"), [(1, "200"), (10**6, "200.25")])
def test_a_period_is_in_the_unit_of_the_table(mirror, tmp_path, scale, point):
    times = {200: point}
    text = "".join(f"{u},{i},{times.get(t, t)}\n" for u, i, _, t in RATINGS)
    table = mirror.table(text.encode(), "r.csv", columns={"user": 0, "item": 1, "time": 2})
    data = read_public("game", config({"interactions": table}), tmp_path)
    assert data.time_scale == scale
    assert pairs(filters.apply(data, Filters(since=200))) == [
        ("u1", "B1"),
        ("u1", "B3"),
        ("u2", "B1"),
    ]
    assert pairs(filters.apply(data, Filters(until=200))) == [("u1", "B2"), ("u2", "B3")]


@pytest.mark.parametrize(
    ("name", "content", "columns", "problem"),
    [
        ("t.csv", b"a,b,c\n1,2,3\n", {"user": "a", "item": "b", "time": "t"}, "no column t. Col"),
        ("t.csv", b"", {"user": "a", "item": "b", "time": "t"}, "is empty"),
        (
            "t.csv",
            b"a,b,c\n1,2\n",
            {"user": "a", "item": "b", "time": "c"},
            "row 1: .*too few fields",
        ),
        ("t.dat", b"1::2\n", {"user": 0, "item": 1, "time": 2}, "row 1: .*too few fields"),
        (
            "t.csv",
            b"a,b,c\n1,\xff,3\n",
            {"user": "a", "item": "b", "time": "c"},
            "line 2 cannot be read as utf-8",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(mirror, tmp_path, name, content, columns, problem):
    table = mirror.table(content, name, columns=columns)
    with pytest.raises(DataError, match=f"{name}: {problem}"):
        read_public("game", config({"interactions": table}), tmp_path)


def test_lists_must_count_right(mirror, tmp_path):
    table = mirror.table(b"1 5\n3 7 5\n", "users.dat", format="lists")
    with pytest.raises(DataError, match="line 2: does not begin with its number"):
        read_public("citeulike", config({"interactions": table}), tmp_path)


TABLE = {"urls": ["http://localhost/f.csv"], "columns": {"user": "u", "item": "i", "time": "t"}}


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ([], "source download needs 'tables'"),
        ([{"interactions": {**TABLE, "urls": ["http://localhost/f"]}}], "does not tell its format"),
        ([{"interactions": {**TABLE, "columns": {"user": "u"}}}], "are user and item"),
        ([{"interactions": {**TABLE, "columns": {"user": "u", "item": "i"}}}], "time or position"),
        ([{"interactions": {**TABLE, "columns": {"user": 0, "item": "i", "time": 1}}}], "not some"),
        ([{"interactions": {**TABLE, "format": "json", "columns": {"user": 0}}}], "one name each"),
        ([{"interactions": TABLE, "items": TABLE}], "item and title"),
        ([{"interactions": {**TABLE, "file": "../f.csv"}}], "cannot be the name of a file"),
        ([{"interactions": {**TABLE, "urls": ["http://localhost/?f=1"]}}], "cannot be the name"),
        ([{"interactions": {**TABLE, "urls": []}}], "urls"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(tables, problem):
    with pytest.raises(ValueError, match=problem):
        config(*tables)


def test_tar_archives_are_read_and_unsafe_ones_refused(tmp_path):
    def pack(name: str, kind: bytes = tarfile.REGTYPE) -> Path:
        with tarfile.open(tmp_path / "f.tar.gz", "w:gz") as tar:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = kind, 4 if kind == tarfile.REGTYPE else 0
            entry.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(entry, io.BytesIO(b"a\nb\n"))
        return tmp_path / "f.tar.gz"

    with lines_of(pack("d/t.csv"), "*.csv") as lines:
        assert list(lines) == [b"a\n", b"b\n"]
    for name, kind in (("../t.csv", tarfile.REGTYPE), ("t.csv", tarfile.SYMTYPE)):
        with pytest.raises(DataError, match="would lie outside"), lines_of(pack(name, kind), "*"):
            pass


def test_bombs_and_endless_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(limits, "LINE", 1 << 16)
    bomb = tmp_path / "b.gz"
    bomb.write_bytes(gzip.compress(b"0\n" * (1 << 23)))
    with pytest.raises(DataError, match="unpacks to more than"), lines_of(bomb) as lines:
        list(lines)
    endless = tmp_path / "e.csv"
    endless.write_bytes(b"0" * (1 << 17))
    with (
        pytest.raises(DataError, match="a line of more than 65,536 bytes"),
        lines_of(endless) as lines,
    ):
        list(lines)


def test_a_member_must_be_the_only_one(tmp_path):
    path = tmp_path / "f.zip"
    path.write_bytes(zipped(a="1", b="2"))
    for member, count in (("*", 2), (None, 2), ("c", 0)):
        with (
            pytest.raises(DataError, match=rf"{count} members are called .* There: a, b"),
            lines_of(path, member),
        ):
            pass


@given(
    st.lists(st.tuples(*[st.text("ab\u00e9\uffff\U0001f600", min_size=1)] * 2), min_size=1),
)
def test_coded_tokens_make_the_same_interactions_as_plain_ones(rows):
    users, items = (list(column) for column in zip(*rows, strict=True))
    time_ = np.arange(len(rows))
    plain = canonical(users, items, item_texts={}, time=time_)
    coded = canonical(
        pd.Categorical(users, categories=pd.Index(dict.fromkeys(users), dtype=object)),
        pd.Categorical(items, categories=pd.Index(dict.fromkeys(items), dtype=object)),
        item_texts={},
        time=time_,
    )
    assert plain.fingerprint == coded.fingerprint


def test_item_texts_of_all_items():
    chunks = [
        {
            "item": Cells("id", range(1, 3), ["1", "2"]),
            "title": Cells("t", range(1, 3), ["A", None]),
        },
        {"item": Cells("id", range(3, 4), ["1"]), "title": Cells("t", range(3, 4), ["B"])},
    ]
    assert item_texts(chunks, None) == {"1": "A", "2": ""}


def prepared(mirror: Mirror, home: Path, **fields):
    """Prepare 6 users with 12 reviews each, in this process."""
    rows = [(f"u{u}", f"B{(u + t) % 15}", 5.0, 100 * t + u) for u in range(6) for t in range(12)]
    records = [dict(zip(REVIEW.values(), (u, i, t, r), strict=True)) for u, i, r, t in rows]
    table = mirror.table(json_lines(records), "r.json.gz", "slow", columns=REVIEW)
    settings = config({"interactions": table}, **fields)
    data = store.prepare("toys", settings, settings.protocol, Workspace(home))
    about = store.about("toys", data.protocol, Workspace(home))
    return describe.describe(data, settings, about)


def test_counts_stand_beside_the_published_ones(mirror, tmp_path):
    published = {"source": "a paper", "users": 5, "items": 15, "interactions": 72}
    found = prepared(mirror, tmp_path, published=published)
    assert found["counts"]["interactions"] == 72
    assert found["published"]["users"] == {"published": 5, "difference_percent": 20.0}
    lines = describe.as_text(found).splitlines()
    assert any("users" in line and "published" in line and "(+20.00 %)" in line for line in lines)


def test_a_killed_preparation_goes_on_and_is_the_same(mirror, tmp_path):
    whole = prepared(mirror, tmp_path / "whole")
    downloads = tmp_path / "home" / "datasets" / "toys" / "downloads"
    process = multiprocessing.get_context("fork").Process(
        target=prepared, args=(mirror, tmp_path / "home")
    )
    process.start()
    while not list(downloads.glob(".*.part")):
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert not (downloads.parent / "source").exists()
    again = prepared(mirror, tmp_path / "home")
    assert again["fingerprint"] == whole["fingerprint"]
    assert sorted(p.name for p in downloads.iterdir()) == ["r.json.gz", "r.json.gz.sha256"]


def test_a_family_fills_in_what_its_datasets_share(tmp_path):
    toys = dataset_config("toys", Workspace(tmp_path))
    assert toys.tables[0].interactions.file_name == "Toys_and_Games_5.json.gz"
    assert all("Toys_and_Games" in url for url in toys.tables[0].items.urls)
    assert "EMNLP" in toys.citation and toys.protocol.slug == "temporal-10"


@pytest.mark.parametrize(
    ("content", "error", "problem"),
    [
        ("family: amazon-2018", ConfigError, "needs a 'category'"),
        ("family: movielens\ncategory: x", ConfigError, "has no use for a 'category'"),
        ("family: amazon-2081", UnknownNameError, "Did you mean 'amazon-2018'"),
        ("famly: movielens", ConfigError, "unknown key 'famly'. Did you mean 'family'"),
        ("category: Books", UnknownNameError, "unknown family 'None'"),
    ],
)
def test_a_family_that_does_not_fit_is_refused(tmp_path, content, error, problem):
    (tmp_path / "configs" / "datasets").mkdir(parents=True)
    (tmp_path / "configs" / "datasets" / "mine.yaml").write_text(content)
    with pytest.raises(error, match=problem):
        dataset_config("mine", Workspace(tmp_path))


@pytest.mark.parametrize("name", dataset_names(Workspace(Path("/nowhere"))))
def test_every_shipped_dataset_says_what_it_is(name):
    shipped = dataset_config(name, Workspace(Path("/nowhere")))
    assert shipped.summary
    if shipped.source == "download":
        assert shipped.licence and shipped.citation
        files = [
            (table.file_name, tuple(table.urls))
            for place in shipped.tables
            for table in (place.interactions, place.items)
            if table is not None
        ]
        assert len(dict(files)) == len(set(files)), "one name, one file"


COUNTS = {
    "game": (55223, 17408, 497577),
    "steam": (281349, 11961, 3550272),
    "movielens-10m": (69878, 10681, 10000054),
    "arts-2023": (197300, 90000, 1800000),
    "beauty-2023": (729600, 207600, 6600000),
    "books-2023": (776400, 495100, 9500000),
    "home-kitchen-2023": (2900000, 763600, 28200000),
    "scientific-2023": (51000, 25800, 412900),
    "instruments-2023": (57400, 24600, 511800),
    "office-2023": (223300, 77600, 1800000),
    "pet-2023": (594800, 114600, 5300000),
    "sports-2023": (409800, 156200, 3500000),
    "toys-2023": (432300, 162000, 3900000),
    "game-2023": (94800, 25600, 814600),
}
"""Users, items and interactions that publishers state, those of 2023 in thousands."""


@pytest.mark.parametrize("name", COUNTS)
def test_declared_counts_are_those_of_the_publishers(name):
    published = dataset_config(name, Workspace(Path("/nowhere"))).published
    assert published is not None
    found = (published.users, published.items, published.interactions)
    assert found == COUNTS[name]


def test_hosts_that_do_not_answer_are_not_asked_and_refusals_come_last():
    workspace = Workspace(Path("/nowhere"))
    for name in dataset_names(workspace):
        config = dataset_config(name, workspace)
        said = json.dumps(config.model_dump(), default=str)
        assert "datarepo.eng.ucsd" not in said and "//jmcauley.ucsd" not in said
        refusing = ["recbole.s3" in place.interactions.urls[0] for place in config.tables]
        assert refusing == sorted(refusing)
    assert dataset_config("music-2023", workspace).published is None


def test_a_file_that_an_import_stored_before_fields_went_is_read(tmp_path):
    folder = tmp_path / "datasets" / "shop" / "source"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text('{"source": "import", "reviews": null, "metadata": null}')
    assert dataset_config("shop", Workspace(tmp_path)).source == "import"
