"""What somebody else's lists for rows of evaluation measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Ids
from bench.evaluation.metrics import CUTOFFS, held, metrics_from_ranks
from bench.teachers.exchange.listing import ListsOfRows, usual_length


@dataclass(frozen=True)
class Evaluation:
    """The ranks of a split's targets in lists that end somewhere.

    Attributes:
        ranks: int32 [R], 1..N; N where the list does not name the target.
        places: K, which most lists hold, and up to which metrics are told; N where lists are whole.
        shorter: how many of the R lists are shorter than that.
    """

    ranks: Ids
    places: int
    shorter: int

    def metrics(self) -> dict[str, float]:
        """Those whose cutoff the lists hold."""
        return metrics_from_ranks(self.ranks, held(CUTOFFS, self.places))

    def note(self, split: str) -> str:
        """What a reader of the metrics must know."""
        ending = f"; {self.shorter:,} are shorter, and end in misses" if self.shorter else ""
        return (
            f"Its metrics on {split} are those of lists of {self.places} items, and told up to "
            f"that K{ending}."
        )


def evaluated(lists: ListsOfRows, targets: Ids, n_items: int) -> Evaluation:
    """The ranks of targets [R] in lists of some of the R rows; a row without one is a miss.

    Args:
        lists: of rows 0..R-1.
        targets: int32 [R], 1..N.
        n_items: N.
    """
    ranks = np.full(len(targets), n_items, dtype=np.int32)
    hit: NDArray[np.bool_] = lists.ids == targets[lists.row, None]
    listed = hit.any(axis=1)
    ranks[lists.row[listed]] = hit.argmax(axis=1)[listed] + 1
    sizes = np.zeros(len(targets), dtype=np.int64)
    sizes[lists.row] = (lists.ids > 0).sum(axis=1)
    places = usual_length(sizes)
    return Evaluation(ranks, places, int((sizes < places).sum()))
