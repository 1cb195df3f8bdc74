"""`id+text`: two students that were trained apart rank together, without a training."""

from __future__ import annotations

import numpy as np
import pytest

from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data import store as data_store
from bench.data.config import dataset_config
from bench.execution.finished import load_student
from bench.execution.run import run_grid
from bench.execution.sums import pairs
from bench.paths import Workspace
from bench.records.frame import runs
from bench.records.store import ResultStore
from bench.reporting.render import render


@pytest.mark.usefixtures("tiny_teacher")
def test_standardised_scores_of_two_students_are_added(tiny: Workspace) -> None:
    selection = Selection(
        methods=["none", "whiten"],
        datasets=["tiny"],
        students=["tiny"],
        teachers=["published"],
        overrides=["method.groups=2"],
        seeds="0-1",
    )
    results = ResultStore(tiny.results)
    records = run_grid(resolve(selection, tiny), results, tiny, device="cpu", threads=1)
    sums = [r for r in results.records() if r.reference and r.reference.name == "id+text"]
    assert [r.reference.seed for r in sorted(sums, key=lambda r: r.reference.seed)] == [0, 1]
    config = dataset_config("tiny", tiny)
    data = data_store.prepare("tiny", config, config.protocol, tiny)
    for record in sums:
        total = np.zeros((len(data.test), data.n_items))
        for trial in (r for r in records if r.trial.seed == record.reference.seed):
            student, rows = load_student(trial, results, data), data.test
            columns = [np.array(c) for c in (rows.history, rows.length, rows.user)]
            history, length, user = map(torch_of, columns)
            logits = student.logits(student.encode(history, length, user)).detach().numpy()
            scores = logits[:, 1:].astype(np.float64)
            total += (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
        own = np.take_along_axis(total, data.test.target[:, None] - 1, axis=1)
        wanted = (total >= own - 1e-5).sum(axis=1)
        np.testing.assert_array_equal(results.ranks(record.key), wanted)
    frame = runs(results.records(), results.folder)
    lines = frame[frame["method"] == "id+text"]
    assert lines["entry"].nunique() == 1 and {*lines["seed"]} == {0, 1}
    assert {*lines["setting"]} == {*frame.loc[frame["kind"] == "trial", "setting"]}
    assert render(results).count("| id+text ") >= 1
    # Nothing is written twice, and nothing without both halves.
    before = {r.key: r.created for r in sums}
    run_grid(resolve(selection, tiny), results, tiny, device="cpu", threads=1)
    assert {r.key: r.created for r in results.records() if r.key in before} == before
    assert list(pairs([r.trial for r in records if r.trial.method == "none"])) == []


def torch_of(column: np.ndarray) -> object:
    import torch

    return torch.from_numpy(column.astype(np.int64))
