"""Rows that the suite and RecBole both train on, each from files of its own kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from bench.data import store
from bench.data.config import DatasetConfig, Filters, dataset_config
from bench.data.examples import PreparedData
from bench.data.sources import importing
from bench.paths import Workspace
from bench.training.rows import DeviceRows
from bench.training.windows import Windows

SYNTHETIC = "speed-synthetic"
START = "movielens"
"""A real dataset that comes with RecBole."""

_USER_ROWS = 10
"""Training rows of a synthetic user, on average."""

_RECBOLE_SPLITS: dict[str, dict[str, Any]] = {
    "leave-one-out": {"split": {"LS": "valid_and_test"}, "group_by": "user"},
    "temporal": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"},
}
"""RecBole's `eval_args` for the suite's protocols."""


@dataclass(frozen=True)
class Dataset:
    """Prepared data of a workspace.

    Attributes:
        name: of the dataset.
        home: the workspace's folder.
    """

    name: str
    home: str

    @property
    def workspace(self) -> Workspace:
        return Workspace(Path(self.home))

    @property
    def config(self) -> DatasetConfig:
        return dataset_config(self.name, self.workspace)

    def load(self) -> PreparedData:
        """The prepared rows, memory-mapped."""
        return store.load(self.name, self.config.protocol.slug, self.workspace)

    def prepare(self) -> Dataset:
        """Make the rows, if they are not there."""
        config = self.config
        store.prepare(self.name, config, config.protocol, self.workspace)
        return self

    def for_recbole(self, folder: Path) -> dict[str, Any]:
        """Write the same interactions as RecBole's atomic files.

        Returns:
            RecBole's settings that make rows of them as the suite's protocol does.

        Raises:
            click.ClickException: RecBole would make other rows: the interactions have no time, the
                protocol is none of RecBole's, or something is filtered or no target.
        """
        config = self.config
        data = store.source(self.name, config, self.workspace)
        split = _RECBOLE_SPLITS.get(config.protocol.name)
        by_time = config.protocol.name == "temporal"
        if split is None or (by_time and data.time is None):
            raise click.ClickException(
                f"dataset {self.name} has no times, or a protocol that RecBole does not have: "
                f"{', '.join(_RECBOLE_SPLITS)} are what it has"
            )
        if config.filters_under(config.protocol) != Filters() or config.protocol.first_target > 1:
            raise click.ClickException(
                f"dataset {self.name} has filters, or does not begin with a user's second "
                "interaction: RecBole would train on other rows; movielens can be compared"
            )
        # Places in the order of time: RecBole keeps times as float32, where seconds would tie.
        # Interactions without times stand in their order, user after user.
        place = np.arange(len(data))
        if data.time is not None:
            place[np.argsort(data.time, kind="stable")] = np.arange(len(data))
        home = folder / self.name
        home.mkdir(parents=True)
        columns = np.stack([data.user, data.item, place], axis=1)
        head = "user_id:token\titem_id:token\ttimestamp:float"
        np.savetxt(home / f"{self.name}.inter", columns, "%d", "\t", header=head, comments="")
        items = np.arange(len(data.item_tokens))
        np.savetxt(home / f"{self.name}.item", items, "%d", header="item_id:token", comments="")
        return {
            "dataset": self.name,
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
            "MAX_ITEM_LIST_LENGTH": config.protocol.history,
            "eval_args": {**split, "order": "TO", "mode": "full"},
        }

    def windows(self, file: Path) -> Path:
        """Write what RecTools trains on and is judged by, for `benchmarks/rectools_model.py`.

        `windows` int64 [W, L + 1] are the sequences in which the rows of training follow one
        another, `histories` [V, L] and `target` [V] those of validation; 0 pads on the right.
        """
        data = self.load()
        rows = DeviceRows.of(data.train, torch.device("cpu"))
        size = rows.history.shape[1]
        cut = Windows(rows, None, size)
        last = cut.row_id[cut.first]
        windows = torch.zeros(len(last), size + 1, dtype=torch.int64)
        windows[:, :size] = rows.history[last]
        windows.scatter_(1, rows.length[last].unsqueeze(1), rows.target[last].unsqueeze(1))
        valid = data.valid
        np.savez(file, windows=windows.numpy(), histories=valid.history, target=valid.target)
        return file


def synthetic(items: int, rows: int, home: Path) -> Dataset:
    """Made-up data under leave-one-out: `rows` training rows, a tenth as many of test."""
    users = max(1, rows // _USER_ROWS)
    folder = home / "configs" / "datasets"
    folder.mkdir(parents=True)
    # A user's first item is no target, and the last two are those of valid and test.
    (folder / f"{SYNTHETIC}.yaml").write_text(
        "summary: synthetic\nsource: synthetic\n"
        f"synthetic: {{users: {users}, items: {items}, interactions: {rows + 3 * users}}}\n"
        "protocol: {name: leave-one-out, history: 10}\n",
        encoding="utf-8",
    )
    return Dataset(SYNTHETIC, str(home)).prepare()


def prepared(name: str) -> Dataset:
    """A dataset of the current workspace, prepared now if it is not."""
    return Dataset(name, str(Workspace.current().home)).prepare()


def imported(name: str, folder: Path, home: Path) -> Dataset:
    """The interactions of a folder of tables (docs/adding-a-dataset.md) under leave-one-out.

    Labels of a split, where there are some, are left out: RecBole would make other rows of them.
    """
    data = replace(importing.read(importing.tables_at(folder)), split=None)
    workspace = Workspace(home)
    importing.store(name, data, workspace, protocol="leave-one-out")
    return Dataset(name, str(home)).prepare()
