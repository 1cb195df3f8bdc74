"""Synthetic rows and a random teacher of any size, for measuring what a step costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.distillation import Knowledge
from bench.training.rows import DeviceRows


@dataclass(frozen=True)
class Sizes:
    """How large the world is.

    Attributes:
        items: N.
        rows: R, a multiple of the longest history.
        history: L.
        teacher: D, width of the teacher's embeddings.
        listed: K_T, items of a teacher's list.
        models: M of the trajectories, with `states` C and lists of `trajectory_listed` items.
    """

    items: int
    rows: int
    history: int = 10
    teacher: int = 128
    listed: int = 100
    models: int = 5
    states: int = 4
    trajectory_listed: int = 64


@dataclass(frozen=True)
class World:
    """The training rows and all that a teacher may know of them."""

    rows: DeviceRows
    knowledge: Knowledge


def make_world(sizes: Sizes, seed: int = 0) -> World:
    """The same world for every method.

    Large tensors are made without larger intermediate ones, so that the peak of a process's
    memory is that of its training steps.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = _rows(sizes, generator)
    return World(rows, teach(rows, sizes, generator))


def teach(rows: DeviceRows, sizes: Sizes, generator: torch.Generator) -> Knowledge:
    """All that a random teacher of the given sizes may know of `rows`, on the CPU."""
    listed = min(sizes.listed, sizes.items)
    embeddings = torch.randn(sizes.items + 1, sizes.teacher, generator=generator)
    embeddings[0] = 0
    count = len(rows)
    return Knowledge(
        target_counts=torch.bincount(rows.target, minlength=sizes.items + 1).float(),
        rows=rows,
        embeddings=embeddings,
        rankings=_lists(count, listed, sizes.items, generator),
        distances=torch.rand(count, listed, generator=generator).cumsum_(dim=1),
        covered=torch.ones(count, dtype=torch.bool),
        truth_distance=torch.rand(count, generator=generator),
        trajectories=_trajectories(count, sizes, generator),
        trajectory_names=tuple(f"model-{index}" for index in range(sizes.models)),
        histories=torch.randn(count, sizes.teacher, generator=generator),
    )


def _rows(sizes: Sizes, generator: torch.Generator) -> DeviceRows:
    """Users with one row for every length 1..L of their history, popular items drawn more often."""
    longest = sizes.history
    users = sizes.rows // longest
    # A cubed uniform: the most popular tenth of the items has almost half of the draws.
    draws = torch.rand(users, longest + 1, generator=generator) ** 3
    sequence = 1 + (draws * sizes.items).long()
    length = torch.arange(1, longest + 1)
    inside = torch.arange(longest) < length.unsqueeze(1)
    history = sequence[:, :longest].unsqueeze(1) * inside
    return DeviceRows(
        history=history.reshape(-1, longest),
        length=length.repeat(users),
        target=sequence[:, 1:].reshape(-1),
        user=torch.arange(users).repeat_interleave(longest),
        ordinal=length.repeat(users),
    )


def _lists(count: int, k: int, items: int, generator: torch.Generator) -> Tensor:
    """Lists of k different items each: int64 [count, k], ids 1..items."""
    first = torch.randint(items, (count, 1), generator=generator)
    # Steps of a width without a common divisor come back after `items` of them, not before.
    widths = torch.tensor([1, _coprime(items)])
    width = widths[torch.randint(2, (count, 1), generator=generator)]
    return (torch.arange(k) * width).add_(first).remainder_(items).add_(1)


def _coprime(items: int) -> int:
    """A width near the golden section of `items`, whose steps spread evenly."""
    width = max(1, round(items * 0.618))
    while math.gcd(width, items) != 1:
        width += 1
    return width


def _trajectories(count: int, sizes: Sizes, generator: torch.Generator) -> Tensor:
    k = min(sizes.trajectory_listed, sizes.items)
    table = torch.empty(sizes.models, sizes.states, count, k, dtype=torch.int32)
    for model in table:
        for state in model:
            state.copy_(_lists(count, k, sizes.items, generator))
    return table
