r"""Synthetic interactions with planted structure, of any size, and the truth behind them.

Items are unit vectors v_i in d dimensions. They lie around the centres c_k of about sqrt(N)
clusters of equal size (item ids run cluster by cluster) and have a popularity q_i = rank^-zipf,
whatever their cluster. A user's interest u_t drifts at every step t, and what follows an item lies
where a fixed rotation T takes it:

    u_0 ~ N(0, I),   u_{t+1} = sqrt(1 - drift^2) u_t + drift e,   e ~ N(0, I)
    s_t = interest * u_t + sequence * T v_last

The next item is drawn in two steps, which cost sqrt(N) each instead of N:

    P(cluster k | s) ~ q_k exp(s . c_k),    P(item i | k, s) ~ q_i exp(s . v_i)

with q_k the sum of q_i in cluster k. `log_probabilities` is the logarithm of their product. On
average no ranking is better than by it, whatever a recommender knows.

Titles are three words (and a number where that repeats a title). Words have a direction w each; one
is taken with a probability ~ exp(SHARPNESS v_i . w), or in a share 1 - text of all words at random.

Everything follows from the configuration. Draws are made in float64 from integers of PCG64, block
of users by block of users, each block with a seed of its own: another platform may round the last
bit otherwise, which changes about one draw in 10^14.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.data.prepare.interactions import Interactions
from bench.data.sources.synthetic_config import SyntheticConfig

Floats = NDArray[np.float64]

BLOCK_USERS = 512
"""Users that are drawn at a time; part of what identifies the data."""

BEGIN = 1_199_145_600
"""The first of January 2008, in seconds of Unix time."""
DAY = 86_400
YEARS = 10
"""Users begin at any time of these years."""
GAP = 30 * DAY
"""Mean seconds between two interactions of a user."""

SHARPNESS = 8.0

_ITEMS, _TITLES, _LENGTHS, _BLOCKS = range(4)
"""Streams of random numbers that do not depend on one another."""


@dataclass(frozen=True)
class Block:
    """The interactions of consecutive users, ordered by user and time.

    Attributes:
        user: int32 [m], 0..U-1.
        item: int32 [m], 0..N-1.
        time: int64 [m], seconds, increasing within a user.
        state: float64 [m, d], the s_t that each item was drawn from; it follows from the user's
            interest and the item before, never from the item itself.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    state: Floats


class World:
    """What does not change: items, their popularity and clusters, the activity of users.

    Attributes:
        config: the settings that everything follows from.
        vectors: v, float64 [N, d], of length 1.
        centres: c, float64 [K, d], of length 1.
        log_popularity: log q_i, float64 [N].
        first: int64 [K + 1]; cluster k has the items first[k]..first[k + 1] - 1.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        random = self._random(_ITEMS)
        n, d = config.items, config.dimensions
        clusters = max(1, round(n**0.5))
        self.first = np.arange(clusters + 1) * n // clusters
        self.centres = _unit(random.standard_normal((clusters, d)))
        offset = random.standard_normal((n, d)) * (config.spread / d**0.5)
        self.vectors = _unit(self.centres[self.cluster] + offset)
        self.log_popularity = -config.zipf * np.log(random.permutation(n) + 1.0)
        self._order = random.permutation(d)
        self._sign = np.where(random.random(d) < 0.5, -1.0, 1.0)

    @cached_property
    def cluster(self) -> NDArray[np.int64]:
        """Cluster of each item, int64 [N]."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    @cached_property
    def followers(self) -> Floats:
        """T v, float64 [N, d]: where the items lie that follow an item."""
        return self.vectors[:, self._order] * self._sign

    @cached_property
    def log_mass(self) -> Floats:
        """Logarithm of q_k, float64 [K]."""
        return np.log(np.add.reduceat(np.exp(self.log_popularity), self.first[:-1]))

    def titles(self) -> list[str]:
        """A title of every item, no two the same."""
        random = self._random(_TITLES)
        words = [self._words(texts.split(), random) for texts in (ADJECTIVES, NOUNS, KINDS)]
        seen: Counter[str] = Counter()
        titles = []
        for adjective, noun, kind in zip(*words, strict=True):
            title = f"{adjective} {noun}: {kind}"
            seen[title] += 1
            titles.append(title if seen[title] == 1 else f"{title} {seen[title]}")
        return titles

    def _words(self, vocabulary: list[str], random: np.random.Generator) -> list[str]:
        directions = _unit(random.standard_normal((len(vocabulary), self.config.dimensions)))
        noise = -np.log(-np.log(random.random((len(self.vectors), len(vocabulary)))))
        telling = random.random(len(self.vectors)) < self.config.text
        affinity = SHARPNESS * self.vectors @ directions.T
        chosen = (np.where(telling[:, None], affinity, 0.0) + noise).argmax(axis=1)
        return [vocabulary[index] for index in chosen]

    def lengths(self) -> NDArray[np.int64]:
        """Interactions of each user, int64 [U]."""
        config, random = self.config, self._random(_LENGTHS)
        weights = np.exp(config.activity * random.standard_normal(config.users))
        rest = config.interactions - config.least * config.users
        return config.least + random.multinomial(rest, weights / weights.sum())

    def blocks(self) -> Iterator[Block]:
        """All interactions, ordered by user and time, in memory that does not grow with them."""
        lengths = self.lengths()
        for index, start in enumerate(range(0, len(lengths), BLOCK_USERS)):
            part = lengths[start : start + BLOCK_USERS]
            yield self._block(start, part, self._random(_BLOCKS, index))

    def _block(self, start: int, lengths: NDArray[np.int64], random: np.random.Generator) -> Block:
        """The interactions of the users start, start + 1, ... with these numbers of them."""
        place = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        item = np.empty(total, dtype=np.int32)
        state = np.empty((total, self.config.dimensions))
        # Users with most interactions first: those that go on are always the first few.
        order = np.argsort(-lengths, kind="stable")
        going = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
        interest = random.standard_normal((len(lengths), self.config.dimensions))
        for step, count in enumerate(going):
            at = place[order[:count]] + step
            now = self.config.interest * interest[:count]
            if step > 0:
                now += self.config.sequence * self.followers[item[at - 1]]
            state[at], item[at] = now, self._draw(now, random)
            fresh = random.standard_normal((count, self.config.dimensions))
            drift = self.config.drift
            interest[:count] = (1 - drift**2) ** 0.5 * interest[:count] + drift * fresh
        begin = BEGIN + random.integers(0, YEARS * 365 * DAY, len(lengths))
        elapsed = np.cumsum(1 + random.exponential(GAP, total).astype(np.int64))
        time = elapsed + np.repeat(begin - elapsed[place], lengths)
        user = np.repeat(np.arange(start, start + len(lengths), dtype=np.int32), lengths)
        return Block(user, item, time, state)

    def _draw(self, state: Floats, random: np.random.Generator) -> NDArray[np.int64]:
        """An item 0..N-1 for each state [B, d]: a cluster, then one of its items."""
        cluster = _choose(state @ self.centres.T + self.log_mass, random)
        first, size = self.first[cluster], np.diff(self.first)[cluster]
        slot = np.arange(size.max())
        # Sizes differ by at most one: the slot that a smaller cluster lacks cannot be drawn.
        items = np.minimum(first[:, None] + slot, len(self.vectors) - 1)
        logits = np.einsum("bsd,bd->bs", self.vectors[items], state) + self.log_popularity[items]
        return first + _choose(np.where(slot < size[:, None], logits, -np.inf), random)

    def log_probabilities(self, state: Floats) -> Floats:
        """The log P(item | state) of the catalogue: float64 [B, N] for states [B, d]."""
        by_cluster = _log_normalised(state @ self.centres.T + self.log_mass)
        by_item = state @ self.vectors.T + self.log_popularity
        largest = by_item.max(axis=1, keepdims=True)
        sums = np.add.reduceat(np.exp(by_item - largest), self.first[:-1], axis=1)
        by_item += (by_cluster - np.log(sums) - largest)[:, self.cluster]
        return by_item

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.config.seed, *stream]))


