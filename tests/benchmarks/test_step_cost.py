"""The command that measures methods runs, and measures what it says."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from bench.training.config import TrainingConfig
from benchmarks import step_cost
from benchmarks.world import Sizes, make_world

TINY = Sizes(items=40, rows=160, teacher=6, listed=12, models=2, states=2, trajectory_listed=12)


def test_the_world_is_what_methods_expect() -> None:
    world = make_world(TINY)
    rows, known = world.rows, world.knowledge
    assert len(rows) == 160 and rows.length.unique().tolist() == list(range(1, 11))
    assert torch.equal((rows.history > 0).sum(dim=1), rows.length)
    assert int(rows.target.min()) >= 1 and int(rows.target.max()) <= 40
    # The row before has this row's last item as its target.
    last = rows.history.gather(1, rows.length.unsqueeze(1) - 1).squeeze(1)
    follows = rows.ordinal[1:] == rows.ordinal[:-1] + 1
    assert torch.equal(rows.target[:-1][follows], last[1:][follows]) and follows.sum() == 144
    assert known.rankings is not None and known.trajectories is not None
    for lists in (known.rankings, known.trajectories.flatten(0, 2)):
        assert all(len(set(line)) == 12 and {*line} <= {*range(1, 41)} for line in lists.tolist())
    assert known.distances is not None and bool((known.distances.diff(dim=1) >= 0).all())


def test_a_dearer_step_is_a_larger_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that takes its step three times over costs about three steps."""
    run = step_cost.Case.run

    def thrice(case: step_cost.Case) -> float:
        return sum(run(case) for _ in range(3 if case.name == "ranking-only" else 1))

    monkeypatch.setattr(step_cost.Case, "run", thrice)
    config = TrainingConfig(batch_size=32)
    costs, _ = step_cost.measure(["ranking-only"], TINY, config, 15, memory=False)
    assert [cost.method for cost in costs] == ["none", "ranking-only"]
    assert costs[0].step == 1.0 and costs[1].step > 2.5


def test_the_dearest_stage_is_named_and_the_last_one_is_what_is_left() -> None:
    costs = [
        step_cost.Cost("m", f"stage {i}", step, 0.0, None, training, inference)
        for i, step, training, inference in [(1, 1.0, 5, 5), (2, 2.0, 9, 5), (3, 1.5, 7, 6)]
    ]
    dearest = step_cost._dearest(costs)
    assert (dearest.part, dearest.step) == ("stage 2", 2.0)
    assert (dearest.training, dearest.inference) == (9, 6)


def test_parts_of_a_training_are_measured_apart() -> None:
    world, config = make_world(TINY), TrainingConfig(batch_size=32)
    assert [name for name, _ in step_cost.cases("none", world, config)] == [""]
    phases = step_cost.cases("hetcomp", world, config)
    assert [name for name, _ in phases] == ["relaxed phase", "strict phase"]
    stages = [name for name, _ in step_cost.cases("delrec-reverse", world, config)]
    assert len(stages) > 1 and stages[0] == f"stage 1 of {len(stages)}"


def test_the_command_prints_what_methods_cost() -> None:
    options = ["--items", "200", "--rows", "320", "--batch", "32", "--repetitions", "3"]
    chosen = ["--method", "ranking-only", "--method", "embedding-only"]
    done = CliRunner().invoke(step_cost.main, [*options, *chosen, "--output", "json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["setting"]["batch"] == 32 and result["none_ms"] > 0
    none, *others = result["methods"]
    assert (none["method"], none["step"], none["memory"]) == ("none", 1.0, 0)
    cost = {cost["method"]: cost for cost in others}
    assert cost.keys() == {"ranking-only", "embedding-only"}
    assert all(c["step"] > 0 and c["memory"] >= 0 and c["inference"] == 0 for c in others)
    assert cost["ranking-only"]["training"] == 0
    assert cost["embedding-only"]["training"] == 128 * 64 + 64


def test_costs_become_a_table() -> None:
    costs = [
        step_cost.Cost("none", "", 1.0, 0.0, 0, 0, 0),
        step_cost.Cost("m", "stage 2 of 3", 1.256, 0.1, 35 * 2**20, -1_000_000, 512),
    ]
    lines = step_cost.table(costs).splitlines()[2:]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["none", "1.00x", "0", "0", "0", "0"],
        ["m (stage 2 of 3)", "1.26x", "+0.10x", "+35 MiB", "-1,000 k", "+0.5 k"],
    ]
