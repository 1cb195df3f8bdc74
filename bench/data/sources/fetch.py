"""Where interactions come from when nothing was imported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
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
    return config.synthetic is not None and about["origin"] != config.synthetic.origin


def fetch(name: str, config: DatasetConfig, workspace: Workspace) -> Interactions:
    """Read or download the interactions of a dataset.

    Raises:
        DataError: they cannot be had; the message says what to do instead.
    """
    if config.source == "movielens-100k":
        from bench.data.sources.movielens import read_movielens

        return read_movielens()
    if config.source == "download":
        from bench.data.sources.public import read_public

        return read_public(name, config, workspace.datasets / name / "downloads")
    if config.synthetic is not None:
        from bench.data.sources.synthetic import read_synthetic

        _logger.info(f"{name}: drawing {config.synthetic.interactions:,} interactions")
        return read_synthetic(config.synthetic)
    raise DataError(
        f"dataset '{name}' has no interactions yet, or in an older order: "
        f"run 'bench data import {name} PATH'"
    )
