"""The planted teacher: how good it is follows from its signal, and from no target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.baselines.popularity import Popularity
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data import store
from bench.data.config import Filters, dataset_config
from bench.data.examples import PreparedData
from bench.data.sources.synthetic import World
from bench.errors import ConfigError, DataError
from bench.execution.compatibility import drop_incompatible
from bench.paths import Workspace
from bench.teachers.builder import Product
from bench.teachers.contract import check
from bench.teachers.kinds.planted import PlantedOptions, PlantedTeacher
from bench.teachers.registry import KINDS

NAME = "toy-synthetic"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "configs" / "datasets"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.yaml").write_text(
        "source: synthetic\n"
        "synthetic: {users: 700, items: 150, interactions: 4000}\n"
        "protocol: {name: temporal, history: 6, first_target: 1}\n"
    )
    return Workspace(tmp_path)


Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepare(workspace: Workspace) -> Prepare:
    def prepared(protocol: str | None = None, **changes: object) -> PreparedData:
        config = dataset_config(NAME, workspace).model_copy(update=changes)
        return store.prepare(NAME, config, config.protocol_named(protocol), workspace)

    return prepared


def build(workspace: Workspace, data: PreparedData, **options: object) -> Product:
    asked = PlantedTeacher.complete(options, data.dataset, workspace)
    checked = PlantedOptions.model_validate(asked)
    return PlantedTeacher.build(checked, data, workspace.tocf, "cpu")


@pytest.mark.parametrize("protocol", ["temporal", "leave-one-out"])
def test_the_whole_signal_is_the_generators_own_probability(
    workspace: Workspace, prepare: Prepare, protocol: str
) -> None:
    data = prepare(protocol)
    product = build(workspace, data, signal=1, list_length=20)
    world_config = dataset_config(NAME, workspace).synthetic
    assert world_config is not None
    world = World(world_config)
    blocks = list(world.blocks())
    state = np.concatenate([block.state for block in blocks])
    user = np.concatenate([block.user for block in blocks])
    first = np.searchsorted(user, np.arange(700))

    test = data.test
    log_p = world.log_probabilities(state[first[test.user] + test.ordinal])
    own = log_p[np.arange(len(test)), test.target - 1]
    np.testing.assert_array_equal(product.test_ranks, (log_p >= own[:, None]).sum(axis=1))

    log_p = world.log_probabilities(state[first[data.train.user] + data.train.ordinal])
    for row in range(0, len(data.train), 97):
        seen = set(data.train.history[row]) - {0, data.train.target[row]}
        best = [i + 1 for i in np.argsort(-log_p[row]) if i + 1 not in seen]
        assert list(product.rankings[row]) == best[:20]
    np.testing.assert_allclose(
        product.embeddings, world.vectors * 150**0.5 * 4 / np.linalg.norm(world.vectors), rtol=1e-5
    )


def test_quality_rises_with_the_signal_from_chance(workspace: Workspace, prepare: Prepare) -> None:
    data = prepare()
    quality = [
        build(workspace, data, signal=signal).metrics["test"]["ndcg@20"]
        for signal in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert quality == sorted(quality)
    # By chance each of the first 20 places is the target's once in 150 times.
    chance = sum(1 / np.log2(np.arange(20) + 2)) / 150
    assert quality[0] == pytest.approx(chance, abs=0.03)
    popularity = Popularity().fit(data.train, data.n_items).ranks(data.test, data.n_items)
    popular = np.where(popularity <= 20, 1 / np.log2(popularity + 1), 0).mean()
    assert quality[-1] > popular + 0.05


def test_noise_keeps_its_share_of_the_embeddings(workspace: Workspace, prepare: Prepare) -> None:
    data = prepare()
    truth, noise, half = (
        build(workspace, data, signal=signal).embeddings for signal in (1, 0, 0.5)
    )
    np.testing.assert_allclose(half, (truth + noise) / 2, atol=1e-6)
    assert (truth**2).mean() == pytest.approx(1) and (noise**2).mean() == pytest.approx(1, abs=0.1)
    assert abs(np.corrcoef(truth.ravel(), noise.ravel())[0, 1]) < 0.1


def test_targets_of_validation_and_test_are_not_known(
    workspace: Workspace, prepare: Prepare
) -> None:
    data = prepare()
    other = {
        split: replace(rows, target=rows.target[::-1].copy())
        for split, rows in (("valid", data.valid), ("test", data.test))
    }
    first, second = build(workspace, data), build(workspace, replace(data, **other))
    for signal in ("rankings", "distances", "embeddings"):
        np.testing.assert_array_equal(getattr(first, signal), getattr(second, signal))
    assert (first.test_ranks != second.test_ranks).any()


def test_what_it_writes_keeps_the_contract(
    workspace: Workspace, prepare: Prepare, ensure: Callable[..., Path]
) -> None:
    data = prepare()
    config = {"kind": "planted", "options": {"signal": 0.5}}
    folder = ensure("planted", config, data)
    checked = check(folder, data)
    assert not checked.problems
    assert set(checked.manifest.signals) == KINDS.get("planted").signals
    assert checked.rankings.shape == (len(data.train), 100)
    world = checked.manifest.recipe["options"]["world"]
    assert (world["users"], world["seed"]) == (700, 0)
    path = workspace.home / "configs" / "datasets" / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("{users: 700", "{seed: 3, users: 700"))
    with pytest.raises(ConfigError, match=r"world\.seed is 0 there and 3 here"):
        ensure("planted", config, prepare())


def test_other_rows_than_the_worlds_are_refused(workspace: Workspace, prepare: Prepare) -> None:
    with pytest.raises(DataError, match="not those that its configuration draws"):
        build(workspace, prepare(filters=Filters(item_core=20)))
    data = prepare()
    train = replace(data.train, target=data.train.target % 150 + 1)
    with pytest.raises(DataError, match="not those that its configuration draws"):
        build(workspace, replace(data, train=train))


def test_real_data_have_no_truth_to_know(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="'movielens' is none of them"):
        PlantedTeacher.complete({}, "movielens", workspace)

    def teachers(dataset: str) -> set[str | None]:
        selection = Selection(
            datasets=[dataset], methods=["dllm2rec"], teachers=["text", "planted"]
        )
        grid = resolve(selection, workspace)
        left = drop_incompatible(grid, grid.trials, "cpu", workspace)
        return {trial.teacher for trial in left.trials}

    assert teachers("movielens") == {"text"}
    assert teachers("synthetic-small") == {"text", "planted"}
