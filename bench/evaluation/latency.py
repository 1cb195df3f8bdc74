"""Time to answer one request: encode a history, score the catalogue, take the best twenty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from bench.students.adapter import Adapter
    from bench.training.rows import DeviceRows

_WARM_UP, _REQUESTS = 10, 100


@torch.no_grad()
def request_latency(student: Adapter, rows: DeviceRows) -> dict[str, float]:
    """Latency of single requests on the student's device, warm and synchronised.

    Args:
        student: in evaluation mode.
        rows: the requests are its first rows, repeated if there are few.

    Returns:
        `ms_p50` and `ms_p95`, milliseconds.
    """
    times = []
    for request in range(_WARM_UP + _REQUESTS):
        row = slice(request % len(rows), request % len(rows) + 1)
        _synchronise(rows.target.device)
        started = time.perf_counter()
        hidden = student.encode(rows.history[row], rows.length[row], rows.user[row])
        student.logits(hidden).topk(min(20, student.n_items), dim=1)
        _synchronise(rows.target.device)
        times.append(1000 * (time.perf_counter() - started))
    warm = np.array(times[_WARM_UP:])
    return {"ms_p50": float(np.percentile(warm, 50)), "ms_p95": float(np.percentile(warm, 95))}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
