"""CUDA graphs as far as a CPU can know them: a tape of tensor operations, run again and again.

What a recording cannot follow is refused where a CPU sees it: values that reach Python through an
operation, shapes that depend on values, tensors that Python makes of its own numbers, draws from
generators that nobody registered. It does not see `tolist` and `numpy`, copies between devices,
streams and the memory of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.generators = generators
        self.replays = 0

    def run(self, work: Callable[[], Terms]) -> Terms:
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
        if not _recordable(func, args) or not self._knows(kwargs.get("generator")):
            raise Refused(str(func))
        made = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, made))
        return made

    def _knows(self, generator: torch.Generator | None) -> bool:
        # An operation sees its generator under another Python object: the seed tells who it is.
        seeds = [known.initial_seed() for known in self.generators]
        return generator is None or generator.initial_seed() in seeds


def _recordable(func: Any, args: tuple[Any, ...]) -> bool:
    if func is aten.lift_fresh.default or torch.Tag.data_dependent_output in func.tags:
        return False
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
