"""Controls: knowledge generated from a teacher's, of which it is known what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from bench.distillation import Knowledge
from bench.errors import UnknownNameError
from bench.signals import CONTROLS, COVERED, Signal


def apply_control(knowledge: Knowledge, control: str, seed: int, targets: Tensor) -> Knowledge:
    """Knowledge of the same signals and shapes under a control.

    Args:
        knowledge: what the teacher knows; left as it is. Trajectories, memory-mapped before, are a
            changed copy in memory.
        control: one of `CONTROLS`, each described at its function here.
        seed: decides what is random.
        targets: int [R], ids 1..N of the targets of the training examples.

    Raises:
        UnknownNameError: no such control.
    """
    if control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    return _BY_NAME[control](knowledge, torch.Generator().manual_seed(seed), targets.long())


def shuffled(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Lists of other examples, embeddings of other items: distributions stay, pairing is lost.

    Every training example has the arrays and the coverage of another random example, and every item
    the vector of another random item. Lists still name the items that the teacher lists often.
    """
    moved = shuffled_rows(knowledge, generator, targets)
    items = [signal for signal in knowledge.arrays() if signal.index == "items"]
    if not items:
        return moved
    order = _permutation(len(knowledge.target_counts), 1, generator)
    return _changed(moved, items, lambda _, table: table[order])


def shuffled_rows(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Arrays of other examples: what is known of items stays, what is known of histories goes.

    The examples move as they do under `shuffled` with the same seed.
    """
    examples = [signal for signal in knowledge.arrays() if signal.index == "examples"]
    if set(examples) <= {COVERED}:
        return knowledge
    order = _permutation(len(targets), 0, generator)
    return _changed(
        knowledge, examples, lambda signal, table: table.index_select(signal.axis, order)
    )


def shuffled_items(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """Every item under the name of another: one random renaming in lists and embeddings alike.

    Examples and items keep their relations to one another, and lists their agreement with
    embeddings; it is lost which item of the catalogue each of them is.
    """
    new_name = _permutation(len(knowledge.target_counts), 1, generator)

    def renamed(signal: Signal, table: Tensor) -> Tensor:
        if signal.holds_ids:
            return _each_table(table, lambda lists: new_name[lists.long()])
        return table[new_name.argsort()] if signal.index == "items" else table

    return _changed(knowledge, knowledge.arrays(), renamed)


def popularity(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """What counting tells: the most frequent training targets, the same list for every example.

    Ties are broken by catalogue order. Distances are the teacher's mean at each place. Embeddings
    have one dimension, laid along all D of the teacher's: the item's standardised log(1 + count),
    as long on average as the teacher's centred vectors. The distance of an example's target is that
    to the item listed first. What else belongs to examples is the teacher's mean. Coverage is the
    teacher's.
    """
    counts = knowledge.target_counts[1:]
    order = counts.argsort(descending=True, stable=True) + 1
    spread = counts.log1p()
    spread = torch.cat([spread.new_zeros(1), (spread - spread.mean()) / (spread.std() + 1e-6)])
    length = _mean_length(knowledge.embeddings)

    def counted(signal: Signal, table: Tensor) -> Tensor:
        if signal is COVERED:
            return table
        if signal.holds_ids:
            best = order[: table.shape[-1]].to(table.dtype)
            return best.expand_as(table).clone()
        if signal.index == "items":
            width = table.shape[1]
            return (spread * _mean_length(table) / width**0.5)[:, None].repeat(1, width)
        if signal.of_target:
            return length * (spread[order[0]] - spread[targets]).abs()
        known = table if knowledge.covered is None else table[knowledge.covered]
        mean = known.mean(dim=0)
        if signal.ascending:
            mean = mean.cummax(dim=0).values
        return mean.expand_as(table).clone()

    return _changed(knowledge, knowledge.arrays(), counted)


def oracle(knowledge: Knowledge, generator: Generator, targets: Tensor) -> Knowledge:
    """The example's own target first, then the teacher's list: a bound no teacher passes honestly.

    Only training examples have lists, so only their targets are given away. The last item makes
    room where the target was not listed. Distances stay place by place; that of the target is 0.
    """

    def revealed(signal: Signal, table: Tensor) -> Tensor:
        if signal.holds_ids:
            return _each_table(table, lambda lists: _target_first(lists, targets))
        return torch.zeros_like(table) if signal.of_target else table

    return _changed(knowledge, knowledge.arrays(), revealed)


_BY_NAME: dict[str, Callable[[Knowledge, Generator, Tensor], Knowledge]] = {
    "shuffled": shuffled,
    "shuffled-rows": shuffled_rows,
    "shuffled-items": shuffled_items,
    "popularity": popularity,
    "oracle": oracle,
}


def _changed(
    knowledge: Knowledge, signals: Iterable[Signal], change: Callable[[Signal, Tensor], Tensor]
) -> Knowledge:
    """Knowledge with `change` applied to the arrays of some signals."""
    arrays = knowledge.arrays()
    changed: dict[str, Any] = {one.attribute: change(one, arrays[one]) for one in signals}
    return replace(knowledge, **changed)


def _mean_length(embeddings: Tensor | None) -> float:
    """Root mean squared length of centred vectors [N + 1, D]; 1 without any."""
    if embeddings is None:
        return 1.0
    centred = embeddings[1:] - embeddings[1:].mean(dim=0)
    return float(centred.square().sum(dim=1).mean().sqrt())


def _target_first(lists: Tensor, targets: Tensor) -> Tensor:
    """Lists [R, K] with the target moved, or put, to the first place."""
    is_target = lists == targets[:, None]
    place = torch.where(is_target.any(dim=1), is_target.int().argmax(dim=1), lists.shape[1] - 1)
    column = torch.arange(lists.shape[1]).expand_as(lists)
    moved = lists.gather(1, (column - (column <= place[:, None]).long()).clamp(min=0))
    moved[:, 0] = targets.to(lists.dtype)
    return moved


def _each_table(lists: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Lists [..., R, K] in memory, `change` applied to each table [R, K], one at a time."""
    changed = torch.empty(lists.shape, dtype=lists.dtype)
    for place in np.ndindex(*lists.shape[:-2]):
        changed[place] = change(lists[place])
    return changed


def _permutation(count: int, fixed: int, generator: Generator) -> Tensor:
    """A random order of `count` things that leaves the first `fixed` in place."""
    return torch.cat(
        [torch.arange(fixed), torch.randperm(count - fixed, generator=generator) + fixed]
    )
