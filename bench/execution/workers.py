"""Trials in several processes at once, wherever an executor starts them.

The process that started the workers passes on what they say, and records what became of the trial
of one that dies.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from bench import progress
from bench.errors import BenchError, InputsChanged
from bench.execution.environment import capture
from bench.execution.inputs import Inputs
from bench.execution.runner import Task, Watch
from bench.execution.worker import MARK, Job
from bench.executors.interface import Brought, Ended, Event, Executor, Said
from bench.plan import Trial
from bench.progress import Advance
from bench.records.merge import adopt
from bench.records.record import failed

_logger = logging.getLogger(__name__)


def run_in_workers(task: Task, executor: Executor, workers: int, watch: Watch) -> list[str]:
    """Run trials in workers until all have ended, or nothing is left to do.

    A trial that may have ended its worker is recorded as `lost-worker`. The worker is not
    replaced: the others go on, and where memory is short, fewer at once is what helps. So it is
    with a worker that an error of its trial leaves without a device.

    Args:
        task: what to run.
        executor: starts the workers.
        workers: how many.
        watch: see `bench.execution.runner.Watch`.

    Returns:
        What ended those workers that did not end by themselves, a sentence each.

    Raises:
        BenchError: no trial can be run any more; the results folder cannot be written to; the
            executor cannot start workers.
    """
    return _followed(executor.work(Job.of(task), workers), task, executor, watch)


def _followed(
    work: Generator[Event, None, None], task: Task, executor: Executor, watch: Watch
) -> list[str]:
    known: dict[str, _Worker] = {}
    losses: list[str] = []
    with contextlib.closing(work) as events:
        try:
            for event in events:
                worker = known.setdefault(
                    event.worker, _Worker(task, watch, is_here=executor.is_here)
                )
                if isinstance(event, Said):
                    worker.hear(event.line)
                elif isinstance(event, Brought):
                    adopt(task.store, event.key, event.files)
                else:
                    worker.end(event)
                    if event.why:
                        losses.append(f"{event.worker}: {event.why}")
                    # Those that still wait for a machine would find nothing to do.
                    if not task.incomplete():
                        break
        finally:
            for worker in known.values():
                worker.close()
    return losses


def run_apart(task: Task, inputs: Inputs, executor: Executor, at_once: int, watch: Watch) -> None:
    """Run each trial in a worker of its own, which ends with it.

    What a method does to its process, to the evaluation in it for one, reaches no other trial.

    Args:
        task: what to run.
        inputs: of the task.
        executor: starts the workers, on this machine.
        at_once: how many there may be at a time.
        watch: see `bench.execution.runner.Watch`.

    Raises:
        InputsChanged: data or a teacher are not those that trials were planned for; the others
            have run, and these have no record.
        BenchError: as `run_in_workers`.
    """
    trials = task.incomplete()
    if not trials:
        return
    jobs = [Job.of(replace(task, trials=[trial])) for trial in trials]
    losses = _followed(executor.apart(jobs, at_once), task, executor, watch)
    why_of = dict(loss.split(": ", 1) for loss in losses)
    refused: list[InputsChanged] = []
    for number, trial in enumerate(trials):
        if task.is_complete(trial):
            continue
        try:
            inputs.of(trial)
        except InputsChanged as error:
            refused.append(error)
            continue
        with task.store.claim(trial.key) as granted:  # else another process is at it
            if granted and not task.is_complete(trial):
                why = why_of.get(f"worker {number}", "its process ended without a word")
                _logger.info(f"{trial.label}: lost-worker: {why}")
                environment = capture(task.device, task.threads, task.executor)
                task.store.write(failed(trial, "lost-worker", why, environment))
                watch(None)
    if refused:
        raise InputsChanged(f"{len(refused)} trials did not run and have no record: {refused[0]}")


class _Worker:
    """A worker as the process that started it sees it."""

    def __init__(self, task: Task, watch: Watch, *, is_here: bool) -> None:
        self.task = task
        self.is_here = is_here
        self.watch = watch
        self.trial: Trial | None = None
        self.bars: dict[int, tuple[contextlib.ExitStack, Advance]] = {}

    def hear(self, line: str) -> None:
        """Pass on a line that it printed."""
        text, mark, event = line.partition(MARK)
        if text:  # of a library, or of a method that prints
            _logger.info(text)
        if mark:
            with contextlib.suppress(ValueError):  # it ended in the middle of a line
                ((kind, content),) = json.loads(event).items()
                getattr(self, f"_on_{kind}")(content)

    def _on_log(self, content: tuple[int, str]) -> None:
        _logger.log(*content)

    def _on_error(self, content: str) -> None:
        raise BenchError(content)

    def _on_trial(self, key: str | None) -> None:
        self.trial = next((trial for trial in self.task.trials if trial.key == key), None)
        self.watch(self.trial)

    def _on_loop(self, content: dict[str, Any]) -> None:
        stack = contextlib.ExitStack()
        number = content.pop("number")
        self.bars[number] = stack, stack.enter_context(progress.track(**content))

    def _on_advance(self, content: tuple[int, int]) -> None:
        number, steps = content
        self.bars[number][1](steps)

    def _on_end(self, number: int) -> None:
        self.bars.pop(number)[0].close()

    def end(self, event: Ended) -> None:
        """Record the trial of a worker that died of it."""
        self.close()
        trial, task = self.trial, self.task
        if not event.why:
            return
        if trial is None or not event.blames or task.is_complete(trial):
            _logger.info(f"{event.worker} is lost, no trial with it: {event.why}")
            return
        _logger.info(f"{trial.label}: lost-worker: {event.why}")
        self.watch(None)
        with task.store.claim(trial.key) as granted:
            # Another worker may have been faster, and tries the trial again.
            if granted and not task.is_complete(trial):
                environment = {"executor": task.executor}
                if self.is_here:
                    environment = capture(task.device, task.threads, task.executor)
                task.store.write(failed(trial, "lost-worker", event.why, environment))

    def close(self) -> None:
        """Draw no bars of it any more."""
        for number in list(self.bars):
            self._on_end(number)
