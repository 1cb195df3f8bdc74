"""docs/performance.md has measured every method."""

import re

import pytest

from bench.paths import SHIPPED
from bench.registry import METHODS

OURS = [entry.name for entry in METHODS if entry.is_shipped]
COMMAND = "python benchmarks/step_cost.py --items 17000 --batch 256 --repetitions 40"


@pytest.mark.parametrize("method", OURS)
def test_a_method_has_a_line(method: str) -> None:
    page = (SHIPPED / "docs" / "performance.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {re.escape(method)} (\(.*\))? *\| +\d+\.\d\dx \|", page, re.M), (
        f"docs/performance.md has no line of '{method}': run `{COMMAND}` and put its table there"
    )
