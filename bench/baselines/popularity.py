"""Items by how often they are training targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.baselines import counts
from bench.baselines.interface import Baseline, Floats, register_baseline
from bench.data.examples import Examples, Ids, PreparedData, Sequences
from bench.evaluation.metrics import TargetRanks

if TYPE_CHECKING:
    from typing_extensions import Self


@register_baseline("popularity")
class Popularity(Baseline):
    """The items that are the most frequent training targets, the same for every history."""

    def fit(self, examples: Examples, n_items: int) -> Self:
        self.counts = np.bincount(examples.target, minlength=n_items + 1)[1:]
        self.log_share = np.log(counts.popularity(examples, n_items))
        return self

    def scores(self, history: Ids, length: Ids) -> Floats:
        return np.tile(self.log_share, (len(history), 1))

    def obstacle(self, data: PreparedData) -> str | None:
        return None

    def all_ranks(
        self, examples: Examples, n_items: int, sequences: Sequences | None
    ) -> TargetRanks:
        """As of any baseline, from one sorted list: no block of scores is made.

        A target that was never trained on ties with all that were not, and ranks last.
        """
        ascending = np.sort(self.counts)
        own = self.counts[examples.target - 1]
        ranks = (n_items - np.searchsorted(ascending, own, side="left")).astype(np.int32)
        if sequences is None:
            return TargetRanks(ranks)
        above = np.empty_like(ranks)
        counts, first = np.append(0, self.counts), ~sequences.is_repeat()
        for row, (user, ordinal, target) in enumerate(
            zip(examples.user, examples.ordinal, examples.target, strict=True)
        ):
            part = slice(sequences.start[user], sequences.start[user] + ordinal)
            before = sequences.item[part][first[part]]
            above[row] = np.count_nonzero((counts[before] >= own[row]) & (before != target))
        return TargetRanks(ranks, ranks - above)
