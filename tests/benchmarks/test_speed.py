"""The command that measures speed runs, and what it compares computes the same."""

from __future__ import annotations

import builtins
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.data import store
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import target_ranks
from bench.training.config import TrainingConfig
from bench.training.negatives import sample_negatives
from benchmarks import plain_dllm2rec, speed
from benchmarks.case import Case
from benchmarks.dataset import Dataset, imported, synthetic
from benchmarks.floor import Floor
from benchmarks.parts import comparison, workers
from benchmarks.plain_dllm2rec import PlainDLLM2Rec, Settings
from benchmarks.served import Served
from benchmarks.suite import STUDENT, official_code
from benchmarks.world import Sizes, make_world

pytestmark = pytest.mark.filterwarnings("ignore")  # of RecBole, about pandas and NumPy

TINY = Sizes(40, 160, teacher=6, listed=12, models=1, states=1, trajectory_listed=1)


class Here:
    """`Served` in this process: the same objects and methods, without starting Python anew."""

    def __init__(self, factory: str, folder: Path, threads: int, **arguments: Any) -> None:
        module, name = factory.split(":")
        self.served = getattr(importlib.import_module(module), name)(**arguments)

    def call(self, method: str, **arguments: Any) -> Any:
        return json.loads(json.dumps(getattr(self.served, method)(**arguments)))

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def recbole_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """RecBole in this process, what it changes put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("int", "float", "object"):
        monkeypatch.setattr(np, name, getattr(builtins, name), raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("sys.argv", ["speed"])
    yield
    torch.autograd.set_detect_anomaly(False)


def test_the_plain_program_computes_the_loss_and_the_gradient_of_the_suite() -> None:
    world, config = make_world(TINY), TrainingConfig(objective="dros", batch_size=32)
    suite = Case(STUDENT, "dllm2rec", official_code(), 0, world, config)
    twin = Case(STUDENT, "none", {}, 0, world, config).student
    plain = PlainDLLM2Rec(twin.model, world.knowledge, Settings())
    nn.ModuleList([suite.student, suite.method, plain]).eval()
    plain.projector.load_state_dict(suite.method.embedding.projector.state_dict())
    with torch.no_grad():
        for student in (suite.student, twin):
            student.item_offset.mul_(5)  # logits of some size
            student.begin_step()

    portion = next(suite.step.batches())
    row_id = getattr(portion, "row_id", portion)
    rows = world.rows
    history, target = rows.history[row_id], rows.target[row_id]
    # The stream of negatives begins with this seed.
    negative = sample_negatives(history, target, 40, torch.Generator().manual_seed(1))
    loss = plain.loss(row_id, history, rows.length[row_id], target, negative)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(suite.step(portion)["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    own, other = suite.student.item_offset.grad, twin.item_offset.grad
    assert own is not None and other is not None and float(own.abs().max()) > 1e-3
    torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
    own, other = (p.weight.grad for p in (suite.method.embedding.projector, plain.projector))
    torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


def test_the_plain_programs_negatives_are_outside_history_and_target() -> None:
    torch.manual_seed(0)
    history, target = torch.tensor([[1, 2, 0]]).repeat(400, 1), torch.full((400,), 4)
    drawn = plain_dllm2rec.sample_negatives(history, target, 6)
    assert drawn.unique().tolist() == [3, 5, 6]


def test_the_plain_programs_metrics_are_those_of_the_ranks() -> None:
    torch.manual_seed(0)
    scores, target = torch.randn(50, 30), torch.randint(1, 31, (50,))
    sums = plain_dllm2rec.hits_and_gains(scores, target)
    expected = metrics_from_ranks(target_ranks(scores, target - 1).numpy())
    assert {name: value / 50 for name, value in sums.items()} == pytest.approx(
        {name: expected[name] for name in sums}
    )


@pytest.mark.parametrize(("objective", "scored"), [("ce", 300), ("bpr", 2)])
def test_the_floor_counts_the_products_of_a_step(objective: str, scored: int) -> None:
    """No step of the suite multiplies less, and next to nothing more.

    The counter sees matrix products alone. Two gradients of the last layer's attention are outer
    products of a row and a column, which broadcasting makes (`RowProduct`).
    """
    sizes = Sizes(300, 320, teacher=1, listed=1, models=1, states=1, trajectory_listed=1)
    config = TrainingConfig(objective=objective, batch_size=32)
    case = Case(STUDENT, "none", {}, 0, make_world(sizes), config)
    with FlopCounterMode(display=False) as counter:
        case.run()
    outer = 2 * 2 * 32 * 10 * case.student.width
    least = Floor(32, 10, scored, "cpu").operations()
    assert least <= counter.get_total_flops() + outer <= 1.01 * least


def of(source: str, folder: Path) -> Dataset:
    """30 items and 200 training rows; as tables they have an order and no time."""
    data = synthetic(30, 200, folder / "home")
    if source == "synthetic":
        return data
    made = store.source(data.name, data.config, data.workspace)
    (tables := folder / "tables").mkdir()
    order = np.lexsort((np.random.default_rng(0).random(len(made)), made.user))
    place = np.zeros(len(made), dtype=np.int64)
    place[order] = np.concatenate([np.arange(n) for n in np.bincount(made.user)])
    lines = [f"{u}\t{i}\t{p}\ttrain" for u, i, p in zip(made.user, made.item, place, strict=True)]
    text = "\n".join(["user_id\titem_id\tposition\tsplit", *lines]) + "\n"
    (tables / "interactions.tsv").write_text(text)
    return imported("other", tables, folder / "another")


@pytest.mark.usefixtures("recbole_here")
@pytest.mark.parametrize("source", ["synthetic", "tables"])
def test_recbole_gets_the_rows_of_the_suite(source: str, tmp_path: Path) -> None:
    data = of(source, tmp_path)
    from benchmarks.recbole_trainer import Training

    training = Training(data.for_recbole(tmp_path / "recbole"), 16, "CE", "cpu")
    loaded = data.load()
    for ours, theirs in ((loaded.train, training.train), (loaded.test, training.test)):
        dataset = theirs.dataset
        # RecBole numbers tokens as it meets them; the tokens written are our ids from 0.
        token = np.array([-1, *map(int, dataset.field2id_token["item_id"][1:])]) + 1
        feature = dataset.inter_feat
        their_rows = zip(
            token[feature["item_id_list"].numpy()].tolist(),
            token[feature["item_id"].numpy()].tolist(),
            strict=True,
        )
        our_rows = zip(ours.history.tolist(), ours.target.tolist(), strict=True)
        assert sorted(their_rows) == sorted(our_rows) and len(ours) > 19
    assert len(loaded.train) == 200 and training.model.n_items == 31


def test_rectools_gets_the_rows_of_the_suite(tmp_path: Path) -> None:
    """Those of `positions=all`: each is predicted once, at its place in a window."""
    data = synthetic(30, 200, tmp_path / "home")
    loaded = data.load()
    with np.load(data.windows(tmp_path / "rows.npz")) as file:
        windows, histories, target = file["windows"], file["histories"], file["target"]
    assert sorted(windows[:, 1:][windows[:, 1:] > 0]) == sorted(loaded.train.target)
    shown = {tuple(row[:length]) for row in windows for length in range(2, (row > 0).sum() + 1)}
    size = windows.shape[1]
    for history, length, item in zip(
        loaded.train.history, loaded.train.length, loaded.train.target, strict=True
    ):
        whole = (*history[:length], item)
        assert any(whole[-n:] in shown for n in range(2, size + 1))
    assert np.array_equal(histories, loaded.valid.history)
    assert np.array_equal(target, loaded.valid.target)


@pytest.mark.parametrize(
    "protocol", ["first_target: 10", "first_target: 1, filters: {user_core: 5}"]
)
def test_rows_that_recbole_would_not_make_are_not_compared(tmp_path: Path, protocol: str) -> None:
    place = tmp_path / "configs" / "datasets" / "other-synthetic.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(
        "source: synthetic\nsynthetic: {users: 60, items: 40, interactions: 1000}\n"
        f"protocol: {{name: temporal, {protocol}}}\n"
    )
    with pytest.raises(click.ClickException, match="other-synthetic has filters"):
        Dataset("other-synthetic", str(tmp_path)).for_recbole(tmp_path / "recbole")


def test_a_served_object_answers_and_its_failure_is_told(tmp_path: Path) -> None:
    arguments = {"batch": 4, "history": 3, "scored": 5, "device": "cpu"}
    with Served("benchmarks.floor:Floor", tmp_path, 1, **arguments) as served:
        assert served.call("operations") == Floor(**arguments).operations()
        assert served.call("at_shapes") > 0
        with pytest.raises(click.ClickException, match="no attribute 'nothing'"):
            served.call("nothing")


@pytest.mark.usefixtures("recbole_here")
def test_the_command_measures_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "Served", Here)
    monkeypatch.setattr(workers, "FINISHED", 20)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    place = tmp_path / "configs" / "datasets" / "dot-synthetic.yaml"
    place.parent.mkdir(parents=True)
    place.write_text(
        "source: synthetic\nsynthetic: {users: 60, items: 40, interactions: 1000}\n"
        "protocol: {name: temporal, history: 5, first_target: 1}\n"
    )
    options = ["--dataset", "dot-synthetic", "--batch", "32", "--repetitions", "2", "--epochs", "2"]
    objectives = ("ce", "bce", "bce-all-positions", "dllm2rec")
    chosen = [part for name in objectives for part in ("--objective", name)]
    done = CliRunner().invoke(
        speed.main, [*options, *chosen, "--large", "500", "--output", "json"],
        catch_exceptions=False,
    )  # fmt: skip
    result = json.loads(done.stdout)
    rows = len(Dataset("dot-synthetic", str(tmp_path)).load().test)
    assert result["setting"]["items"] == 40
    lines = {(line["case"], line["reference"]): line for line in result["lines"]}
    assert len(lines) == len(result["lines"])
    references = {
        "ce, batch 32": ["RecBole, CE", "RecBole, CE, no anomaly detection"],
        "bce, batch 32": ["RecBole, BPR", "RecBole, BPR, no anomaly detection"],
        f"full ranking of {rows} rows": [f"RecBole, {rows} rows", f"plain DLLM2Rec, {rows} rows"],
        "dllm2rec, robust, K = 10, D = 4096, batch 256": ["plain DLLM2Rec"],
    }
    for case, names in references.items():
        for name in names:
            line = lines[case, name]
            assert line["suite"] > 0 and line["other"] > 0 and line["factor"] > 0
    floors = [line for line in result["lines"] if line["reference"].startswith("products")]
    assert len(floors) == 6 and all(line["epoch"] > 0 for line in floors)
    by_part = [line["part"] for line in result["lines"]]
    assert [by_part.count(part) for part in speed.PARTS] == [13, 1, 2, 5, 3, 5]
    (curve,) = (line for line in result["lines"] if line["part"] == "learning")
    assert curve["case"] == "ce, batch 32, seed 0"
    assert len(curve["quality"]) == len(curve["other_quality"]) == 2
    assert all(0 < value < 1 for value in curve["quality"] + curve["other_quality"])
    # Nothing of a block is seen beside what this process had before.
    assert all(line["suite"] > 0 for line in result["lines"] if line["unit"] != "blocks")

    table = speed.table([comparison.Line(**line) for line in result["lines"]]).splitlines()
    assert len(table) == 2 + len(lines) and len({len(line) for line in table}) == 1
