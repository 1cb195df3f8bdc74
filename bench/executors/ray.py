"""Workers as tasks of a Ray cluster (extra `ray`)."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
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
from bench.limits import whole_number
from bench.records.store import ResultStore

_logger = logging.getLogger(__name__)

SECONDS = 0.5
"""How long a worker's lines are collected before they travel together."""
CONNECT_SECONDS = 10.0


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
        memory = int((self.config.memory_gb or 0) * 2**30)
        self._tell_if_no_node_has(ray, CPU=job.threads, GPU=self.config.gpus, memory=memory)
        remote = ray.remote(
            num_cpus=job.threads,
            num_gpus=self.config.gpus,
            memory=memory or None,
            max_retries=0,  # a trial that ends its worker would end the next one
            scheduling_strategy="SPREAD",
        )(worker)
        # The nodes' own processes were started in another environment.
        own = {name: value for name, value in os.environ.items() if name.startswith("BENCH_")}
        streams = {
            remote.remote(text, own): f"worker {number}"
            for number, text in enumerate(self._jobs(job, workers))
        }
        try:
            while streams:
                (stream,), _ = ray.wait(list(streams), num_returns=1)
                name = streams[stream]
                try:
                    status, lines, records = ray.get(next(stream))
                except ray.exceptions.RayError as error:  # its node, or the task, is gone
                    del streams[stream]
                    blames = isinstance(error, ray.exceptions.OutOfMemoryError)
                    yield Ended(name, f"its task is gone ({type(error).__name__})", blames)
                    continue
                yield from (Brought(name, key, files) for key, files in records.items())
                yield from (Said(name, line) for line in lines)
                if status is not None:
                    del streams[stream]
                    yield ended(name, status)
        finally:
            for stream in streams:  # a Ray that was there before goes on, and so would they
                ray.cancel(stream)

    def _tell_if_no_node_has(self, ray: Any, **wanted: float) -> None:
        """Ray lets tasks wait for what no node has, in silence: a node that has it may join."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= much for name, much in wanted.items()) for node in nodes):
            return
        memory = "" if self.config.memory_gb is None else f", {self.config.memory_gb:g} GB"
        _logger.warning(
            f"no node of the Ray cluster has what a worker asks for ({wanted['CPU']} CPUs, "
            f"{self.config.gpus:g} GPUs{memory}): they wait until one joins"
        )

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

    host, _, port = (address or "").rpartition(":")
    try:
        number = whole_number(port, 65535)
        if number is not None and "/" not in host:  # Ray would try for minutes
            socket.create_connection((host, number), timeout=CONNECT_SECONDS).close()
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": python_path()}},
        )
    except Exception as error:  # of many kinds
        raise ConfigError(
            f"--executor ray: no cluster at {address or 'RAY_ADDRESS, nor a new one here'}: {error}"
        ) from error


Report = tuple[int | None, list[str], dict[str, dict[str, bytes]]]
"""Exit status of a worker that has ended, lines that it printed, files of records by key."""


def worker(text: str, environment: Mapping[str, str]) -> Iterator[Report]:
    """What a task does: run one worker on its node, and say what it says.

    A process of its own, since a task's process serves other tasks afterwards. When Ray ends the
    task the worker notices that nobody waits, and ends as well.

    Args:
        text: a `Job` as JSON.
        environment: variables that the worker has beside those of its node.
    """
    job = Job.model_validate_json(text)
    if job.brings:  # failures that are here alone
        store = ResultStore(job.results)
        job = job.model_copy(update={"retry": job.retry.knowing(map(store.get, job.keys))})
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    process = WorkerProcess(job.model_dump_json(), environment)
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
