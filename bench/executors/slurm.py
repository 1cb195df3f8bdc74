"""Workers as an array of Slurm jobs, submitted with submitit (extra `slurm`)."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from bench.errors import ConfigError
from bench.executors.interface import (
    Ended,
    Event,
    Executor,
    ExecutorConfig,
    Said,
    register_executor,
)
from bench.executors.process import GRACE_SECONDS, WorkerProcess, ended, python_path
from bench.files import writing_to

if TYPE_CHECKING:
    import submitit

    from bench.execution.worker import Job

_logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
_EXIT = "# worker ended with status "
"""The last line of a job; the result that submitit pickles is not read."""

LOST = 3
"""Polls in a row that do not know a job, after which it has ended: its state was forgotten."""

_BLAMES = ("OUT_OF_MEMORY",)
"""Final states of which a trial may be the cause; others are of the machine or of somebody."""


@register_executor("slurm")
class Slurm(Executor):
    """An array of jobs; it outlives the process that submitted it, and is requeued at its end."""

    class Config(ExecutorConfig):
        partition: str | None = Field(None, description="as in sbatch; so are those that follow")
        account: str | None = None
        qos: str | None = None
        constraint: str | None = None
        exclude: str | None = None
        gres: str | None = Field(None, description="such as gpu:a100:1, for each worker")
        gpus: int = Field(0, ge=0, le=1, description="for each worker: 0 or 1")
        mem_gb: PositiveFloat | None = None
        timeout_min: int = Field(60, ge=3, description="wall time of a worker")
        signal_delay_s: PositiveInt = Field(90, description="seconds before it to let go in")
        requeues: NonNegativeInt = Field(20, description="times that a worker begins again at it")
        setup: tuple[str, ...] = Field(
            (), description="shell lines before a worker, such as ulimit"
        )
        folder: Path | None = Field(None, description="of logs, on a shared disk; in the results")

        @field_validator("setup", mode="before")
        @classmethod
        def _one_line_is_enough(cls, value: object) -> object:
            return [value] if isinstance(value, str) else value

        @model_validator(mode="after")
        def _leaves_time(self) -> Slurm.Config:
            # Slurm signals up to a minute before it was asked to.
            if self.signal_delay_s > 60 * self.timeout_min - 60:
                raise ValueError(
                    f"signal_delay_s={self.signal_delay_s} leaves a worker of "
                    f"timeout_min={self.timeout_min} no time: at most {60 * self.timeout_min - 60}"
                )
            return self

    config: Config

    def work(self, job: Job, workers: int) -> Generator[Event, None, None]:
        """See `Executor.work`.

        Interrupted, it leaves the jobs to Slurm: they go on without it.
        """
        submitted = self._submit(job, workers)
        number = submitted[0].job_id.partition("_")[0]
        _logger.info(f"Slurm job {number}: {workers} workers; `scancel {number}` ends them")
        logs = {one.job_id: _Log(one) for one in submitted}
        unknown = dict.fromkeys(logs, 0)
        interrupted = False
        try:
            while logs:
                time.sleep(POLL_SECONDS)
                states = _states(number)
                for name in list(logs):
                    log, state = logs[name], states.get(name, "")
                    yield from (Said(name, line) for line in log.lines())
                    unknown[name] = 0 if state else unknown[name] + 1
                    if state in _UNDER_WAY or (not state and unknown[name] < LOST):
                        continue
                    yield from (Said(name, line) for line in log.lines())
                    yield log.end(name, state or "gone")
                    del logs[name]
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if logs and not interrupted:
                subprocess.run(["scancel", number], check=False, capture_output=True)  # noqa: S603, S607

    def _submit(self, job: Job, workers: int) -> list[submitit.Job[int]]:
        """Submit the array; its indices are below `workers`.

        Raises:
            ConfigError: there is no Slurm or no submitit, or Slurm refuses the jobs.
        """
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(f"--executor slurm: {error}: pip install '.[slurm]'") from error
        if missing := [name for name in ("sbatch", "srun", "squeue") if not shutil.which(name)]:
            raise ConfigError(
                f"--executor slurm: no {', '.join(missing)} here: is this a node of a cluster?"
            )
        folder = (self.config.folder or job.results / ".slurm").absolute()
        with writing_to(f"the folder of logs {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.config.requeues)
        executor.update_parameters(**self._parameters(job), array_parallelism=workers)
        text = job.model_dump_json()
        with _outside_of_jobs():
            try:
                return executor.map_array(Work(), [text] * workers)
            except submitit.core.utils.FailedJobError as error:
                words = str(error).strip().splitlines()
                raise ConfigError(
                    f"--executor slurm: sbatch refused {workers} workers: {words[-1]}. Nothing was "
                    "submitted; fewer --workers, or another partition or qos, may fit"
                ) from error

    def _parameters(self, job: Job) -> dict[str, Any]:
        config = self.config
        same = ("partition", "account", "qos", "constraint", "exclude", "gres")
        chosen = {name: getattr(config, name) for name in same if getattr(config, name) is not None}
        if config.mem_gb is not None:
            chosen["mem"] = f"{round(config.mem_gb * 1024)}M"
        if config.gpus:
            chosen["gpus_per_node"] = config.gpus
        return {
            **chosen,
            "job_name": "bench",
            "cpus_per_task": job.threads,
            "time": config.timeout_min,
            "signal_delay_s": config.signal_delay_s,
            "setup": [f"export PYTHONPATH={shlex.quote(python_path())}", *config.setup],
            "stderr_to_stdout": False,
        }


class Work:
    """What a job runs: one worker, whose exit status is the job's result (pickled by name)."""

    _process: WorkerProcess | None = None

    def __call__(self, job: str) -> int:
        self._process = WorkerProcess(job, output=None)
        # Waited for by a thread: `checkpoint` interrupts this one, and waits as well.
        self._ended = threading.Event()
        threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()
        self._ended.wait()
        status = self._process.wait()
        print(f"{_EXIT}{status}", flush=True)  # noqa: T201
        return status

    def _wait(self, process: WorkerProcess) -> None:
        process.wait()
        self._ended.set()

    def checkpoint(self, job: str) -> submitit.helpers.DelayedSubmission:
        """Let go of the trial before the wall time, or for somebody else; begin again later.

        A handler of submitit calls it, for the signal that comes before either.
        """
        import submitit

        if self._process is not None:
            self._process.tell_to_end()
            self._ended.wait(GRACE_SECONDS)
        return submitit.helpers.DelayedSubmission(Work(), job)


