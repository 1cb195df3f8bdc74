"""What a process of Python costs from its start to its end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import click

from benchmarks.served import ROOT


def spent(
    arguments: list[str], environment: dict[str, str], stdin: str = ""
) -> tuple[float, float]:
    """CPU and clock seconds of Python with these arguments.

    Args:
        arguments: of Python.
        environment: its variables.
        stdin: what it reads, from a stream that stays open: workers end with it.

    Raises:
        click.ClickException: it failed.
    """
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    receiving, sending = os.pipe()
    try:
        os.write(sending, stdin.encode())
        done = subprocess.run(  # noqa: S603 - this suite
            [sys.executable, *arguments],
            env=environment,
            stdin=receiving,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(sending)
        os.close(receiving)
    clock = time.perf_counter() - clock
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise click.ClickException(f"{arguments} failed:\n{done.stderr[-4000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, clock
