"""Which device, how many threads, and how many trials at once."""

import os
import subprocess
import sys

import pytest
import torch

from bench.errors import ConfigError
from bench.execution import devices
from bench.execution.devices import Jobs, divide, resolve_device, still_works


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.device_count() else "cpu")
    for name in ("gpu", "cuda:77", "", "cpu:0"):
        with pytest.raises(ConfigError, match="Allowed: auto, cpu"):
            resolve_device(name)


def test_a_process_has_the_cores_that_it_is_confined_to() -> None:
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from bench.execution.devices import available_cores; print(available_cores())"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 1


@pytest.mark.parametrize(("variable", "option", "wanted"), [("1", "None", 1), ("1", "2", 2)])
def test_threads_follow_the_option_then_the_environment(
    variable: str, option: str, wanted: int
) -> None:
    code = f"from bench.execution.devices import set_up; print(set_up('cpu', {option})[1])"
    done = subprocess.run(  # noqa: S603 - the number of threads is read when torch starts
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == wanted


@pytest.mark.parametrize(
    ("jobs", "threads", "wanted"),
    [
        (1, None, (1, 8)),
        (3, None, (3, 2)),
        (20, None, (20, 1)),
        (3, 5, (3, 5)),
        ("auto", None, (8, 1)),
        ("auto", 3, (2, 3)),
        ("auto", 16, (1, 16)),
    ],
)
def test_cores_are_divided_among_jobs(
    jobs: Jobs, threads: int | None, wanted: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    before = torch.get_num_threads()
    torch.set_num_threads(16)
    try:
        assert divide(jobs, threads) == wanted
        torch.set_num_threads(1)  # as OMP_NUM_THREADS=1 has it
        assert divide(jobs, threads) == (wanted[0], threads or 1)
    finally:
        torch.set_num_threads(before)


def test_a_device_that_answers_an_error_to_everything_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    assert still_works("cuda:0")
    assert asked == ["cuda:0"]

    def refuse(device: str) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    assert not still_works("cuda:0")
    assert still_works("cpu")
