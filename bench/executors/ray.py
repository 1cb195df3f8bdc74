"""Workers as tasks of a Ray cluster (extra `ray`)."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat

from bench.errors import ConfigError
from bench.execution.worker import Job
from bench.executors.interface import (
    Brought,
    Ended,
    Event,
    Executor,
    ExecutorConfig,
    Said,
    register_executor,
)
from bench.executors.process import WorkerProcess, ended, python_path
from bench.records.store import ResultStore

SECONDS = 0.5
"""How long a worker's lines are collected before they travel together."""


@register_executor("ray")
class Ray(Executor):
    """Tasks of a Ray cluster, on nodes that share the results folder or on nodes that do not."""

    class Config(ExecutorConfig):
        address: str | None = Field(
            None, description="of the cluster; else RAY_ADDRESS, the one here, or a new one"
        )
        gpus: NonNegativeFloat = Field(0, description="for each worker, such as 1 or 0.25")
        memory_gb: PositiveFloat | None = Field(None, description="reserved for each worker")
        home: Path | None = Field(
            None,
            description="workspace of every node, where nodes share no disk: its datasets/ and "
            "tocf/ are made or copied there, and records come back through Ray",
        )

    config: Config

    def work(self, job: Job, workers: int) -> Generator[Event, None, None]:
        """See `Executor.work`. Ray ends the tasks of a process that dies."""
        try:
            import ray
        except ImportError as error:
            raise ConfigError(f"--executor ray: {error}: pip install '.[ray]'") from error
        was_there = ray.is_initialized()
        if not was_there:
            _connect(self.config.address)
        try:
            yield from self._tasks(ray, job, workers)
        finally:
            if not was_there:
                ray.shutdown()  # which ends the tasks that nobody needs any more

    def _tasks(self, ray: Any, job: Job, workers: int) -> Iterator[Event]:
        memory = self.config.memory_gb
        remote = ray.remote(
            num_cpus=job.threads,
            num_gpus=self.config.gpus,
            memory=None if memory is None else int(memory * 2**30),
            max_retries=0,  # a trial that ends its worker would end the next one
            scheduling_strategy="SPREAD",
        )(worker)
        streams = {
            remote.remote(text): f"worker {number}"
            for number, text in enumerate(self._jobs(job, workers))
        }
        while streams:
            (stream,), _ = ray.wait(list(streams), num_returns=1)
            name = streams[stream]
            try:
                status, lines, records = ray.get(next(stream))
            except ray.exceptions.RayError as error:  # its node, or the task, is gone
                del streams[stream]
                yield Ended(name, f"its task is gone ({type(error).__name__})")
                continue
            yield from (Brought(name, key, files) for key, files in records.items())
            yield from (Said(name, line) for line in lines)
            if status is not None:
                del streams[stream]
                yield ended(name, status)

    def _jobs(self, job: Job, workers: int) -> Iterator[str]:
        """The job of every worker, as JSON: the whole, or without a shared disk a part each."""
        home = self.config.home
        for number in range(workers):
            if home is None:
                yield job.model_dump_json()
            elif keys := job.keys[number::workers]:
                own = {"home": home, "results": home / "results", "keys": keys, "brings": True}
                yield job.model_copy(update=own).model_dump_json()


def _connect(address: str | None) -> None:
    import ray

    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": python_path()}},
        )
    except Exception as error:  # of many kinds
        raise ConfigError(
            f"--executor ray: no cluster at {address or 'RAY_ADDRESS, nor a new one here'}: {error}"
        ) from error


Report = tuple[int | None, list[str], dict[str, dict[str, bytes]]]
"""Exit status of a worker that has ended, lines that it printed, files of records by key."""


def worker(text: str) -> Iterator[Report]:
    """What a task does: run one worker on its node, and say what it says.

    A process of its own, since a task's process serves other tasks afterwards. When Ray ends the
    task the worker notices that nobody waits, and ends as well.
    """
    job = Job.model_validate_json(text)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    process = WorkerProcess(text)
    threading.Thread(target=_listen, args=(process, lines), daemon=True).start()
    brought: set[str] = set()
    try:
        open_ = True
        while open_:
            heard = list(_collected(lines))
            open_ = None not in heard
            status = None if open_ else process.wait()
            records = dict(_new_records(job, brought)) if job.brings else {}
            yield status, [line for line in heard if line is not None], records
    finally:
        process.tell_to_end()
        process.close()


def _listen(process: WorkerProcess, lines: queue.SimpleQueue[str | None]) -> None:
    for line in process.lines():
        lines.put(line)
    lines.put(None)


def _collected(lines: queue.SimpleQueue[str | None]) -> Iterator[str | None]:
    """The next line, and those that follow it soon; the last is None when there will be none."""
    yield lines.get()
    end = time.monotonic() + SECONDS
    with contextlib.suppress(queue.Empty):
        while (left := end - time.monotonic()) > 0:
            yield lines.get(timeout=left)


def _new_records(job: Job, brought: set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Records of the job that are on this node and have not been brought."""
    store = ResultStore(job.results)
    for key in set(job.keys) - brought:
        record, place = store.get(key), store.folder / key
        if record is None or record.is_to_be_retried(job.retry) or not place.is_dir():
            continue
        brought.add(key)
        yield key, {file.name: file.read_bytes() for file in place.iterdir()}
