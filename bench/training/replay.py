"""Steps of training that are recorded once and replayed, as CUDA graphs.

A step of these students is some hundred small kernels, which a GPU finishes sooner than a host
launches them one by one. A recorded step is launched as a whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bench.errors import TrialFailure
from bench.training.rows import Portion

Terms = dict[str, Tensor]
"""Loss terms of a step by name, without gradients."""

Take = Callable[[Portion], Terms]
"""Takes one optimiser step."""

WARM_UP = 2
"""Ordinary steps before a recording: state of the optimiser, libraries and buffers are there."""


class Recorder(Protocol):
    """Runs pieces of work, and records their tensor operations, so that they can be run again."""

    def run(self, work: Callable[[], Terms]) -> Terms:
        """Run `work` where it will be recorded: all that is recorded later has to run here."""

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """Record `work`: tensors that each replay fills, and how to replay.

        What the work does is done by replays alone, the first one included.
        """


class CudaGraphs:
    """Records on a CUDA device, for the stream that is current when a recording is replayed.

    Everything runs on one stream beside it. A parameter's gradient is accumulated on the stream of
    the first step that is still alive, and a recording must not meet another stream.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        """Args: generators: those on the device that recorded work draws from."""
        self._device, self._generators = device, generators
        self._stream = torch.cuda.Stream(device)

    def run(self, work: Callable[[], Terms]) -> Terms:
        """See `Recorder.run`."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), warnings.catch_warnings():
            # An optimiser that can be recorded is not meant to be, here.
            warnings.filterwarnings("ignore", message="This instance was constructed with capt")
            terms = work()
        current.wait_stream(self._stream)
        return terms

    def record(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        """See `Recorder.record`.

        Raises:
            TrialFailure: the work cannot be recorded.
        """
        try:
            with torch.cuda.stream(self._stream):
                return self._recorded(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise TrialFailure(
                "training.cuda_graphs=true: a step of this method and student cannot be recorded; "
                f"with false it is launched kernel by kernel ({error})"
            ) from error

    def _recorded(self, work: Callable[[], Terms]) -> tuple[Terms, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self._stream):
            terms = work()
        return terms, graph.replay


class Replayed:
    """Takes the steps of one epoch: ordinary ones first, then replays of one recording.

    What a method sets before an epoch becomes part of a recording, which therefore lasts for one.
    A batch of another size than the usual is an ordinary step.
    """

    def __init__(self, take: Take, rows: int, recorder: Recorder) -> None:
        """Args: take: ordinary steps. rows: B of the steps that are recorded."""
        self._take, self._rows, self._recorder = take, rows, recorder
        self._prepared = 0
        self._recording: tuple[Tensor, Terms, Callable[[], None]] | None = None

    def __call__(self, portion: Portion) -> Terms:
        """Take a step; what it returns may be overwritten by the next one."""
        usual = len(portion) == self._rows
        if not usual or self._prepared < WARM_UP:
            self._prepared += usual
            return self._recorder.run(lambda: self._take(portion))
        if self._recording is None:
            self._recording = self._record(portion.row_id.clone())
        row_id, terms, replay = self._recording
        row_id.copy_(portion.row_id)
        replay()
        return terms

    def _record(self, row_id: Tensor) -> tuple[Tensor, Terms, Callable[[], None]]:
        return row_id, *self._recorder.record(lambda: self._take(Portion(row_id)))
