"""Build a teacher's folder, once, whole or not at all."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from bench.data.examples import PreparedData
from bench.folders import locked, replaced
from bench.paths import Workspace
from bench.teachers.builder import resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.recipe import check_recipe
from bench.teachers.registry import KINDS
from bench.teachers.writing import write

_logger = logging.getLogger(__name__)


def ensure_teacher(
    name: str,
    config: TeacherConfig,
    data: PreparedData,
    workspace: Workspace,
    folder: Path,
    *,
    rebuild: bool = False,
    device: str = "cpu",
) -> None:
    """Build a teacher into `folder` unless it is there.

    Processes that want the same teacher wait for the first one and take its result.

    Args:
        name: the teacher's name.
        config: its kind and options.
        data: the examples and catalogue that it is about.
        workspace: whose files the options may name, and whose `tocf/.cache` keeps encoded texts.
        folder: the teacher's folder, which appears complete or not at all.
        rebuild: replace what is there.
        device: name of the torch device to compute on.

    Raises:
        ConfigError: a wrong option, an unknown kind, a teacher in `folder` that was built
            otherwise (see `check_recipe`), or a place that cannot be written to.
    """
    where = f"teacher '{name}'"
    builder = KINDS.load(config.kind)
    options = resolved_options(config, data.dataset, workspace, f"{where} options")
    with locked(folder):
        if folder.is_dir() and not rebuild:
            check_recipe(folder, config.kind, options, data)
            return
        _logger.info(f"building {where} for {data.dataset} ({data.protocol})")
        product = builder.build(options, data, workspace.teacher_cache, device)
        recipe = {"options": options.model_dump(mode="json"), **product.recipe}
        with replaced(folder) as temporary:
            write(temporary, name, config.kind, data, replace(product, recipe=recipe))
    quality = product.metrics.get("test", {}).get("ndcg@20")
    own = "is not known" if quality is None else f"is {quality:.4f}"
    _logger.info(f"{where} is in {folder}: its own test NDCG@20 {own}")
