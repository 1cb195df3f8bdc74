"""What entries cost, as tables and plots show it."""

from __future__ import annotations

import pandas as pd


def latency(entries: pd.DataFrame) -> pd.Series[float]:
    """Milliseconds of one request, the least that was seen of the same network.

    Machines are busier at one time than at another, and students with as many parameters in one
    setting are the same network.
    """
    network = [entries["setting"], entries["timed_on"], entries["parameters"]]
    least: pd.Series[float] = entries.groupby(network, dropna=False)["latency_ms"].transform("min")
    return least
