"""Loading rows, reaching the first step, and finding that there is nothing to do."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.parts.comparison import Line, Run
from benchmarks.parts.spent import spent
from benchmarks.served import ROOT


def lines(run: Run) -> Iterator[Line]:
    """Seconds of the CPU, and of the clock where a user waits."""
    yield _loading(run)
    method = ["--method", "none", "--dataset", run.start.name, "--device", run.device]
    place = ["--results", str(run.folder / "results"), "--threads", str(run.threads)]
    shortest = ["--set", "training.max_epochs=1", "--set", "training.min_epochs=1"]
    options = [*method, *place, *shortest]
    home = os.environ | {"BENCH_HOME": run.start.home}
    begun = spent([str(ROOT / "benchmarks" / "first_step.py"), "run", *options], home)
    spent(["-m", "bench", "run", *options], home)
    idle = spent(["-m", "bench", "run", *options], home)
    for what, taken in (("to the first step", begun), ("of a finished trial", idle)):
        for kind, seconds in zip(("CPU", "clock"), taken, strict=True):
            yield Line("start", f"bench run {what}, {run.start.name}, {kind}", "s", seconds)


def _loading(run: Run) -> Line:
    with run.suite("suite:Loading") as suite, run.of_recbole("Evaluation") as recbole:
        own, other = suite.call("run"), recbole.call("loaded")
    case = f"{run.rows:,} training rows and the others onto the device, CPU"
    reference = "RecBole's create_dataset and data_preparation"
    return Line("start", case, "s", own, reference, other, other / own)
