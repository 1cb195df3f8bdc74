"""Give packed records the keys that their trials have with today's code.

    python -m tests.golden.rekey [ARCHIVE.zip ...]      # default: results/reference/*.zip

A key covers the code of the method. A method that is moved or rewritten has new keys, though it may
compute the same. Where the golden trials show that it does, bit for bit, its records are written
with today's digest of its code and the key that follows; nothing else in them changes. Records of a
method of which a golden trial moved stay as they are: they are of other code, and reports say so.
Where one of `none` moved, a student or an objective has, and with it every method.

It may run any number of times. Run it last, after every change to `methods/` or
`bench/distillation/`, and compare `bench report --results results/reference` before and after.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from bench.plan import Trial
from bench.records.pack import pack, packed_files
from bench.records.record import Record
from bench.records.store import RECORD, ResultStore
from bench.registry import METHODS

from . import pins

REFERENCE = pins.HERE.parents[1] / "results" / "reference"


def rekey(archive: Path, moved: Collection[str]) -> Counter[str]:
    """Rewrite an archive; one in which nothing changes keeps its bytes.

    Args:
        archive: records of one dataset, as `bench results pack` writes them.
        moved: names of the methods of which a golden trial moved.

    Returns:
        How many records have a new key, and how many the key that they had, by `new` and `same`.
    """
    store, counts = ResultStore(archive), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        target = ResultStore(Path(folder))
        for record in store.records():
            today = with_todays_key(record, moved)
            counts["same" if today.key == record.key else "new"] += 1
            target.write(today)
            for file in packed_files(store, record.key):
                if file.name != RECORD:
                    (target.folder / today.key / file.name).write_bytes(file.read_bytes())
            users = store.users(str(record.subject.data_fingerprint))
            if users is not None:
                target.write_users(str(record.subject.data_fingerprint), users)
        (packed,) = pack(target)
        shutil.copyfile(packed, archive)
    return counts


def with_todays_key(record: Record, moved: Collection[str]) -> Record:
    """The record with today's digest of its method's code, if that computes the same."""
    if not isinstance(record.subject, Trial):
        return record.model_copy(update={"key": record.subject.key})
    if record.subject.method in moved or "none" in moved:
        return record
    code = METHODS.get(record.subject.method).code_digest
    trial = record.subject.model_copy(update={"method_code": code})
    return record.model_copy(update={"key": trial.key, "trial": trial})


def moved_methods() -> set[str]:
    """The methods of which a golden trial gives other ranks or metrics than are pinned."""
    found = pins.measured()
    pinned, now = pins.read()["trials"][found["arithmetic"]], found["trials"]
    trials = [name.split() for name in pinned if pinned[name] != now.get(name)]
    return {words[2].partition(":")[0] for words in trials if len(words) > 2}


def main(archives: list[Path]) -> None:
    moved = moved_methods()
    print("golden trials moved:", ", ".join(sorted(moved)) or "none")  # noqa: T201
    for archive in archives or sorted(REFERENCE.glob("*.zip")):
        counts = rekey(archive, moved)
        print(f"{archive}: {counts['new']} new keys, {counts['same']} as before")  # noqa: T201


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
