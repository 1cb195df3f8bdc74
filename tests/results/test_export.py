"""Which students can be handed to RecBole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from bench.errors import ConfigError
from bench.results.export import export_checkpoint
from bench.results.store import STUDENT


@pytest.mark.parametrize("tensor", ["head", "prompts"])
def test_a_student_that_recbole_cannot_hold_is_refused(tmp_path: Path, tensor: str) -> None:
    (tmp_path / "key").mkdir()
    state = {"item_embedding.weight": torch.zeros(4, 2), tensor: torch.zeros(3, 2)}
    save_file(state, tmp_path / "key" / STUDENT)
    record = SimpleNamespace(key="key", trial=SimpleNamespace(label="tiny | method"))
    store = SimpleNamespace(folder=tmp_path)
    output = tmp_path / "out.pth"
    with pytest.raises(ConfigError, match=rf"tiny.*{tensor}.*RecBole's model has no place"):
        export_checkpoint(record, store, SimpleNamespace(), output)
    assert not output.exists()
