"""The report for programs: every row with everything known about it, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from bench.evaluation.metrics import Metric
from bench.evaluation.segments import TARGET_SEGMENTS
from bench.reporting.rows import BASELINE, Row

_TEXT_COLUMNS = (
    "dataset",
    "protocol",
    "selection",
    "kind",
    "student",
    "objective",
    "method",
    "teacher",
    "tag",
)


def as_json(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """A list with one object per row, in the shape of `bench.reporting.rows.Row`."""
    objects = [row.model_dump(mode="json") for row in rows]
    return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False)


def as_csv(rows: Sequence[Row], metrics: Sequence[Metric] | None = None) -> str:
    """One line per row; per metric mean, deviation, difference in percent, p, means by target."""
    against = rows[0].against if rows else BASELINE
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    stream = io.StringIO()
    fields = [*_TEXT_COLUMNS, "overrides", "seeds", "failed"]
    parts = ("mean", "std", f"vs {against} %", "p", *TARGET_SEGMENTS)
    fields += [f"{name} {part}" for name in names for part in parts]
    fields += ["epochs", "epoch_seconds", "epoch vs none", "train_seconds", "total vs none"]
    fields += ["inference_parameters", "latency_ms_p50"]
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(row, names) for row in rows)
    return stream.getvalue().rstrip("\n")


def _flat(row: Row, names: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {name: getattr(row, name) for name in _TEXT_COLUMNS}
    flat["overrides"] = " ".join(f"{key}={value}" for key, value in sorted(row.overrides.items()))
    flat["seeds"] = " ".join(map(str, row.seeds))
    flat["failed"] = len(row.failures)
    for name in names:
        spread, test = row.metrics.get(name), row.significance.get(name)
        flat[f"{name} mean"] = spread.mean if spread else None
        flat[f"{name} std"] = spread.std if spread else None
        flat[f"{name} vs {row.against} %"] = row.gain.get(name)
        flat[f"{name} p"] = test.p_holm if test else None
        flat |= {f"{name} {segment}": _on(row, segment, name) for segment in TARGET_SEGMENTS}
    for name in ("epochs", "epoch_seconds", "train_seconds"):
        spread = getattr(row, name)
        flat[name] = spread.mean if spread else None
    flat |= {f"{name} vs none": row.time_vs_none.get(name) for name in ("epoch", "total")}
    flat["inference_parameters"] = row.parameters.get("inference")
    flat["latency_ms_p50"] = row.latency.get("ms_p50")
    return flat


def _on(row: Row, segment: str, metric: str) -> float | None:
    """The mean of a metric on the rows of a segment; None where there are none."""
    part = row.segments.get(segment)
    return part.metrics[metric].mean if part and metric in part.metrics else None
