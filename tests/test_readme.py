"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.registry import MethodRegistry

README = Path(__file__).resolve().parent.parent / "README.md"


def test_example_method_is_a_plugin_of_at_most_thirty_lines(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    path = tmp_path / "my_method.py"
    path.write_text(example[1], encoding="utf-8")
    (entry,) = MethodRegistry().add_plugin(path)
    assert entry.needs == {"rankings"}
    assert len(example[1].splitlines()) <= 30

    method_class = entry.load()
    method = method_class(method_class.Config(weight=2.0))
    method.attach(None, SimpleNamespace(rankings=torch.tensor([[3, 1], [2, 3], [1, 2]])))
    log_probs = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    output = SimpleNamespace(log_probs=lambda ids: log_probs.gather(1, ids))
    terms = method.loss(SimpleNamespace(row_id=torch.tensor([2, 0])), output)
    expected = -2.0 * (log_probs[0, 1] + log_probs[1, 3]) / 2
    assert terms["top_one"].item() == pytest.approx(expected.item())