class _Log:
    """What a job prints, as far as it was not read yet."""

    def __init__(self, job: submitit.Job[int]) -> None:
        self._job = job
        self._read = 0
        self._rest = ""
        self._status: int | None = None

    def lines(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):  # it has not begun
            with self._job.paths.stdout.open("rb") as stream:
                stream.seek(self._read)
                content = stream.read()
            self._read += len(content)
            *whole, self._rest = (self._rest + content.decode(errors="replace")).split("\n")
            for line in whole:
                if line.startswith(_EXIT):
                    self._status = int(line.removeprefix(_EXIT))
                elif not line.startswith("submitit "):  # what it says of itself
                    yield line

    def end(self, name: str, state: str) -> Ended:
        """What became of a job that is in a final state."""
        if self._status is not None:
            return ended(name, self._status)
        return Ended(name, f"its job was {state}", blames=state in _BLAMES)


_UNDER_WAY = (
    "CONFIGURING", "COMPLETING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING",
    "RESV_DEL_HOLD", "RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED",
)  # fmt: skip


def _states(number: str) -> dict[str, str]:
    """State of every job of an array, by `NUMBER_INDEX`; without those that Slurm has forgotten.

    `squeue` also works where nothing keeps accounts, and knows ended jobs for some minutes.
    """
    command = [
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        "--format=%i|%T",
        "--jobs",
        number,
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    pairs = (line.strip().partition("|") for line in told.stdout.splitlines())
    return {name: state for name, _, state in pairs}


@contextlib.contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide the variables of a job that this process runs in: its own jobs would inherit them."""
    own = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("SLURM_") and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(own)
