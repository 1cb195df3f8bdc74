"""Columns of a leaderboard as the text of tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

MISSING = "–"  # noqa: RUF001 - the dash of tables

NAMES = ["Student", "Objective", "Method", "Teacher"]


def names(board: pd.DataFrame) -> pd.DataFrame:
    """What entries are of, in the columns `NAMES`."""
    columns = [board["student"], board["objective"], board["label"], teacher(board)]
    return pd.DataFrame(dict(zip(NAMES, columns, strict=True))).fillna(MISSING)


def teacher(board: pd.DataFrame) -> pd.Series[str]:
    """The teacher with its control, such as `text (shuffled)`."""
    controlled = board["teacher"] + " (" + board["control"] + ")"
    return controlled.fillna(board["teacher"])


def named(board: pd.DataFrame) -> pd.Series[str]:
    """Entries in a sentence, such as `sasrec (ce) hint, teacher text`."""
    setting = (board["student"] + " (" + board["objective"] + ") ").fillna("")
    return setting + board["label"] + (", teacher " + teacher(board)).fillna("")


def shown(values: pd.Series[Any], form: Callable[[Any], str]) -> pd.Series[str]:
    """Values as text, and a dash where there is none."""
    return written(values, form).fillna(MISSING)


def written(values: pd.Series[Any], form: Callable[[Any], str]) -> pd.Series[Any]:
    """Values as text; what is missing stays so."""
    return values.astype(object).map(form, na_action="ignore").astype(object)


def seeds(board: pd.DataFrame) -> pd.Series[str]:
    """How many seeds have a result, and of how many where some failed."""
    done, tried = board["n"].astype(str), (board["n"] + board["failed"]).astype(str)
    text = done.where(board["failed"] == 0, done + " of " + tried)
    return text.where(board["kind"] == "trial", MISSING)


def score(mean: pd.Series[float], std: pd.Series[float]) -> pd.Series[str]:
    """Means with their deviations."""
    return shown(mean, "{:.4f}".format) + written(std, " ± {:.4f}".format).fillna("")


def gain(percent: pd.Series[float]) -> pd.Series[str]:
    """Differences in percent, with their signs."""
    return shown(percent, "{:+.1f} %".format)


def p_value(board: pd.DataFrame) -> pd.Series[str]:
    """Corrected p-values, with their stars."""
    text = shown(board["p_holm"], lambda p: "<0.001" if p < 0.001 else f"{p:.3f}")
    return text + star(board)


def star(board: pd.DataFrame) -> pd.Series[str]:
    """The mark of what other users and other seeds would show."""
    return board["significant"].map({True: " *", False: ""})


def ratio(values: pd.Series[float]) -> pd.Series[str]:
    """Multiples, such as `1.4x`."""
    return shown(values, "{:.1f}x".format)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def count(number: int) -> str:
    """A number of parameters, such as `1.13 M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)
