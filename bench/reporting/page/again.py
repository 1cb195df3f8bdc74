"""The command that makes the trials of an entry again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bench import layers
from bench.data.config import FIRST_TARGET, dataset_config
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.plan import TrialSpec

_SEEN = "protocol.seen"


def command(trials: Sequence[TrialSpec]) -> str:
    """`bench run` with the options that choose these trials, quoted for a POSIX shell.

    Args:
        trials: one or more that differ in nothing but the seed.
    """
    trial = max(trials, key=lambda each: len(each.overrides))
    protocol = _protocol(trial)
    options: list[tuple[str, str | None]] = [
        ("--dataset", trial.dataset),
        ("--protocol", protocol),
        ("--student", trial.student),
        ("--method", trial.method_name),
        ("--teacher", trial.teacher),
        ("--control", trial.control),
        ("--seeds", _ranges(sorted({each.seed for each in trials}))),
        *(("--set", f"{key}={_written(value)}") for key, value in _changed(trial).items()),
    ]
    given = [part for name, value in options if value is not None for part in (name, value)]
    return shlex.join(["bench", "run", *given])


def _changed(trial: TrialSpec) -> dict[str, Any]:
    """What `--set` changed, and the rule for items seen before: the data alone know the default."""
    if trial.seen == "auto" or _SEEN in trial.overrides:
        return trial.overrides
    return {**trial.overrides, _SEEN: trial.seen}


def _protocol(trial: TrialSpec) -> str | None:
    """The protocol's name, unless it is the one that the dataset has anyway."""
    names = sorted(FIRST_TARGET, key=len, reverse=True)
    name = next((each for each in names if trial.protocol.startswith(each)), None)
    return None if name == _own_protocol(trial.dataset, Workspace.current()) else name


@lru_cache
def _own_protocol(dataset: str, workspace: Workspace) -> str | None:
    try:
        return dataset_config(dataset, workspace).protocol.name
    except ConfigError:  # of another workspace
        return None


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds as the command line takes them, such as `0-2,5`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _written(value: Any) -> str:
    """A value that `--set` reads as it is: text without quotes where that is the same text."""
    if isinstance(value, str):
        try:
            if layers.parse_override(f"key={value}")[1] == value:
                return value
        except ConfigError:
            pass
    return json.dumps(value)
