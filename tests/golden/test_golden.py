"""Numbers do not move: short trials give the ranks that are pinned, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import pins

RAISE = f"""
If this was not meant, a change to the code has changed what trials compute: find it.
If it was, raise RESULTS_VERSION in bench/plan.py: it is part of every key, so that records of
before are not shown beside records of now as the same trials. Then pin the new numbers:

    {pins.COMMAND}
"""


@pytest.mark.timeout(1200)
def test_no_trial_gives_other_ranks_than_before() -> None:
    pinned, now = pins.read(), pins.measured()
    before = pinned["trials"].get(now["arithmetic"])
    rounds = []
    if before is None:
        before = next(iter(pinned["trials"].values()))
        rounds = [f"this processor rounds otherwise; if it is that alone, {pins.COMMAND} on main"]
    elsewhere = set().union(*pinned["trials"].values()) - before.keys()
    here = {name: gave for name, gave in now["trials"].items() if name not in elsewhere}
    lines = []
    if moved := differences(before, here):
        head = f"{len(moved)} golden trials moved:"
        lines = [head, *moved, *rounds, *other_versions(pinned["versions"]), RAISE]
    if new := sorted(here.keys() - before.keys()):
        lines.append(f"{', '.join(new)}: not pinned yet, which {pins.COMMAND} does")
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_what_moved_is_reported_with_its_metrics() -> None:
    def gave(ranks: str, ndcg: float) -> dict[str, Any]:
        return {"ranks": ranks, "metrics": {"valid": {"ndcg@20": 0.5}, "test": {"ndcg@20": ndcg}}}

    before = {"same": gave("a", 0.25), "moved": gave("a", 0.25), "gone": gave("a", 0.25)}
    now = {"same": gave("a", 0.25), "moved": gave("b", 0.125), "new": gave("a", 0.25)}
    before["failed"], now["failed"] = gave("a", 0.25), {"error": "Traceback\nValueError: no"}
    assert differences(before, now) == [
        "  failed: fails: ValueError: no",
        "  gone: has no result any more",
        "  moved: other ranks; test ndcg@20 0.25 -> 0.125",
    ]
    assert "raise RESULTS_VERSION" in RAISE


def test_pins_of_other_processors_stay_where_nothing_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "PINS", tmp_path / "pins.json")
    before = {"amd": {"a": {"ranks": "1"}, "b": {"ranks": "2"}}, "intel": {"a": {}, "b": {}}}
    pins.PINS.write_text(json.dumps({"trials": before}))
    now = {"a": {"ranks": "1"}, "b": {"ranks": "3"}}
    pins.pin({"arithmetic": "amd", "trials": now})
    assert pins.read()["trials"] == {"amd": now, "intel": {"a": {}}}
    pins.pin({"arithmetic": "other", "trials": {"a": {}, "b": {}, "c": {}}})
    assert pins.read()["trials"]["intel"] == {"a": {}}
    with pytest.raises(RuntimeError, match="failed: c"):
        pins.pin({"arithmetic": "amd", "trials": {"c": {"error": "no"}}})
    assert set(pins.read()["trials"]) == {"amd", "intel", "other"}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each trial that was pinned and is not as it was."""
    return [
        f"  {name}: {_difference(gave, now.get(name))}"
        for name, gave in sorted(before.items())
        if gave != now.get(name)
    ]


def _difference(before: dict[str, Any], now: dict[str, Any] | None) -> str:
    if now is None:
        return "has no result any more"
    if "error" in now:
        return f"fails: {now['error'].strip().splitlines()[-1]}"
    said = ["other ranks"] if now["ranks"] != before["ranks"] else []
    for split, metrics in before["metrics"].items():
        said += [
            f"{split} {name} {value!r} -> {now['metrics'].get(split, {}).get(name)!r}"
            for name, value in metrics.items()
            if now["metrics"].get(split, {}).get(name) != value
        ]
    return "; ".join(said) or "other splits or metrics"


def other_versions(pinned: dict[str, str]) -> list[str]:
    """What the pins were made with and is another here: ranks may move for that alone."""
    return [
        f"{name} is {here} here, and was {pinned.get(name)} when the trials were pinned"
        for name, here in pins.versions().items()
        if here != pinned.get(name)
    ]
