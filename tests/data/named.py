"""Rows with the names of their users and items in place of numbers."""

from __future__ import annotations

from bench.data.examples import Examples, PreparedData


def named(rows: Examples, data: PreparedData) -> list[tuple[str, list[str], str]]:
    """User, history and target of each row, as tokens."""
    columns = zip(rows.user, rows.history, rows.length, rows.target, strict=True)
    return [
        (
            data.user_tokens[user],
            [data.item_tokens[item - 1] for item in history[:length]],
            data.item_tokens[target - 1],
        )
        for user, history, length, target in columns
    ]
