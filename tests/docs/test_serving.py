"""The program of docs/serving.md serves what the suite ranked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.data import store as data_store
from bench.execution.finished import load_student
from bench.paths import SHIPPED, Workspace
from bench.records.store import ResultStore


@pytest.mark.parametrize(("student", "model"), [("tiny", "SASRec"), ("caser", "Caser")])
def test_the_program_that_is_shown_recommends_what_the_suite_would(
    student: str,
    model: str,
    tiny: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    run = ["run", "--dataset", "tiny", "--student", student, "--method", "none", "--threads", "1"]
    run += ["--set", "training.max_epochs=2"]
    assert CliRunner().invoke(main, run).exit_code == 0
    store = ResultStore(tiny.results)
    (record,) = [r for r in store.records() if r.kind == "trial"]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", record.key[:12], "--output", "student.pth"])
    assert done.exit_code == 0, done.output

    page = (SHIPPED / "docs" / "serving.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shown = '("50", "172", "181")'
    assert shown in program
    program = program.replace(shown, '("i03", "i04", "i05")').replace("SASRec", model)
    exec(program.replace("sasrec", model.lower()), {})  # noqa: S102 - our own page
    served = capsys.readouterr().out.strip()

    data = data_store.load("tiny", record.trial.protocol, tiny)
    trained = load_student(record, store, data)
    seen = [1 + data.item_tokens.index(token) for token in ("i03", "i04", "i05")]
    history = torch.tensor([seen + [0] * (data.train.history.shape[1] - len(seen))])
    with torch.no_grad():
        hidden = trained.encode(history, torch.tensor([3]), None)
        best = trained.logits(hidden)[0].topk(10).indices
    assert served == str([data.item_tokens[item - 1] for item in best.tolist()])
