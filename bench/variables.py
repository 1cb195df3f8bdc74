"""Numbers that variables of the environment set."""

from __future__ import annotations

import os

from bench.errors import ConfigError


def seconds_in(variable: str, default: float, *, zero: bool) -> float:
    """Seconds that a variable names.

    Args:
        variable: its name.
        default: where it is not set.
        zero: whether 0 is allowed.

    Raises:
        ConfigError: it is no such number.
    """
    text = os.environ.get(variable, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds > 0 or (zero and seconds == 0):
        return seconds
    least = "from" if zero else "above"
    raise ConfigError(f"{variable}={text}: expected seconds, a number {least} 0")
