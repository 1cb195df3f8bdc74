"""Whatever a method raises, returns or leaves behind is its own trial's failure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.execution.run import run_grid
from bench.paths import Workspace
from bench.records.record import Record
from bench.records.store import ResultStore
from bench.registry import METHODS

PLUGIN = '''
import os, signal, sys
import numpy as np
import torch
from torch import Tensor, nn
from bench.registry import register_method
from bench.distillation import Batch, Method, Output, Stage

@register_method("mine", needs={{"rankings", "embeddings"}})
class Mine(Method):
    """A method of my own."""
    def attach(self, student, knowledge):
        self.student_train = student.train
        {attach}
    def on_epoch_start(self, epoch, max_epochs):
        {epoch}
        return {{}}
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        {loss}
        return {{"small": 0.1 * output.hidden.pow(2).mean()}}
'''


def grid_records(tiny: Workspace, tmp_path: Path, **body: str) -> list[Record]:
    """The records of `mine`, of `ranking-only` after it, and of `ranking-only` in a clean run."""
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(**{"attach": "pass", "epoch": "pass", "loss": "pass"} | body))
    METHODS.add_plugin(path)
    found = run(tiny, tiny.results, "mine", "ranking-only")
    return [*found, clean_record(tiny)]


_CLEAN: list[Record] = []


def clean_record(tiny: Workspace) -> Record:
    """The same in every test: data and teacher are."""
    if not _CLEAN:
        _CLEAN.extend(run(tiny, tiny.home / "clean", "ranking-only"))
    return _CLEAN[0]


def run(tiny: Workspace, results: Path, *methods: str) -> list[Record]:
    selection = Selection(
        methods=methods, datasets=["tiny"], students=["tiny"], teachers=["published"]
    )
    grid = resolve(selection, tiny)
    return run_grid(grid, ResultStore(results), tiny, device="cpu", threads=1)


WRITES = {
    "in place": "knowledge.rankings.clamp_(max=3)",
    "past torch's count": "knowledge.rankings.data.fill_(1)",
    "through numpy": "knowledge.rankings.numpy()[:] = 1",
    "as a parameter": "nn.init.zeros_(nn.Parameter(knowledge.embeddings))",
    "then it fails": "knowledge.rankings.fill_(1); raise ValueError('besides')",
    "the training rows": "knowledge.rows.target.fill_(1)",
    "the counts": "knowledge.target_counts.zero_()",
}


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES)
def test_knowledge_that_was_written_into_fails_its_trial_and_no_other(
    tiny: Workspace, tmp_path: Path, body: str
) -> None:
    mine, after, clean = grid_records(tiny, tmp_path, attach=body)
    assert mine.status == "error"
    assert mine.error is not None and "wrote into what it was given to read" in mine.error
    assert after.status == "done" and after.metrics == clean.metrics


@pytest.mark.usefixtures("tiny_teacher")
def test_what_a_method_does_to_a_tensor_itself_ends_with_its_trial(
    tiny: Workspace, tmp_path: Path
) -> None:
    """A flag on a tensor, another table in the place of one, a buffer that is loaded again."""
    body = (
        "self.register_buffer('kept', knowledge.embeddings); knowledge.rows.target = None; "
        "knowledge.distances.requires_grad_(True)"
    )
    mine, after, clean = grid_records(tiny, tmp_path, attach=body)
    assert mine.status == "done", mine.error
    assert after.metrics == clean.metrics


LEFT = {
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "default device": "torch.set_default_device('meta')",
    "gradients": "self._held = torch.set_grad_enabled(epoch == 1)",
    "deterministic": "torch.use_deterministic_algorithms(True, warn_only=True)",
    "threads": "torch.set_num_threads(2)",
    "NumPy": "np.seterr(all='ignore')",
}


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_state_of_the_process_that_a_method_leaves_changed_fails_its_trial_and_no_other(
    tiny: Workspace, tmp_path: Path, body: str
) -> None:
    try:
        mine, after, clean = grid_records(tiny, tmp_path, epoch=body)
        assert not mine.is_done
        assert after.status == "done" and after.metrics == clean.metrics
        assert torch.get_default_dtype() is torch.float32 and torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.use_deterministic_algorithms(False)
        torch.set_grad_enabled(True)


@pytest.mark.usefixtures("tiny_teacher")
def test_state_that_importing_a_method_changes_reaches_no_trial(
    tiny: Workspace, tmp_path: Path
) -> None:
    """Methods are imported before the first trial, when settings are checked."""
    path = tmp_path / "at_import.py"
    text = PLUGIN.format(attach="pass", epoch="pass", loss="pass").replace('"mine"', '"at-import"')
    path.write_text(f"{text}\ntorch.set_default_dtype(torch.float64)\n")
    METHODS.add_plugin(path)
    try:
        _, after = run(tiny, tiny.results, "at-import", "ranking-only")
    finally:
        torch.set_default_dtype(torch.float32)
    assert after.metrics == clean_record(tiny).metrics


@pytest.mark.usefixtures("tiny_teacher")
def test_what_does_not_move_numbers_is_put_back_and_told(tiny: Workspace, tmp_path: Path) -> None:
    body = "os.environ['MINE'] = '1'; os.chdir('/'); signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    folder = Path.cwd()
    mine, *_ = grid_records(tiny, tmp_path, attach=body)
    assert mine.is_done and Path.cwd() == folder and "MINE" not in os.environ
    for part in ("SIGTERM", "working folder", "environment, which were put back: MINE"):
        assert any(part in note for note in mine.notes), mine.notes


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("self.student_train(False)", "it was off at the end of 2 of 2 epochs"),
        ("self.student_train(False); self.student_train(True)", None),
    ],
)
def test_a_method_that_switches_dropout_off_for_good_is_told_in_its_record(
    tiny: Workspace, tmp_path: Path, body: str, told: str | None
) -> None:
    mine, *_ = grid_records(tiny, tmp_path, epoch=body)
    assert mine.is_done
    assert ([told in note for note in mine.notes] == [True]) if told else mine.notes == []


@pytest.mark.usefixtures("tiny_teacher")
def test_dropout_that_is_taken_away_is_told(tiny: Workspace, tmp_path: Path) -> None:
    body = "[setattr(m, 'p', 0.0) for m in student.modules() if hasattr(m, 'p')]"
    mine, after, _ = grid_records(tiny, tmp_path, attach=body)
    assert "took dropout from the student" in mine.notes[0]
    assert after.notes == []


RAISES = {
    "SystemExit": "sys.exit()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "BaseException": "raise BaseException('odd')",
    "no message": ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()"),
    "recursion": "(lambda f: f(f))(lambda f: f(f))",
}


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize("body", RAISES.values(), ids=RAISES)
def test_whatever_a_method_raises_is_the_failure_of_its_trial(
    tiny: Workspace, tmp_path: Path, body: str
) -> None:
    mine, after, _ = grid_records(tiny, tmp_path, loss=body)
    assert mine.status == "error" and mine.error
    assert after.is_done


RETURNS: dict[str, Any] = {
    "derived": {"attach": "self.derived = {'x': torch.zeros(2)}"},
    "derived that holds itself": {"attach": "self.derived = {}; self.derived['x'] = self.derived"},
    "no dict": {"loss": "return 3"},
    "a term of text": {"loss": "return {'a': 'b'}"},
    "numbers of an epoch": {"epoch": "return 3"},
    "no text": {"epoch": "return {'a': '\\ud800'}"},
    "stages": {"attach": "self.stages = lambda: 5"},
}


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize("body", RETURNS.values(), ids=RETURNS)
def test_whatever_a_method_returns_is_the_failure_of_its_trial(
    tiny: Workspace, tmp_path: Path, body: dict[str, str]
) -> None:
    mine, after, _ = grid_records(tiny, tmp_path, **body)
    assert mine.status == "error"
    assert after.is_done


@pytest.mark.usefixtures("tiny_teacher")
def test_a_grid_goes_on_after_a_method_that_ends_the_process(
    tiny: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(attach="pass", epoch="pass", loss="sys.exit(0)"))
    axes = ["-d", "tiny", "-s", "tiny", "-t", "published", "-m", "mine", "-m", "none"]
    command = ["run", *axes, "--seeds", "0-1", "--plugin", str(path), "--device", "cpu"]
    done = CliRunner().invoke(main, [*command, "--threads", "1", "--jobs", "2"])
    assert done.exit_code == 1, done.output
    assert "2 of 4 trials failed" in done.stderr
    trials = [r for r in ResultStore(tiny.results).records() if r.kind == "trial"]
    assert sorted(record.status for record in trials) == ["done", "done", "error", "error"]


PLANS = {
    "import": "\nimport sys\nsys.exit(0)\n",
    "prompt length": "    @classmethod\n    def prompt_length(cls, config): raise OSError('odd')\n",
    "signals": "    @classmethod\n    def signals(cls, config): raise SystemExit(0)\n",
}


@pytest.mark.usefixtures("tiny_teacher")
@pytest.mark.parametrize("name", PLANS)
def test_what_a_method_raises_before_the_run(tiny: Workspace, tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.py"
    text = PLUGIN.format(attach="pass", epoch="pass", loss="pass")
    path.write_text(text + PLANS[name])
    METHODS.add_plugin(path)
    if name == "import":
        from bench.errors import ConfigError

        with pytest.raises(ConfigError, match="cannot be imported"):
            run(tiny, tiny.results, "mine", "none")
    else:
        mine, none = run(tiny, tiny.results, "mine", "none")
        assert mine.status == "error" and none.is_done
