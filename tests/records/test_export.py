"""Which students can be handed to RecBole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from bench.cli.main import main
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.records.arrays import STUDENT
from bench.records.export import export_checkpoint
from bench.records.store import ResultStore


@pytest.mark.parametrize(
    ("tensor", "made"), [("head", "a scoring table beside"), ("prompts", "with prompts")]
)
def test_a_student_that_recbole_cannot_hold_is_refused(
    tmp_path: Path, tensor: str, made: str
) -> None:
    (tmp_path / "key").mkdir()
    state = {"item_embedding.weight": torch.zeros(4, 2), tensor: torch.zeros(3, 2)}
    save_file(state, tmp_path / "key" / STUDENT)
    trial = SimpleNamespace(label="tiny | method", data_fingerprint="f")
    record = SimpleNamespace(key="key", trial=trial, arrays={})
    store = ResultStore(tmp_path)
    output = tmp_path / "out.pth"
    with pytest.raises(ConfigError, match=rf"tiny.*{made}.*RecBole's model has no place"):
        export_checkpoint(record, store, SimpleNamespace(fingerprint="f"), output)
    assert not output.exists()


def test_weights_are_not_paired_with_another_catalogue(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    save_file({"item_embedding.weight": torch.zeros(4, 2)}, tmp_path / "key" / STUDENT)
    trial = SimpleNamespace(label="tiny | method", data_fingerprint="before")
    record = SimpleNamespace(key="key", trial=trial, arrays={})
    data = SimpleNamespace(fingerprint="now", dataset="tiny", protocol="temporal-10")
    with pytest.raises(ConfigError, match=r"trained on other data than .*before.*now.*item ids"):
        export_checkpoint(record, ResultStore(tmp_path), data, tmp_path / "out.pth")


@pytest.mark.parametrize(
    ("output", "why"), [("file/out.pth", "File exists"), ("folder", "is a directory")]
)
def test_an_output_that_cannot_be_written_is_one_line(
    tiny: Workspace, tmp_path: Path, output: str, why: str
) -> None:
    run = ["run", "--dataset", "tiny", "--student", "tiny", "--method", "none", "--seeds", "0"]
    ran = CliRunner().invoke(main, run)
    assert ran.exit_code == 0, ran.output
    (record,) = [r for r in ResultStore(tiny.results).records() if r.kind == "trial"]
    (tmp_path / "file").write_text("a file where a folder should be")
    (tmp_path / "folder").mkdir()
    place = tmp_path / output
    refused = CliRunner().invoke(main, ["export", record.key, "--output", str(place)])
    assert refused.exit_code == 2
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("Error: ") and "--output" in last
    assert str(place) in last and why in last
