"""Prepared data on disk: counts of MovieLens, memory maps, damage, kills and concurrency."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from bench import folders, locks
from bench.data import store
from bench.data.config import (
    DATASET_FILE,
    DatasetConfig,
    Filters,
    ProtocolConfig,
    dataset_config,
)
from bench.data.sources.texts import movie_text
from bench.errors import ConfigError, DataError, UnknownNameError
from bench.paths import Workspace

from ..listening import listening

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def workspace() -> Workspace:
    return Workspace.current()


def prepare(workspace: Workspace, name: str | None = None, **changes):
    config = dataset_config("movielens", workspace).model_copy(update=changes)
    return store.prepare("movielens", config, config.protocol_named(name), workspace)


def test_movielens_has_the_reference_rows(workspace):
    data = prepare(workspace)
    assert (data.n_users, data.n_items) == (943, 1682)
    assert [len(t) for t in (data.train, data.valid, data.test)] == [79_245, 9_906, 9_906]
    counts = data.target_counts()
    assert counts.sum() == 79_245
    assert round((counts[data.test.target] == 0).mean(), 3) == 0.015
    assert isinstance(data.train.history, np.memmap)
    assert data.item_texts[data.item_tokens.index("38")] == (
        "The Net (1995). Genres: Sci-Fi, Thriller"
    )
    loo = prepare(workspace, "leave-one-out")
    assert [len(t) for t in (loo.train, loo.valid, loo.test)] == [97_171, 943, 943]
    assert loo.catalogue_fingerprint == data.catalogue_fingerprint
    assert loo.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (
            "Horseman on the Roof, The (Hussard sur le toit, Le)",
            "The Horseman on the Roof (Hussard sur le toit, Le) (1995). Genres: Drama",
        ),
        ("Bronx Tale, A", "A Bronx Tale (1995). Genres: Drama"),
        ("Postino, Il", "Postino, Il (1995). Genres: Drama"),
        (
            "To Wong Foo, Thanks for Everything!",
            "To Wong Foo, Thanks for Everything! (1995). Genres: Drama",
        ),
    ],
)
def test_articles_come_first(title, text):
    assert movie_text(title, "1995", ["Drama"]) == text


def test_unknown_parts_are_left_out():
    assert movie_text("unknown", "", ["unknown"]) == "unknown"


def test_prepared_data_are_made_once(workspace):
    lines: list[str] = []
    with listening(lines.append):
        first = prepare(workspace)
        assert len(lines) == 1
        again = prepare(workspace)
        assert len(lines) == 1
    assert again.fingerprint == first.fingerprint
    found = store.identity("movielens", first.protocol, workspace)
    assert found is not None and found.fingerprint == first.fingerprint


def test_other_filters_make_other_rows(workspace):
    first = prepare(workspace)
    liked = prepare(workspace, filters=Filters(min_rating=4))
    assert len(liked.train) < len(first.train)
    assert liked.fingerprint != first.fingerprint
    assert prepare(workspace).fingerprint == first.fingerprint


def test_what_is_not_prepared_is_refused(workspace):
    with pytest.raises(DataError, match="bench data prepare movielens"):
        store.load("movielens", "temporal-10", workspace)
    assert store.identity("movielens", "temporal-10", workspace) is None


def test_a_damaged_file_is_named(workspace):
    data = prepare(workspace)
    path = workspace.datasets / "movielens" / data.protocol / "test.target.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"test\.target\.npy: cannot be read"):
        store.load("movielens", data.protocol, workspace)


def test_an_unwritable_folder_is_refused(workspace):
    workspace.datasets.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="datasets/movielens cannot be written to"):
        prepare(workspace)


def test_who_waits_for_another_process_is_told_so(workspace, monkeypatch):
    monkeypatch.setattr(folders, "PATIENCE", 0.0)
    home = workspace.datasets / "movielens"
    home.mkdir(parents=True)
    holder = contextlib.ExitStack()
    assert holder.enter_context(locks.attempted(home / ".lock"))
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        holder.close()

    with listening(hear):
        assert prepare(workspace).n_users == 943
    assert lines[0].startswith("another process (process ")
    assert lines[0].endswith(f") is working on {home}; waiting for it")


def test_unknown_names_are_refused(workspace):
    with pytest.raises(UnknownNameError, match="Did you mean 'movielens'"):
        dataset_config("movielen", workspace)
    with pytest.raises(UnknownNameError, match="Did you mean 'temporal'"):
        DatasetConfig().protocol_named("tempral")
    (workspace.home / "configs" / "datasets").mkdir(parents=True)
    (workspace.home / "configs" / "datasets" / "mine.yaml").write_text("sumary: typo")
    with pytest.raises(ConfigError, match="Did you mean 'summary'"):
        dataset_config("mine", workspace)


def test_a_dataset_without_a_source_says_how_to_import(workspace):
    with pytest.raises(DataError, match="bench data import shop PATH"):
        store.prepare("shop", DatasetConfig(), ProtocolConfig(name="temporal"), workspace)


def test_slugs_tell_protocols_apart():
    slugs = [
        ProtocolConfig(name="temporal").slug,
        ProtocolConfig(name="temporal", first_target=1).slug,
        ProtocolConfig(name="temporal", history=20).slug,
        ProtocolConfig(name="leave-one-out").slug,
    ]
    assert slugs == ["temporal-10", "temporal-10-from1", "temporal-20", "leave-one-out-10"]


def _prepare_in(home: Path, results) -> None:
    results.put(prepare(Workspace(home)).fingerprint)


def _die_while_writing(home: Path) -> None:
    """Prepare, and kill this process with the first array of the rows on disk."""
    save = np.save

    def dying(path, array):
        save(path, array)
        if Path(path).name == "train.length.npy":
            os.kill(os.getpid(), signal.SIGKILL)

    np.save = dying
    prepare(Workspace(home))


def test_two_at_once_make_the_same(workspace):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=_prepare_in, args=(workspace.home, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert found == {prepare(workspace).fingerprint}


def test_a_killed_preparation_leaves_nothing_half(workspace):
    process = multiprocessing.get_context("fork").Process(
        target=_die_while_writing, args=(workspace.home,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    home = workspace.datasets / "movielens"
    slug = dataset_config("movielens", workspace).protocol.slug
    assert list(home.glob(".*.building-*")) and not (home / slug).exists()
    data = prepare(workspace)
    assert len(data.train) == 79_245
    assert not list(home.glob(".*.building-*"))


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_broken_configuration_of_an_import_is_named(tiny: Workspace, content: bytes) -> None:
    path = tiny.datasets / "tiny" / "source" / DATASET_FILE
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{path}: "):
        dataset_config("tiny", tiny)


@pytest.mark.parametrize(
    "name", ["train.target", "valid.history", "test.user", "train.length", "sequences.item"]
)
def test_arrays_that_are_not_those_that_were_written_are_made_again(
    tiny: Workspace, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataset_config("tiny", tiny)
    before = store.prepare("tiny", config, config.protocol, tiny)
    path = tiny.datasets / "tiny" / config.protocol.slug / f"{name}.npy"
    array = np.load(path)
    array[0] = 99
    np.save(path, array)
    with pytest.raises(DataError, match=r"bench data prepare tiny"):
        store.load("tiny", config.protocol.slug, tiny)
    again = store.prepare("tiny", config, config.protocol, tiny)
    assert again.fingerprint == before.fingerprint
    assert sum("are made again" in message for message in caplog.messages) == 1
    assert np.load(path).flat[0] != 99


def test_interactions_that_are_not_those_that_were_stored_make_no_rows(tiny: Workspace) -> None:
    config = dataset_config("tiny", tiny)
    path = tiny.datasets / "tiny" / "source" / "item.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(DataError, match=r"not those that source\.json describes"):
        store.prepare("tiny", config, config.protocol, tiny)
