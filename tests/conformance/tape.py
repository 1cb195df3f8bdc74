"""CUDA graphs as far as a CPU can know them: a tape of tensor operations, run again and again.

What a recording cannot follow is refused, as by a CUDA device: values that reach Python, shapes
that depend on values, and tensors that Python makes of its own numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from bench.training.replay import Terms

aten = torch.ops.aten


class Refused(Exception):
    """An operation that a CUDA graph cannot record."""


class Tape(TorchDispatchMode):
    """Implements `bench.training.replay.Recorder`; `replays` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0

    def prepare(self, work: Callable[[], Terms]) -> Terms:
        return work()

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        with self:
            terms = work()
        operations, first = self.operations, True

        def replay() -> None:
            # On a CPU, recording has run the work already, on the batch of the first replay.
            nonlocal first
            self.replays += 1
            if not first:
                _run(operations, terms)
            first = False

        return terms, replay

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _recordable(func, args):
            raise Refused(str(func))
        made = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, made))
        return made


def _recordable(func: Any, args: tuple[Any, ...]) -> bool:
    if torch.Tag.data_dependent_output in func.tags:
        return False
    if func is aten.lift_fresh.default:
        # A number that is assigned to a part of a tensor has no dimension; devices fill it in.
        return args[0].dim() == 0
    if func in (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default):
        return all(index is None or index.dtype != torch.bool for index in args[1])
    return torch.Tag.dynamic_output_shape not in func.tags


@torch.no_grad()
def _run(operations: list[tuple[Any, Any, Any, Any]], terms: Terms) -> None:
    """Run a tape: tensors that it made are made anew, others are read and written as they are."""
    now: dict[int, Tensor] = {}

    def current(tensor: Tensor) -> Tensor:
        return now.get(id(tensor), tensor)

    for func, args, kwargs, made in operations:
        again = func(
            *tree_map_only(Tensor, current, args), **tree_map_only(Tensor, current, kwargs)
        )
        for before, after in zip(tree_flatten(made)[0], tree_flatten(again)[0], strict=True):
            if isinstance(before, Tensor):
                now[id(before)] = after
    values = {name: current(term).clone() for name, term in terms.items()}
    for name, term in terms.items():
        term.copy_(values[name])
