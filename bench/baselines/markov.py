"""What follows the last item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.baselines import counts
from bench.baselines.interface import Baseline, Floats, register_baseline
from bench.data.examples import Examples, Ids

if TYPE_CHECKING:
    from typing_extensions import Self


@register_baseline("markov")
class MarkovChain(Baseline):
    """First-order Markov chain: how often an item came directly after the last of the history.

    Counts become probabilities, mixed with the popularity.
    """

    Config = counts.MixtureConfig

    def fit(self, examples: Examples, n_items: int) -> Self:
        self.popularity = counts.popularity(examples, n_items)
        last = _last(examples.history, examples.length) - 1
        self.transitions = counts.occurrences(last, examples.target, (n_items, n_items))
        return self

    def scores(self, history: Ids, length: Ids) -> Floats:
        """Log-probabilities."""
        followers = self.transitions[_last(history, length) - 1].toarray()
        return counts.log_mixture(followers, self.popularity, self.config.popularity)


def _last(history: Ids, length: Ids) -> Ids:
    return history[np.arange(len(history)), length - 1]