def read_synthetic(config: SyntheticConfig) -> Interactions:
    """All interactions that a configuration stands for, already in canonical order.

    Peak memory is 16 bytes an interaction, and what the tokens and titles need.
    """
    world = World(config)
    user = np.empty(config.interactions, dtype=np.int32)
    item = np.empty(config.interactions, dtype=np.int32)
    time = np.empty(config.interactions, dtype=np.int64)
    seen, at = np.zeros(config.items, dtype=bool), 0
    for block in world.blocks():
        part = slice(at, at + len(block.user))
        user[part], item[part], time[part] = block.user, block.item, block.time
        seen[block.item] = True
        at = part.stop
    report = [f"drew {config.interactions:,} interactions; none of this is real"]
    if not seen.all():
        report.append(f"{(~seen).sum():,} items have no interactions (they are ranked)")
    return Interactions(
        user=user,
        item=item,
        time=time,
        split=None,
        rating=None,
        user_tokens=_tokens("u", config.users),
        item_tokens=_tokens("i", config.items),
        item_texts=world.titles(),
        origin=config.origin,
        report=report,
    )


def _tokens(letter: str, count: int) -> list[str]:
    """Tokens whose order is that of their numbers."""
    width = len(str(count - 1))
    return [f"{letter}{number:0{width}}" for number in range(count)]


def _unit(vectors: Floats) -> Floats:
    return vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))


def _choose(logits: Floats, random: np.random.Generator) -> NDArray[np.int64]:
    """An index for each row [B, n], with a probability ~ exp(logit)."""
    cumulated = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    drawn = random.random(len(logits)) * cumulated[:, -1]
    return (cumulated < drawn[:, None]).sum(axis=1)


def _log_normalised(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


ADJECTIVES = (
    "Amber Ancient Arctic Bitter Blazing Broken Burning Clever Cosmic Crimson Crystal Curious "
    "Daring Distant Eternal Fallen Fearless Final Forgotten Frozen Gentle Ghostly Gilded Golden "
    "Hidden Hollow Humble Iron Jade Lonely Lost Lucky Mighty Misty Noble Painted Phantom Quiet "
    "Rapid Restless Royal Rusty Sacred Savage Secret Shattered Silent Silver Sleepy Stolen Stormy "
    "Sunken Swift Tangled Tiny Twisted Velvet Wandering Wicked Wild"
)

NOUNS = (
    "Anchor Arena Bastion Beacon Bridge Canyon Caravan Carnival Castle Cavern Circuit Citadel "
    "Comet Compass Convoy Crown Desert Dragon Dynasty Empire Engine Expedition Falcon Fjord Forest "
    "Fortress Galaxy Garden Glacier Harbor Harvest Horizon Island Jungle Kingdom Labyrinth Lagoon "
    "Lantern Legacy Lighthouse Market Meadow Mirror Monastery Mountain Oasis Observatory Orchard "
    "Orchestra Palace Pirate Planet Railway Reef River Stadium Temple Throne Tower Valley"
)

KINDS = (
    "Adventure Arcade Baking Battle Builder Cards Chess Climbing Cooking Dance Detective Farming "
    "Fishing Flight Football Golf Hockey Karaoke Logic Management Mystery Pinball Platform Puzzle "
    "Quiz Racing Rally Rhythm Sailing Shooter Simulation Skating Stealth Strategy Survival Tactics "
    "Tennis Trading Trivia Wrestling"
)
