"""Items by how often they are training targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.baselines import counts
from bench.baselines.interface import Baseline, Floats, register_baseline
from bench.data.examples import Examples, Ids, PreparedData

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

    def ranks(self, examples: Examples, n_items: int) -> Ids:
        """As of any baseline, from one sorted list: no block of scores is made.

        A target that was never trained on ties with all that were not, and ranks last.
        """
        ascending = np.sort(self.counts)
        fewer = np.searchsorted(ascending, self.counts[examples.target - 1], side="left")
        return (n_items - fewer).astype(np.int32)
