"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from bench.data.sources import importing
from bench.paths import Workspace
from bench.registry import METHODS

BESIDE = Path(__file__).resolve().parent.parent.parent
GAMES = Path(os.environ.get("BENCH_TEST_GAMES") or BESIDE / "shared" / "data" / "games")
"""The folder of the real Amazon Video Games interactions; tests that need it skip without it."""

# No property fails because the machine is busy.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_what_tests_start() -> None:
    """A shell that starts the tests in the background has all that they start ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _processes_keep_bytecode() -> None:
    """What tests start is compiled once, whatever the machine says: half a second of each."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the data, teachers and records of the checkout."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def _own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test plugs in is gone after it."""
    monkeypatch.setattr(METHODS, "_found", {entry.name: entry for entry in METHODS})


@pytest.fixture
def games() -> Path:
    """The folder of the real Amazon Video Games interactions."""
    if not GAMES.is_dir():
        pytest.skip(f"needs the games data: no folder {GAMES} (BENCH_TEST_GAMES names another)")
    return GAMES


@pytest.fixture
def tiny(tmp_path: Path) -> Workspace:
    """A workspace whose dataset `tiny` and student `tiny` train in a blink: item i leads to i + 1.

    DLLM2Rec's bare files lie in `tocf/tiny` as teacher `published`; they know the order.
    """
    workspace = Workspace(tmp_path)
    table = tmp_path / "interactions.csv"
    steps = [
        (user, (user + step) % 20, step * 100 + user) for user in range(20) for step in range(16)
    ]
    lines = [f"u{user:02},i{item:02},{time}" for user, item, time in steps]
    table.write_text("\n".join(["user,item,time", *lines]) + "\n")
    data = importing.read(importing.Tables(table, None))
    importing.store("tiny", data, workspace)
    students = tmp_path / "configs" / "students"
    students.mkdir(parents=True)
    (students / "tiny.yaml").write_text(
        "summary: a very small SASRec\nmodel: SASRec\n"
        "parameters: {hidden_size: 8, inner_size: 16, n_layers: 1, n_heads: 1}\n"
        "training: {max_epochs: 2, min_epochs: 1, batch_size: 64, learning_rate: 0.01}\n"
    )
    return workspace


@pytest.fixture
def tiny_teacher(tiny: Workspace) -> Path:
    """The folder of teacher `published` of dataset `tiny`: each row's target comes first."""
    import numpy as np
    import torch

    from bench.data import store
    from bench.data.config import dataset_config

    config = dataset_config("tiny", tiny)
    data = store.prepare("tiny", config, config.protocol, tiny)
    folder = tiny.tocf / "tiny"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lists = (data.train.target[:, None] - 1 + np.arange(12)) % data.n_items
    distances = np.sort(random.uniform(1, 2, lists.shape), axis=1)
    torch.save(
        torch.from_numpy(random.normal(size=(data.n_items, 6))).float(),
        folder / "all_embeddings.pt",
    )
    np.savetxt(folder / "myrank_train.txt", lists, fmt="%d")
    np.savetxt(folder / "confidence_train.txt", distances, fmt="%.6f")
    return folder
