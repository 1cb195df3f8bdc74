from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Stage
from bench.errors import Diverged
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.loop import Fit, Streams, fit
from bench.training.rows import DeviceRows, shuffled

N_ITEMS, N_ROWS, HISTORY = 20, 50, 4


def train(
    values: list[float] | None = None,
    method: Method | None = None,
    user: torch.Tensor | None = None,
    **settings: object,
) -> tuple[Fit, Adapter, list[dict[str, torch.Tensor]]]:
    """Fit on random rows; the selection metric follows `values`; also the state of each epoch."""
    torch.manual_seed(0)
    config = TrainingConfig(**({"batch_size": 16, "learning_rate": 0.01} | settings))
    student = Adapter.of(
        StudentConfig(model="GRU4Rec", parameters={"embedding_size": 8, "hidden_size": 8}),
        n_items=N_ITEMS,
        history=HISTORY,
        known_users=torch.ones(N_ROWS, dtype=torch.bool),
        objective=config.objective,
    )
    rows = DeviceRows(
        history=torch.randint(1, N_ITEMS + 1, (N_ROWS, HISTORY)),
        length=torch.full((N_ROWS,), HISTORY),
        target=torch.randint(1, N_ITEMS + 1, (N_ROWS,)),
        user=torch.zeros(N_ROWS, dtype=torch.long) if user is None else user,
        ordinal=torch.arange(N_ROWS),
    )
    states: list[dict[str, torch.Tensor]] = []
    script: Iterator[float] = iter(values or [])

    def evaluate() -> dict[str, float]:
        assert not student.training
        states.append({k: v.clone() for k, v in student.state_dict().items()})
        return {"ndcg@20": next(script, 0.0)}

    generator = torch.Generator().manual_seed(1)
    result = fit(
        student,
        method or Method(MethodConfig()),
        rows,
        torch.ones(N_ITEMS + 1),
        config,
        Streams(generator, generator, generator),
        evaluate,
    )
    return result, student, states


def test_the_best_epoch_is_kept_and_patience_ends_training() -> None:
    values = [0.1, 0.3, 0.2, 0.2, 0.2, 0.9]
    result, student, states = train(values, min_epochs=1, patience=3)
    assert (result.best_epoch, result.epochs) == (2, 5)
    assert all(torch.equal(v, states[1][k]) for k, v in student.state_dict().items())


def test_no_early_stopping_before_the_minimum() -> None:
    values = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.1]
    result, _, _ = train(values, min_epochs=8, patience=2, max_epochs=8)
    assert (result.best_epoch, result.epochs) == (7, 8)


def test_a_gain_too_small_is_kept_and_not_waited_for() -> None:
    values = [0.10, 0.30, 0.35, 0.38, 0.39, 0.9]
    result, student, states = train(values, min_epochs=1, patience=3, min_delta=0.1)
    assert (result.best_epoch, result.epochs) == (5, 5)  # the last gain was that of epoch 2
    assert all(torch.equal(v, states[4][k]) for k, v in student.state_dict().items())
    slow = [0.1, 0.16, 0.22, 0.28, 0.34, 0.4]  # what small steps add up to counts
    assert train(slow, min_epochs=1, patience=3, min_delta=0.1, max_epochs=6)[0].epochs == 6


def test_what_a_stage_monitors_has_no_least_gain() -> None:
    class Own(Method):
        def stages(self) -> Sequence[Stage]:
            values = iter([1.0, 1.01, 1.02, 1.03, 1.03, 1.03])
            return (Stage(monitor=lambda: next(values)),)

    settings = {"min_epochs": 1, "patience": 2, "min_delta": 0.5}
    result, _, _ = train(method=Own(MethodConfig()), **settings)
    assert (result.best_epoch, result.epochs) == (4, 6)


def test_the_first_of_equal_epochs_wins() -> None:
    result, _, _ = train([0.2, 0.2, 0.2], min_epochs=1, patience=2)
    assert result.best_epoch == 1


def test_max_epochs_bounds_training() -> None:
    result, _, _ = train([0.1 * i for i in range(9)], min_epochs=1, max_epochs=3)
    assert (result.best_epoch, result.epochs, result.steps) == (3, 3, 3 * math.ceil(N_ROWS / 16))


def test_the_curve_holds_every_term() -> None:
    class Extra(Method):
        def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
            return {"extra": 0.5 * output.scores(batch.target.unsqueeze(1)).square().mean()}

    result, _, _ = train(method=Extra(MethodConfig()), min_epochs=1, max_epochs=1)
    epoch = result.curve[0]
    assert epoch["loss"] == pytest.approx(epoch["base"] + epoch["extra"], rel=1e-5)
    assert {"epoch", "ndcg@20", "train_seconds", "evaluate_seconds"} <= epoch.keys()


def test_a_term_that_is_no_number_ends_the_trial_by_name() -> None:
    class Broken(Method):
        def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
            return {"broken": output.hidden.sum() * float("nan")}

    with pytest.raises(Diverged, match="'broken' became nan in epoch 1"):
        train(method=Broken(MethodConfig()), min_epochs=1, max_epochs=3)


