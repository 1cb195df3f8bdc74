"""How often targets come back to what their user had before, and what follows for ranking."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.data.config import Seen
from bench.data.examples import Examples, Sequences

NEXT_TO_NONE = 0.01
"""Share of repeated targets below which items that users had before are left out of rankings."""

Shares = Mapping[str, Mapping[str, float]]
"""By split, `earlier`: share of targets that the user had before, at all; `history`: share of those
that are in the history which their row shows."""


def repeated(splits: Mapping[str, Examples], sequences: Sequences) -> Shares:
    """How many targets of each split repeat; 0 of a split without rows."""
    repeat = sequences.is_repeat()
    found = {}
    for split, rows in splits.items():
        earlier = repeat[sequences.start[rows.user] + rows.ordinal]
        shown = np.zeros(len(rows), dtype=bool)
        for column in rows.history.T:
            shown |= column == rows.target
        found[split] = {
            name: float(part.mean()) if len(rows) else 0.0
            for name, part in (("earlier", earlier), ("history", shown))
        }
    return found


def rule(splits: Mapping[str, Examples], shares: Shares) -> Seen:
    """`mask` where next to no target of training and validation repeats, else `rank`.

    Test is not looked at: what is ranked there is no choice of its own.
    """
    sizes = np.array([len(splits[split]) for split in ("train", "valid")])
    earlier = np.array([shares[split]["earlier"] for split in ("train", "valid")])
    return "mask" if sizes @ earlier < NEXT_TO_NONE * sizes.sum() else "rank"
