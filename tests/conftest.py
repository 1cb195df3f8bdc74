"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

GAMES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "games"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the data, teachers and records of the checkout."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))


@pytest.fixture
def games() -> Path:
    """The folder of the real Amazon Video Games interactions."""
    if not GAMES.is_dir():
        pytest.skip("needs the folder ../shared/data/games (see docs) beside the checkout")
    return GAMES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing:
        import torch

        if not torch.cuda.is_available():
            for item in needing:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
