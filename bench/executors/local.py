"""Workers on this machine, each on a GPU of its own if it has several."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from bench.errors import ConfigError
from bench.execution.devices import divide
from bench.executors.interface import Event, Executor, ExecutorConfig, Said, register_executor
from bench.executors.process import WorkerProcess, ended
from bench.limits import whole_number

if TYPE_CHECKING:
    from bench.execution.devices import Jobs
    from bench.execution.worker import Job

VISIBLE = "CUDA_VISIBLE_DEVICES"


@register_executor("local")
class Local(Executor):
    """Processes of this machine; no worker outlives the process that started it."""

    is_here = True

    class Config(ExecutorConfig):
        gpus: tuple[str, ...] = Field(
            (), description="numbers or UUIDs, workers take turns at them"
        )

        @field_validator("gpus", mode="before")
        @classmethod
        def _listed(cls, value: object) -> object:
            texts = value if isinstance(value, list | tuple) else str(value).split(",")
            names = [str(text).strip() for text in texts]
            if not all(names) or len(set(names)) < len(names):
                raise ValueError("expected different GPUs, such as 0,1,2,3")
            return names

    config: Config

    @property
    def needs_workers(self) -> bool:
        """See `Executor.needs_workers`: a process that has a device has it for good."""
        return bool(self.config.gpus)

    def divide(self, jobs: Jobs | None, threads: int | None) -> tuple[int, int]:
        """See `Executor.divide`: one for each GPU, if no number was asked for."""
        return divide(jobs or len(self.config.gpus) or 1, threads)

    def device(self, here: str, wanted: str) -> str:
        """See `Executor.device`: every worker sees its GPU alone."""
        return "cuda" if self.config.gpus and wanted != "cpu" else here

    def work(self, job: Job, workers: int) -> Generator[Event, None, None]:
        """See `Executor.work`."""
        return self.apart([job] * workers, workers)

    def apart(self, jobs: Sequence[Job], at_once: int) -> Generator[Event, None, None]:
        """Start a worker for each job, so many at a time, and yield as `work` does."""
        gpus = visible(self.config.gpus, os.environ.get(VISIBLE))
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        waiting = deque(enumerate(jobs))
        working: dict[str, tuple[WorkerProcess, str | None]] = {}

        def start(gpu: str | None) -> None:
            number, job = waiting.popleft()
            # Chosen before torch is imported: afterwards every process would hold memory on the
            # first GPU.
            environment = {} if gpu is None else {VISIBLE: gpu}
            name, process = f"worker {number}", WorkerProcess(job.model_dump_json(), environment)
            working[name] = process, gpu
            threading.Thread(target=_listen, args=(name, process, events), daemon=True).start()

        try:
            for gpu in islice(cycle(gpus or [None]), min(at_once, len(jobs))):
                start(gpu)
            while working:
                event = events.get()
                if not isinstance(event, Said):
                    process, gpu = working.pop(event.worker)
                    process.close()
                    if waiting:
                        start(gpu)
                yield event
        finally:
            left = [process for process, _ in working.values()]
            for process in left:
                process.tell_to_end()
            for process in left:
                process.close()


def _listen(name: str, process: WorkerProcess, events: queue.SimpleQueue[Event]) -> None:
    for line in process.lines():
        events.put(Said(name, line))
    events.put(ended(name, process.wait()))


def visible(gpus: tuple[str, ...], here: str | None) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` of a worker says for each GPU that was asked for.

    Numbers count what this process may see: a scheduler may have given it devices 2 and 3, or
    parts of devices that have no number.

    Args:
        gpus: numbers from 0, or UUIDs.
        here: `CUDA_VISIBLE_DEVICES` of this process, if it is set.

    Raises:
        ConfigError: a number for which this process sees no device.
    """
    if here is None:
        return list(gpus)
    seen = [name.strip() for name in here.split(",") if name.strip()]
    numbers = [whole_number(gpu, len(seen) - 1) for gpu in gpus]
    pairs = zip(gpus, numbers, strict=True)
    if beyond := [gpu for gpu, number in pairs if gpu.isdecimal() and number is None]:
        raise ConfigError(
            f"--gpus {','.join(gpus)}: no GPU {beyond[0]} here: {VISIBLE}={here} leaves "
            f"{len(seen)}, counted from 0"
        )
    named = zip(gpus, numbers, strict=True)
    return [gpu if number is None else seen[number] for gpu, number in named]
