"""Where interactions come from when nothing was imported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bench.data.config import DatasetConfig
from bench.data.prepare.interactions import ORDER, Interactions
from bench.errors import DataError
from bench.paths import Workspace

_logger = logging.getLogger(__name__)


def is_outdated(config: DatasetConfig, about: Mapping[str, Any]) -> bool:
    """Whether stored interactions are not what their source would give today.

    Args:
        config: of the dataset.
        about: what is kept with them (`interactions.SOURCE_FILE`).
    """
    if about.get("order") != ORDER:
        return True
    if about["origin"].startswith("download"):
        return bool(about.get("file_order")) != config.file_order
    return config.synthetic is not None and about["origin"] != config.synthetic.origin


def fetch(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    """Read or download the interactions of a dataset.

    Raises:
        DataError: they cannot be had; the message says what to do instead.
    """
    return SOURCES[config.source](name, config, workspace)


def _movielens(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    from bench.data.sources.movielens import read_movielens

    return read_movielens()


def _download(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    from bench.data.sources.public import read_public

    return read_public(name, config, workspace.datasets / name / "downloads")


def _synthetic(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    from bench.data.sources.synthetic import read_synthetic

    if config.synthetic is None:
        raise ValueError(f"{name}: a synthetic dataset without settings")
    _logger.info(f"{name}: drawing {config.synthetic.interactions:,} interactions")
    return read_synthetic(config.synthetic)


def _import(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    raise DataError(
        f"dataset '{name}' has no interactions yet, or in an older order: "
        f"run 'bench data import {name} PATH'"
    )


SOURCES: Mapping[str, Callable[[str, DatasetConfig, Workspace], Interactions]] = {
    "movielens-100k": _movielens,
    "download": _download,
    "synthetic": _synthetic,
    "import": _import,
}
"""What makes the interactions of a dataset, by the `source` of its configuration."""
