"""Synthetic data: what is drawn is what the configuration says, and nobody takes it for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import layers
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data import store
from bench.data.config import DatasetConfig, dataset_config, dataset_names
from bench.data.prepare.interactions import canonical
from bench.data.sources.synthetic import World, read_synthetic
from bench.data.sources.synthetic_config import SyntheticConfig, is_synthetic
from bench.errors import ConfigError, DataError
from bench.paths import Workspace

SMALL = {"users": 600, "items": 90, "interactions": 5000}


def small(**changes: object) -> SyntheticConfig:
    return SyntheticConfig(**{**SMALL, **changes})


@settings(max_examples=25)
@given(
    users=st.integers(1, 40),
    items=st.integers(1, 60),
    more=st.integers(0, 200),
    least=st.integers(1, 6),
    dimensions=st.integers(1, 5),
    seed=st.integers(0, 2**70),
)
def test_any_world_has_the_asked_size_and_the_canonical_order(
    users: int, items: int, more: int, least: int, dimensions: int, seed: int
) -> None:
    config = SyntheticConfig(
        users=users,
        items=items,
        interactions=users * least + more,
        least=least,
        dimensions=dimensions,
        seed=seed,
    )
    data = read_synthetic(config)
    assert len(data) == config.interactions
    assert np.bincount(data.user, minlength=users).min() >= least
    assert len(set(data.item_texts)) == len(data.item_texts) == items
    # What a table with the same content in any order would be read as.
    order = np.random.default_rng(0).permutation(len(data))
    read = canonical(
        np.array(data.user_tokens)[data.user[order]],
        np.array(data.item_tokens)[data.item[order]],
        item_texts=dict(zip(data.item_tokens, data.item_texts, strict=True)),
        time=data.time[order],
    )
    assert read.fingerprint == data.fingerprint


def test_the_same_settings_draw_the_same_data_for_ever() -> None:
    data = read_synthetic(small())
    assert data.fingerprint == read_synthetic(small()).fingerprint
    assert data.fingerprint != read_synthetic(small(seed=1)).fingerprint
    # If this moves, raise GENERATOR: data that are prepared already are made anew then.
    assert data.fingerprint.startswith("223d572ed3c2f372")


def test_probabilities_are_the_product_of_the_two_steps() -> None:
    world = World(small())
    state = next(world.blocks()).state[:20]
    found = np.exp(world.log_probabilities(state))
    popularity = np.exp(world.log_popularity)
    for s, row in zip(state, found, strict=True):
        clusters = [np.flatnonzero(world.cluster == k) for k in range(len(world.centres))]
        mass = np.array([popularity[members].sum() for members in clusters])
        by_cluster = mass * np.exp(world.centres @ s)
        expected = np.zeros(len(popularity))
        for k, members in enumerate(clusters):
            inside = popularity[members] * np.exp(world.vectors[members] @ s)
            expected[members] = by_cluster[k] / by_cluster.sum() * inside / inside.sum()
        np.testing.assert_allclose(row, expected, rtol=1e-9)


def test_items_are_drawn_with_these_probabilities() -> None:
    """Surprise has the mean that the entropy of each draw says, within four standard errors."""
    world = World(small(interactions=20_000))
    blocks = list(world.blocks())
    state = np.concatenate([block.state for block in blocks])
    item = np.concatenate([block.item for block in blocks])
    log_p = world.log_probabilities(state)
    excess = log_p[np.arange(len(item)), item] - (np.exp(log_p) * log_p).sum(axis=1)
    assert abs(excess.mean()) < 4 * excess.std() / len(excess) ** 0.5
    # Without interests and order the frequencies are the popularity alone.
    world = World(small(interactions=20_000, interest=0, sequence=0))
    counts = np.bincount(np.concatenate([b.item for b in world.blocks()]), minlength=90)
    expected = np.exp(world.log_popularity)
    expected *= counts.sum() / expected.sum()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 89 + 4 * (2 * 89) ** 0.5
    ordered = np.sort(np.exp(world.log_popularity))[::-1]
    np.testing.assert_allclose(ordered, np.arange(1, 91) ** -0.8)


def test_interests_drift_and_the_last_item_points_ahead() -> None:
    config = small(interactions=20_000, drift=0.5)
    world = World(config)
    block = next(world.blocks())
    follows = np.flatnonzero(block.user[1:] == block.user[:-1]) + 1
    interest = block.state.copy()
    interest[follows] -= config.sequence * world.followers[block.item[follows - 1]]
    assert interest.std() == pytest.approx(config.interest, rel=0.05)
    slope = (interest[follows] * interest[follows - 1]).sum() / (interest[follows - 1] ** 2).sum()
    assert slope == pytest.approx((1 - 0.5**2) ** 0.5, abs=0.02)
    # T turns and does nothing else: lengths and angles stay.
    turned, vectors = world.followers, world.vectors
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-12)
    assert abs((turned * vectors).sum(axis=1).mean()) < 0.5


def test_titles_tell_where_an_item_lies_as_far_as_asked() -> None:
    def agreement(text: float) -> float:
        """How much more often items of one cluster share their kind than items of two."""
        world = World(small(items=900, text=text))
        kinds = np.array([title.split(": ")[1].split()[0] for title in world.titles()])
        same_kind = kinds[:, None] == kinds
        same_cluster = world.cluster[:, None] == world.cluster
        return float(same_kind[same_cluster].mean() - same_kind[~same_cluster].mean())

    nothing, some, much = (agreement(text) for text in (0.0, 0.6, 1.0))
    assert abs(nothing - 30 / 900) < 0.01  # an item shares its kind with itself
    assert nothing + 0.02 < some < much


def test_users_come_block_by_block() -> None:
    sizes = [len(set(block.user)) for block in World(small(users=1300, interactions=6500)).blocks()]
    assert sizes == [512, 512, 276]


def test_too_few_interactions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"users x least = 3,000 \(given: 2,000\)"):
        layers.build(SyntheticConfig, SMALL | {"interactions": 2000}, "here")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def put(workspace: Workspace, name: str, **world: object) -> None:
    folder = workspace.home / "configs" / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    settings = ", ".join(f"{key}: {value}" for key, value in (SMALL | world).items())
    protocol = "{name: temporal, first_target: 1}"
    (folder / f"{name}.yaml").write_text(
        f"source: synthetic\nsynthetic: {{{settings}}}\nprotocol: {protocol}\n"
    )


def test_shipped_synthetic_datasets_say_so_in_their_name(workspace: Workspace) -> None:
    configs = {name: dataset_config(name, workspace) for name in dataset_names(workspace)}
    made_up = {name for name, config in configs.items() if config.source == "synthetic"}
    assert made_up == {name for name in configs if is_synthetic(name)}
    assert {"game-synthetic", "synthetic-small"} <= made_up
    game = configs["game-synthetic"].synthetic
    assert (game.items, game.users, game.interactions) == (17_408, 55_223, 497_577)
    assert configs["game-synthetic"].protocol == configs["game"].protocol


def test_no_other_name_is_allowed(workspace: Workspace) -> None:
    put(workspace, "shop")
    with pytest.raises(ConfigError, match="call it such as 'shop-synthetic'"):
        dataset_config("shop", workspace)
    with pytest.raises(ConfigError, match="needs 'synthetic'"):
        layers.build(DatasetConfig, {"source": "synthetic"}, "here")


def test_all_datasets_are_all_that_are_real(workspace: Workspace) -> None:
    def datasets(*names: str) -> set[str]:
        grid = resolve(Selection(datasets=list(names), methods=["none"]), workspace)
        return {name for name, _ in grid.data}

    assert datasets("all") and not any(map(is_synthetic, datasets("all")))
    assert datasets("all", "game-synthetic") == datasets("all") | {"game-synthetic"}


def test_other_settings_make_other_data(workspace: Workspace) -> None:
    def prepare() -> str:
        config = dataset_config("a-synthetic", workspace)
        return store.prepare("a-synthetic", config, config.protocol, workspace).fingerprint

    put(workspace, "a-synthetic")
    first = prepare()
    source = workspace.datasets / "a-synthetic" / "source" / "item.npy"
    made = source.stat().st_mtime_ns
    assert prepare() == first and source.stat().st_mtime_ns == made
    put(workspace, "a-synthetic", seed=5)
    assert prepare() != first
    put(workspace, "a-synthetic")
    assert prepare() == first


def test_a_stand_in_is_offered_by_name_and_never_taken(site, workspace: Workspace) -> None:
    def message(name: str) -> str:
        config = dataset_config(name, workspace)
        gone = {"urls": [f"{site.root}/missing/f.gz"]}
        tables = [
            tables.model_copy(
                update={
                    "interactions": tables.interactions.model_copy(update=gone),
                    "items": None,
                }
            )
            for tables in config.tables
        ]
        config = config.model_copy(update={"tables": tables})
        with pytest.raises(DataError) as caught:
            store.prepare(name, config, config.protocol, workspace)
        assert not (workspace.datasets / name / "source").exists()
        return str(caught.value)

    assert "bench run --dataset game-synthetic" in message("game")
    assert "synthetic" not in message("movielens-1m")
