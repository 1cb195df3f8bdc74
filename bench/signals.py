"""What a teacher can offer: one table of signals, and the class that holds their arrays.

Writing, reading, checking, moving to a device, controls and imports of teachers are loops over this
table: a new signal is a new field of `Signals`. It stands on the ground floor, beside the registry
and the interface of methods, and imports neither torch nor numpy.

Sizes: R training examples, T test examples, N items (ids 1..N), K items of a list, D dimensions, M
models at C states of their training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Generic, Literal, TypeVar, get_type_hints

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from bench.errors import UnknownNameError

A = TypeVar("A")
"""NumPy arrays where a teacher is made or read, tensors where a method learns from it."""

Holds = Literal["numbers", "floats", "integers", "bool"]


@dataclass(frozen=True)
class Signal:
    """An array in a teacher's folder, and what every teacher's must be like.

    Floats are finite; lists of ids name no item twice. A mapped array is used as it lies on the
    disk: its ids count from 1, and hold for examples that are not covered as well.

    Attributes:
        name: what methods need and manifests list.
        file: its name in the folder, `.npy` or `.safetensors`.
        shape: its sizes, by the symbols above.
        dtype: what methods get.
        holds: what the file may hold.
        words: what messages call it, a plural; empty: its file.
        published: the file with the same content in DLLM2Rec's layout.
        aliases: names of files by which an import knows it too.
        holds_ids: whether its values are ids of items.
        ascending: whether values grow along a list.
        non_negative: whether values are at least 0.
        lists: the signal of the items that its values belong to, one by one.
        of_target: whether it tells of an example's own target.
        mapped: whether it may be larger than the memory.
        attribute: of `Signals`.
    """

    name: str
    file: str
    shape: str
    dtype: str
    holds: Holds = "numbers"
    words: str = ""
    published: str | None = None
    aliases: tuple[str, ...] = ()
    holds_ids: bool = False
    ascending: bool = False
    non_negative: bool = False
    lists: str | None = None
    of_target: bool = False
    mapped: bool = False
    attribute: str = ""

    @property
    def index(self) -> Literal["examples", "items"]:
        """What its named axis counts."""
        return "items" if self.shape.startswith("N") else "examples"

    @property
    def axis(self) -> int:
        """Place of the axis that counts items or training examples."""
        return self.shape.split().index("N" if self.index == "items" else "R")

    @property
    def has_base(self) -> bool:
        """Whether its ids count from the manifest's `id_base`."""
        return self.holds_ids and not self.mapped

    @property
    def has(self) -> str:
        """Start of a message about its shape."""
        return f"{self.words} have" if self.words else f"{self.file} has"

    @property
    def hold(self) -> str:
        """Start of a message about its values."""
        return f"{self.words} hold" if self.words else f"{self.file} holds"


@dataclass(frozen=True, kw_only=True)
class Signals(Generic[A]):
    """The arrays of a teacher; None for what it does not offer.

    Attributes:
        embeddings: float32 [N, D], vectors of the items. A method gets [N + 1, D], where row i is
            item i and row 0 is zero.
        rankings: int64 [R, K], the teacher's list for every training example, best first, ids 1..N.
        distances: float32 [R, K], non-decreasing along a list; smaller is surer.
        truth_distance: float32 [R], distance between what the teacher generated for an example and
            the example's own target.
        trajectories: int32 [M, C, R, K], lists of M models at C states of their training, the last
            one converged; best first, ids 1..N. Memory-mapped where the device is the CPU: gather
            examples, never copy the whole.
        histories: float32 [R, D], the teacher's vector of an example's history.
        covered: bool [R], False where the teacher offers nothing for an example, and the arrays
            above hold filler.
    """

    embeddings: Annotated[
        A | None,
        Signal(
            "embeddings",
            "embeddings.safetensors",
            "N D",
            "float32",
            holds="floats",
            words="the embeddings",
            published="all_embeddings.pt",
            aliases=("item_embeddings",),
        ),
    ] = None
    rankings: Annotated[
        A | None,
        Signal(
            "rankings",
            "rankings.npy",
            "R K",
            "int64",
            words="the ranked lists",
            published="myrank_train.txt",
            holds_ids=True,
        ),
    ] = None
    distances: Annotated[
        A | None,
        Signal(
            "confidence",
            "distances.npy",
            "R K",
            "float32",
            words="the distances",
            published="confidence_train.txt",
            lists="rankings",
            ascending=True,
            non_negative=True,
        ),
    ] = None
    truth_distance: Annotated[
        A | None,
        Signal(
            "truth-distance",
            "truth_distance.npy",
            "R",
            "float32",
            of_target=True,
            non_negative=True,
        ),
    ] = None
    trajectories: Annotated[
        A | None,
        Signal(
            "trajectories",
            "trajectories.npy",
            "M C R K",
            "int32",
            holds_ids=True,
            mapped=True,
        ),
    ] = None
    histories: Annotated[
        A | None, Signal("histories", "histories.npy", "R D", "float32", holds="floats")
    ] = None
    covered: Annotated[A | None, Signal("covered", "covered.npy", "R", "bool", holds="bool")] = None

    def arrays(self) -> dict[Signal, A]:
        """The arrays that are there, the mask of covered examples among them."""
        values = {signal: getattr(self, signal.attribute) for signal in ARRAYS}
        return {signal: value for signal, value in values.items() if value is not None}


ARRAYS: tuple[Signal, ...] = tuple(
    replace(kind.__metadata__[0], attribute=attribute)
    for attribute, kind in get_type_hints(Signals, include_extras=True).items()
)
"""The table, in the order of the fields."""

COVERED = next(signal for signal in ARRAYS if signal.name == "covered")
"""The mask, which goes with the signals of examples."""

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in ARRAYS if signal is not COVERED}
"""What a teacher can offer and a method need."""


def _known(name: str) -> str:
    if name not in SIGNALS:
        error = str(UnknownNameError("signal", name, SIGNALS))
        raise PydanticCustomError("signal", "{error}", {"error": error})
    return name


SignalName = Annotated[str, AfterValidator(_known)]
"""A name of `SIGNALS`, for pydantic."""

TEST_RANKS = Signal("test-ranks", "test_ranks.npy", "T", "int32", holds="integers")
"""Ranks of the test targets, 1..N, which reports read and no method does."""

MASKED_TEST_RANKS = replace(TEST_RANKS, name="masked-test-ranks", file="masked_test_ranks.npy")
"""The same with the items left out that users had before."""

BINARY = tuple(signal.file for signal in ARRAYS)
"""Files of the suite's own layout."""

PUBLISHED = tuple(signal.published for signal in ARRAYS if signal.published)
"""Files of DLLM2Rec's layout."""

PUBLISHED_SIGNALS = [signal.name for signal in ARRAYS if signal.published]

CONTROLS: dict[str, set[str]] = {
    "shuffled": set(SIGNALS),
    "shuffled-rows": {name for name, one in SIGNALS.items() if one.index == "examples"},
    "shuffled-items": {
        name for name, one in SIGNALS.items() if one.index == "items" or one.holds_ids
    },
    "popularity": set(SIGNALS),
    "oracle": {name for name, one in SIGNALS.items() if one.holds_ids or one.of_target},
}
"""What can be generated from a teacher (`bench.teachers.controls`), and the signals it changes."""
