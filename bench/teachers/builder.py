"""What a kind of teacher is: typed options, and a function that makes a product of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bench import layers
from bench.data.examples import PreparedData
from bench.paths import Workspace
from bench.signals import Signals
from bench.teachers.config import TeacherConfig
from bench.teachers.registry import KINDS


@dataclass(frozen=True, kw_only=True)
class Product(Signals[NDArray[Any]]):
    """What a builder makes: the arrays that `Signals` describes, and what is known of them.

    Embeddings may be float16, ids are int32. Without a mask every example is covered.

    Attributes:
        metrics: the teacher's own metrics under the students' protocol, by split.
        test_ranks: int32 [R_test], rank of every test target over the catalogue, or None.
        test_places: K, where the test ranks are those of lists that end there: a target behind
            them has the last rank; None where they are of the whole catalogue.
        masked_test_ranks: the same with the items left out that the user had before, or None.
        recipe: how it was made: the resolved options and what became of them.
        generated: what a language model wrote for each of the R examples; None where nothing.
        members: names of the M models of the trajectories.
        notes: what a reader of a leaderboard must know.
    """

    metrics: dict[str, dict[str, float]]
    test_ranks: NDArray[np.int32] | None
    recipe: dict[str, Any]
    masked_test_ranks: NDArray[np.int32] | None = None
    generated: list[str | None] | None = None
    members: list[str] = field(default_factory=list)
    test_places: int | None = None
    notes: list[str] = field(default_factory=list)


class Builder:
    """Base of every kind of teacher: typed options, and a function of options and data.

    Two abilities are methods that are there. `complete` fills in what options take from other
    files: what is built is then identified by all that it was built from. `members`, with the
    arguments of `build`, returns trained recommenders (`recommenders.members.Member`), which a
    `mix` asks for.
    """

    Options: ClassVar[type[BaseModel]]
    name: ClassVar[str]
    """Of the kind; set by `register_teacher`."""

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """The options with what they take from other files; here as they are."""
        return options

    @staticmethod
    def build(options: Any, data: PreparedData, cache: Path, device: str) -> Product:
        """Make the knowledge; training examples are the only ones that may be learned from.

        Args:
            options: an instance of `Options`.
            data: examples and catalogue.
            cache: folder for what can be computed again and is costly.
            device: name of the torch device to compute on.
        """
        raise NotImplementedError


def resolved_options(
    config: TeacherConfig, dataset: str, workspace: Workspace, where: str
) -> BaseModel:
    """The options of a kind for one dataset, with all that they take from other files.

    Args:
        config: kind and options.
        dataset: name of the dataset.
        workspace: whose files the options may name.
        where: what the options are called in messages.

    Raises:
        ConfigError: a wrong option, an unknown kind.
    """
    builder = KINDS.load(config.kind)
    options = builder.complete(config.options_for(dataset), dataset, workspace)
    return layers.build(builder.Options, options, where)
