"""Results of rows that outlive the process that computed them.

A folder holds what was computed from one set of inputs, named by their digest. Each process writes
a shard of its own, one line of JSON per finished batch; what a killed process had begun to write is
no whole line and is computed again. The batch is the unit of resuming, because rounding may depend
on the rows that are computed together: a resumed build has the bits of an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import write_whole
from bench.plan import digest
from bench.progress import track

_logger = logging.getLogger(__name__)

SHARDS = "rows-*.jsonl"
INPUTS = "inputs.json"

_SECONDS_BETWEEN_LINES = 10.0


def folder_of(cache: Path, purpose: str, inputs: Mapping[str, Any]) -> Path:
    """The folder for what is computed from `inputs`, made if it is not there.

    Args:
        cache: the folder of such folders.
        purpose: first part of the folder's name.
        inputs: everything that determines the results, as JSON values.
    """
    folder = cache / f"{purpose}-{digest(inputs)[:32]}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / INPUTS).is_file():  # for whoever wonders what the folder is
        write_whole(folder / INPUTS, f"{json.dumps(dict(inputs), indent=2)}\n".encode())
    return folder


def in_batches(
    folder: Path,
    batches: Sequence[Sequence[int]],
    compute: Callable[[Sequence[int]], Sequence[Any]],
    what: str,
) -> dict[int, Any]:
    """Results of all rows, those of batches that were finished before taken from the folder.

    Args:
        folder: see `folder_of`.
        batches: rows of each batch, no row twice; the same in every run on the same inputs. The
            costly ones first make the time left an upper bound.
        compute: the result of each row of a batch, as JSON values; float32 survives unchanged.
        what: what is computed, as in `titles written`.

    Returns:
        The result of every row.

    Raises:
        BenchError: a shard is damaged elsewhere than at its end.
    """
    finished = dict(_read(folder))
    missing = [batch for batch in batches if tuple(batch) not in finished]
    total = sum(map(len, batches))
    done = total - sum(map(len, missing))
    if done:
        _logger.info(f"{what}: {done:,} of {total:,} rows are there from before")
    shard = folder / f"rows-{uuid.uuid4().hex}.jsonl"
    with track(what, total - done, "rows") as advance:
        for batch in missing:
            rows = [int(row) for row in batch]
            results = list(compute(rows))
            with shard.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"rows": rows, "results": results}) + "\n")
            finished[tuple(rows)] = results
            advance(len(rows))
    return {
        row: result
        for batch in batches
        for row, result in zip(batch, finished[tuple(batch)], strict=True)
    }


def longest_first(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Batches of rows of similar length, the longest first.

    Args:
        rows: numbers of the rows.
        lengths: how long each of them is, in the same order.
        size: rows of a batch.
    """
    order = sorted(range(len(rows)), key=lambda place: (-lengths[place], rows[place]))
    return [
        [int(rows[place]) for place in order[start : start + size]]
        for start in range(0, len(order), size)
    ]


def _read(folder: Path) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    for shard in sorted(folder.glob(SHARDS)):
        lines = shard.read_bytes().split(b"\n")
        for line in lines[:-1]:  # the last one is empty, or was being written
            try:
                batch = json.loads(line)
                yield tuple(batch["rows"]), batch["results"]
            except (ValueError, KeyError, TypeError) as error:
                raise BenchError(f"{shard} is damaged; remove it to compute it again") from error