def test_parameters_of_a_method_are_trained() -> None:
    class Shift(Method):
        def attach(self, student: Adapter, knowledge: Knowledge) -> None:
            self.shift = torch.nn.Parameter(torch.zeros(student.width))

        def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
            return {"shift": (self.shift - 1).square().sum()}

    method = Shift(MethodConfig())
    method.attach(train(min_epochs=1, max_epochs=1)[1], Knowledge(torch.ones(N_ITEMS + 1)))
    train(method=method, min_epochs=1, max_epochs=5)
    assert (method.shift > 0).all()


@pytest.mark.parametrize("objective", ["ce", "bpr", "bce", "dros"])
def test_every_objective_learns(objective: str) -> None:
    settings = {"objective": objective, "min_epochs": 1, "max_epochs": 15, "patience": 99}
    result, _, _ = train(**settings)
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]


def test_a_pass_holds_every_row_once() -> None:
    order = torch.cat(
        list(shuffled(103, 16, torch.Generator().manual_seed(0), torch.device("cpu")))
    )
    assert sorted(order.tolist()) == list(range(103))
    assert order.tolist() != list(range(103))


def test_minimum_above_maximum_is_refused() -> None:
    with pytest.raises(ValueError, match="min_epochs"):
        TrainingConfig(min_epochs=9, max_epochs=8)


def test_fewer_epochs_than_the_usual_least_are_just_these() -> None:
    assert TrainingConfig(max_epochs=2).min_epochs == 2
    assert TrainingConfig(max_epochs=20) == TrainingConfig(max_epochs=20, min_epochs=8)


class Staged(Method):
    """First the method's own number alone, on a few rows; then the student."""

    def __init__(self) -> None:
        super().__init__(MethodConfig())
        self.number = torch.nn.Parameter(torch.zeros(()))
        self.calls: list[object] = []
        self.values = iter([0.1, 0.5, 0.3, 0.2])

    def stages(self) -> tuple[Stage, ...]:
        few = torch.arange(0, N_ROWS, 2)
        alone = Stage(
            trained=[self.number],
            base=False,
            rows=few,
            monitor=lambda: next(self.values),
            max_epochs=9,
            min_epochs=1,
            patience=2,
            learning_rate=0.5,
        )
        return alone, Stage()

    def on_stage_start(self, stage: int) -> None:
        self.calls.append(("stage", stage))

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        self.calls.append((epoch, max_epochs))
        return {"number": float(self.number.detach())}

    def loss(self, batch: Batch, output: Output) -> dict[str, torch.Tensor]:
        self.calls.append(batch.row_id)
        return {"term": (self.number - 1).square() + 0.0 * output.hidden.sum()}


def test_stages_train_what_they_name_and_start_from_the_best_epoch_before() -> None:
    method = Staged()
    result, _, states = train([0.0] * 4 + [0.2, 0.1, 0.1], method, min_epochs=1, patience=2)
    assert [epoch["stage"] for epoch in result.curve] == [1, 1, 1, 1, 2, 2, 2]
    assert [epoch["epoch"] for epoch in result.curve] == list(range(1, 8))
    # The monitor has its best epoch second; four were run; the third stage begins with its number.
    numbers = [epoch["number"] for epoch in result.curve]
    assert numbers[0] == 0.0 and numbers[4] == numbers[2] != numbers[3]
    # Nothing of the student moves in the first stage, everything in the second.
    for name, value in states[0].items():
        assert torch.equal(value, states[3][name])
    assert any(
        not torch.equal(v, states[4][k]) for k, v in states[3].items() if v.is_floating_point()
    )
    assert result.best_epoch == 5
    assert "base" not in result.curve[0] and "base" in result.curve[4]
    first = [c for c in method.calls if isinstance(c, torch.Tensor)][: math.ceil(N_ROWS / 32) * 4]
    assert all((rows % 2 == 0).all() for rows in first)
    assert [c for c in method.calls if isinstance(c, tuple)][:3] == [("stage", 0), (1, 9), (2, 9)]
    assert result.steps == 4 * math.ceil(N_ROWS / 2 / 16) + 3 * math.ceil(N_ROWS / 16)


def test_early_stopping_waits_for_the_end_of_a_curriculum() -> None:
    class Curriculum(Method):
        def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
            self.curriculum_finished = epoch > 4
            return {}

    values = [0.9] + [0.1] * 20
    result, _, _ = train(values, Curriculum(MethodConfig()), min_epochs=1, patience=2)
    assert (result.best_epoch, result.epochs) == (1, 6)
    plain, _, _ = train(values, min_epochs=1, patience=2)
    assert plain.epochs == 3


@pytest.mark.parametrize("positions", ["half", "all"])
def test_rows_without_others_of_their_user_are_trained_as_ever(positions: str) -> None:
    """Windows of one row each: the same batches, states and losses, to rounding."""
    users = torch.arange(N_ROWS)
    settings = {"min_epochs": 1, "max_epochs": 3, "learning_rate": 0.01, "objective": "bce"}
    results = [train(user=users, positions=p, **settings) for p in ("last", positions)]
    apart, together = ([epoch["loss"] for epoch in result.curve] for result, _, _ in results)
    assert together == pytest.approx(apart, rel=1e-4)
    states = [student.state_dict() for _, student, _ in results]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-4, rtol=1e-3)
