"""Steps of training that are recorded once and replayed, as CUDA graphs.

A step of these students is some hundred small kernels, which a GPU finishes sooner than a host
launches them one by one. A recorded step is launched as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bench.training.rows import Portion

Terms = dict[str, Tensor]
"""Loss terms of a step by name, without gradients."""

Take = Callable[[Portion], Terms]
"""Takes one optimiser step."""

WARM_UP = 2
"""Ordinary steps before a recording: what is allocated once is there, gradients as they stay."""


class Recorder(Protocol):
    """Records the tensor operations of a piece of work, so that they can be run again."""

    def prepare(self, work: Callable[[], Terms]) -> Terms:
        """Run `work` in the way in which it will be recorded."""

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """Record `work` without running it: tensors that each replay fills, and how to replay."""


class CudaGraphs:
    """Records on a CUDA device, for the stream that is current when a recording is replayed."""

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        """Args: generators: those on the device that recorded work draws from."""
        self._device, self._generators = device, generators
        self._stream = torch.cuda.Stream(device)

    def prepare(self, work: Callable[[], Terms]) -> Terms:
        """See `Recorder.prepare`."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            terms = work()
        current.wait_stream(self._stream)
        return terms

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """See `Recorder.record`."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self._stream):
            terms = work()
        return terms, graph.replay


class Replayed:
    """Takes the steps of one epoch: ordinary ones first, then replays of one recording.

    What a method sets before an epoch becomes part of a recording, which therefore lasts for one.
    Batches of another size than the usual, and those of windows, are taken as ordinary steps.
    """

    def __init__(self, take: Take, rows: int, recorder: Recorder) -> None:
        """Args: take: ordinary steps. rows: B of the steps that are recorded."""
        self._take, self._rows, self._recorder = take, rows, recorder
        self._prepared = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, portion: Portion) -> Terms:
        """Take a step; what it returns may be overwritten by the next one."""
        if portion.window is not None or len(portion) != self._rows:
            return self._take(portion)
        if self._prepared < WARM_UP:
            self._prepared += 1
            return self._recorder.prepare(lambda: self._take(portion))
        if self._replay is None:
            self._row_id = portion.row_id.clone()
            self._terms, self._replay = self._recorder.record(
                lambda: self._take(Portion(self._row_id))
            )
        self._row_id.copy_(portion.row_id)
        self._replay()
        return self._terms
