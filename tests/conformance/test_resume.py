"""Every method: a training that goes on from its state has the bits of one that never stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from bench.data.examples import PreparedData
from bench.distillation import Knowledge, Method
from bench.execution.trial import run_trial
from bench.records.record import Outcome
from bench.registry import METHODS
from bench.training.state import Attributes, State, read, write

from .conftest import READ_WHOLE, STUDENTS, make_trial

EPOCHS = 3
EVENTFUL: dict[str, dict[str, Any]] = {
    "delrec-reverse": {"fill_epochs": 1},
    "hetcomp": {"curriculum": {"period": 1}},
    "init": {"freeze_epochs": 1},
    "llm-esr": {"bank": "epoch"},
    "profile": {"warm": 1},
}
"""Settings under which a method changes something in so short a training."""
CASES = [
    *((entry.name, "SASRec", {}) for entry in METHODS),
    *(("dllm2rec", model, {}) for model in [*STUDENTS, *READ_WHOLE] if model != "SASRec"),
    *(("none", "SASRec", {"objective": name}) for name in ("bpr", "bce", "dros")),
    ("none", "SASRec", {"min_epochs": 1, "patience": 1, "learning_rate": 0.05, "max_epochs": 30}),
]


class Kept:
    """Keeps every state, as the bytes of its file; a training goes on from `start`."""

    def __init__(self, folder: Path, start: bytes | None = None) -> None:
        self.path, self.start = folder / "state", start
        self.states: list[bytes] = []

    def load(self) -> State | None:
        if self.start is None:
            return None
        self.path.write_bytes(self.start)
        state, facts = read(self.path)
        assert facts == {"made": "here"}
        return state

    def offer(self, state: Callable[[], State]) -> None:
        write(self.path, state(), {"made": "here"})
        self.states.append(self.path.read_bytes())


def same_bits(one: Outcome, other: Outcome) -> None:
    assert one.state.keys() == other.state.keys()
    for name, array in one.state.items():
        np.testing.assert_array_equal(array, other.state[name], err_msg=name)
    np.testing.assert_array_equal(one.ranks, other.ranks)
    assert (one.best_epoch, one.steps, one.metrics) == (
        other.best_epoch,
        other.steps,
        other.metrics,
    )
    curves = [
        [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in outcome.curve]
        for outcome in (one, other)
    ]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(("method", "model", "training"), CASES)
def test_a_training_that_goes_on_has_the_same_bits(
    method: str,
    model: str,
    training: dict[str, Any],
    data: PreparedData,
    knowledge: Knowledge,
    tmp_path: Path,
) -> None:
    long = {"max_epochs": EPOCHS, "min_epochs": EPOCHS, "learning_rate": 0.01}
    trial = make_trial(method, model, training=long | training, settings=EVENTFUL.get(method, {}))

    def run(kept: Kept) -> Outcome:
        return run_trial(trial, data, knowledge, METHODS.load(method), "cpu", kept)

    first = Kept(tmp_path)
    whole = run(first)
    assert len(first.states) >= EPOCHS - 1
    # From the middle; a training with several parts from each of its ends as well.
    middle = len(first.states) // 2
    places = {0, middle, len(first.states) - 1} if method in EVENTFUL else {middle}
    for start in map(first.states.__getitem__, places):
        torch.manual_seed(123)  # what another process's generator happens to be
        same_bits(run(Kept(tmp_path, start)), whole)


class Holder:
    """What a method may hold; `later` is another thing than it was at first."""

    def __init__(self) -> None:
        self.later: Any = None


class Busy(Method):
    """Changes what it holds in all the ways there are."""

    def attach(self, student: Any, knowledge: Knowledge) -> None:
        self.holder, self.seen = Holder(), [0]
        self.shared = knowledge.target_counts
        self.bank = torch.zeros(3)
        self.inner = torch.nn.ModuleList([torch.nn.Dropout(0.1)])

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        self.bank[epoch % 3] += 1
        self.shared = self.shared + 1
        self.holder.later = (torch.full((2,), float(epoch)), {"epoch": epoch})
        self.seen = [*self.seen, epoch]
        self.inner[0].p = 0.1 / epoch
        self.fresh = f"epoch {epoch}"
        return {}


def test_attributes_that_change_are_kept_and_nothing_else(knowledge: Knowledge) -> None:
    student = torch.nn.Linear(2, 2)

    def attached() -> Busy:
        method = Busy(Busy.Config())
        method.attach(student, knowledge)
        return method

    one, other = attached(), attached()
    notes, again = Attributes(one, student), Attributes(other, student)
    assert notes.changed() == []
    one.on_epoch_start(1, 9)
    one.on_epoch_start(2, 9)
    changed = notes.changed()
    paths = {".".join(path) for path, *_ in changed}
    assert paths == {"bank", "shared", "holder.later", "seen", "inner.0.p", "fresh"}
    counts = knowledge.target_counts.clone()
    again.restore(changed)
    assert torch.equal(other.bank, one.bank) and torch.equal(other.shared, counts + 2)
    assert torch.equal(knowledge.target_counts, counts)
    assert (other.seen, other.fresh, other.inner[0].p) == ([0, 1, 2], "epoch 2", 0.05)
    assert other.holder.later[1] == {"epoch": 2}
    one.bank = object()
    with pytest.raises(TypeError, match="what became of bank is no value"):
        notes.changed()


def test_a_state_comes_back_tensor_by_tensor_and_no_other_file_passes_for_one(
    tmp_path: Path,
) -> None:
    file, table = tmp_path / "state", torch.arange(6.0).view(2, 3)
    state = {"table": table, "same": table[1], "half": table.bfloat16(), "empty": torch.empty(0, 4)}
    write(file, state | {"places": (1, [2, None])}, {"made": "here"})
    found, facts = read(file)
    assert facts == {"made": "here"}
    assert found.pop("places") == (1, [2, None])
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert [found[name].dtype for name in state] == [tensor.dtype for tensor in state.values()]

    whole = file.read_bytes()
    earlier = save({"0": table}, {"content": "{}"})
    for content in (b"", whole[:-1], whole + b"x", hashlib.sha256(earlier).digest() + earlier):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|another version"):
            read(file)
