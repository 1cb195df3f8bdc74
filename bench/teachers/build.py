"""Build a teacher's folder, once, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from bench import __version__
from bench.config import layers
from bench.data.fingerprints import digest
from bench.data.rows import PreparedData
from bench.errors import ConfigError
from bench.files import sha256_of
from bench.paths import Workspace
from bench.registry import Registry
from bench.teachers import files
from bench.teachers.config import TeacherConfig
from bench.teachers.manifest import (
    Signal,
    TeacherManifest,
    read_manifest,
    teacher_folder,
    write_manifest,
)

Progress = Callable[[str], None]

TEXTS = "item_texts"
"""Key in the recipe of a kind that reads item texts: their hash (`texts_hash`)."""


@dataclass(frozen=True)
class Product:
    """What a builder makes.

    Attributes:
        metrics: the teacher's own metrics under the students' protocol, by split.
        test_ranks: int32 [R_test], rank of every test target over the catalogue, or None.
        recipe: how it was made: the resolved options and what became of them.
        embeddings: float32 or float16 [N, D], row i - 1 is item i.
        rankings: int32 [R, K_T], ids 1..N, best first, one row per training row.
        distances: float32 [R, K_T], non-decreasing along a row.
        truth_distance: float32 [R], distance to the row's own target.
        covered: bool [R], False where the rows above are filler; None covers every row.
        trajectories: int32 [M, C, R, K_T], ids 1..N, best first, of M models at C states of their
            training.
        generated: what a language model wrote for each of the R rows; None where it is silent.
        members: names of the M models.
        notes: what a reader of a leaderboard must know.
    """

    metrics: dict[str, dict[str, float]]
    test_ranks: NDArray[np.int32] | None
    recipe: dict[str, Any]
    embeddings: NDArray[np.float32] | NDArray[np.float16] | None = None
    rankings: NDArray[np.int32] | None = None
    distances: NDArray[np.float32] | None = None
    truth_distance: NDArray[np.float32] | None = None
    covered: NDArray[np.bool_] | None = None
    trajectories: NDArray[np.int32] | None = None
    generated: list[str | None] | None = None
    members: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Builder(Protocol):
    """A kind of teacher: typed options, and a function of options and data.

    A kind whose options take up what other files say has a second static method,
    `complete(options, dataset, workspace)`, that fills it in: what is built is then identified
    by all that it was built from.
    """

    Options: ClassVar[type[BaseModel]]

    @staticmethod
    def build(
        options: Any, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> Product:
        """Make the knowledge; training rows are the only ones that may be learned from.

        Args:
            options: an instance of `Options`.
            data: rows and catalogue.
            cache: folder for what can be computed again and is costly.
            device: name of the torch device to compute on.
            progress: takes one line of text at a time.
        """


KINDS: Registry[type[Builder]] = Registry("teacher kind")
KINDS.register("text", "bench.teachers.kinds.text:TextTeacher")
KINDS.register("learn", "bench.teachers.kinds.learn:LearnTeacher")
KINDS.register("raw-text", "bench.teachers.kinds.raw_text:RawTextTeacher")
KINDS.register("ensemble", "bench.teachers.kinds.ensemble:EnsembleTeacher")
KINDS.register("bigrec", "bench.teachers.kinds.bigrec:BigRecTeacher")
KINDS.register("delrec", "bench.teachers.kinds.delrec:DelrecTeacher")
KINDS.register("mix", "bench.teachers.kinds.mix:MixTeacher")
KINDS.register("planted", "bench.teachers.kinds.planted:PlantedTeacher")


def texts_hash(data: PreparedData) -> str:
    """Hash of the item texts: a kind that reads them writes it in its recipe as `TEXTS`."""
    return digest(list(data.item_texts))


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
    builder, asked = KINDS.get(config.kind), config.options_for(dataset)
    complete = getattr(builder, "complete", None)
    if complete is not None:
        asked = complete(asked, dataset, workspace)
    return layers.build(builder.Options, asked, where)


def build_teacher(
    name: str,
    config: TeacherConfig | Mapping[str, Any],
    data: PreparedData,
    workspace: Workspace,
    folder: Path,
    progress: Progress,
    rebuild: bool = False,
    device: str = "cpu",
) -> Path:
    """Build the teacher into `folder` unless it is there.

    Processes that want the same teacher wait for the first one and take its result.

    Args:
        name: the teacher's name.
        config: a `TeacherConfig`, or a mapping of that shape (`configs/teachers/*.yaml`).
        data: the rows and catalogue to speak of.
        workspace: whose `tocf/.cache` keeps encoded texts.
        folder: the teacher's folder, which appears complete or not at all.
        progress: takes one line of text at a time.
        rebuild: replace what is there.
        device: name of the torch device to compute on.

    Returns:
        `folder`.

    Raises:
        ConfigError: a wrong option, an unknown kind, or a teacher in `folder` that was built with
            other options or from other item texts.
    """
    where = f"teacher '{name}'"
    if not isinstance(config, TeacherConfig):
        config = layers.build(TeacherConfig, config, where)
    builder = KINDS.get(config.kind)
    options = resolved_options(config, data.dataset, workspace, f"{where} options")
    with locked(folder, progress):
        if folder.is_dir() and not rebuild:
            _refuse_other_recipe(folder, config.kind, options, data)
            return folder
        progress(f"building {where} for {data.dataset} ({data.protocol})")
        product = builder.build(options, data, workspace.tocf / ".cache", device, progress)
        recipe = {"options": options.model_dump(mode="json"), **product.recipe}
        with replaced(folder) as temporary:
            write(temporary, name, config.kind, data, replace(product, recipe=recipe))
    test = product.metrics.get("test", {})
    progress(f"{where} is in {folder}: its own test NDCG@20 is {test.get('ndcg@20', 0):.4f}")
    return folder


def ensure_teacher(
    name: str,
    config: TeacherConfig | Mapping[str, Any],
    data: PreparedData,
    workspace: Workspace,
    progress: Progress,
    default_slug: str | None = None,
    rebuild: bool = False,
    device: str = "cpu",
) -> Path:
    """The folder of a teacher in the workspace, built if it is missing (see `build_teacher`).

    Args:
        name: the teacher's name.
        config: a `TeacherConfig`, or a mapping of that shape.
        data: the rows and catalogue to speak of.
        workspace: whose `tocf/` folder holds the teacher.
        progress: takes one line of text at a time.
        default_slug: slug of the dataset's default protocol; None if the data follow it.
        rebuild: replace what is there.
        device: name of the torch device to compute on.
    """
    slug = data.protocol
    folder = teacher_folder(workspace, data.dataset, name, slug, default_slug or slug)
    return build_teacher(name, config, data, workspace, folder, progress, rebuild, device)


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` if all went well; for `locked` ones."""
    _remove_leftovers(folder)  # of a killed process
    temporary = folder.with_name(f".{folder.name}.building-{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.is_dir():
            folder.replace(folder.with_name(f"{temporary.name}-old"))
        temporary.replace(folder)
    finally:
        _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.parent.glob(f".{folder.name}.building-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _refuse_other_recipe(folder: Path, kind: str, options: BaseModel, data: PreparedData) -> None:
    manifest = read_manifest(folder)
    built = _by_path(_with_defaults(manifest.recipe.get("options", {}), type(options)))
    asked = _by_path(options.model_dump(mode="json"))
    if manifest.kind == kind and built != asked:
        differ = ", ".join(
            f"{key} is {built.get(key)} there and {asked.get(key)} here"
            for key in sorted(built.keys() | asked.keys())
            if built.get(key) != asked.get(key)
        )
        raise ConfigError(
            f"{folder} was built with other options ({differ}); replace it with "
            f"`bench teacher build --force`, or give the variant a name of its own in "
            "configs/teachers/"
        )
    if manifest.recipe.get(TEXTS) not in (None, texts_hash(data)):
        raise ConfigError(
            f"{folder} was built from other item texts than those that {data.dataset} has now; "
            "replace it with `bench teacher build --force`"
        )


def _with_defaults(built: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Options of a teacher that is there; what they did not know yet has its default."""
    try:
        return kind.model_validate(built).model_dump(mode="json")
    except ValidationError:
        return built


def _by_path(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested options by their dotted key; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, Mapping) and value
        flat |= _by_path(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def write(folder: Path, name: str, kind: str, data: PreparedData, product: Product) -> None:
    """Write arrays and manifest in the suite's own layout.

    Args:
        folder: an empty folder.
        name: the teacher's name.
        kind: of what kind it is.
        data: the rows and catalogue it speaks of.
        product: what it says.
    """
    from safetensors.numpy import save_file

    signals: list[Signal] = []
    if product.embeddings is not None:
        half = product.embeddings.dtype == np.float16
        table = np.ascontiguousarray(product.embeddings, dtype=None if half else np.float32)
        save_file({"embeddings": table}, folder / files.EMBEDDINGS)
        signals.append("embeddings")
    arrays: list[tuple[str, Signal, NDArray[Any] | None]] = [
        (files.RANKINGS, "rankings", product.rankings),
        (files.DISTANCES, "confidence", product.distances),
        (files.TRUTH_DISTANCE, "truth-distance", product.truth_distance),
        (files.TRAJECTORIES, "trajectories", product.trajectories),
    ]
    for file, signal, array in arrays:
        if array is not None:
            np.save(folder / file, array)
            signals.append(signal)
    if product.covered is not None:
        np.save(folder / files.COVERED, product.covered)
    if product.test_ranks is not None:
        np.save(folder / files.TEST_RANKS, product.test_ranks)
    if product.generated is not None:
        lines = "".join(f"{json.dumps(text)}\n" for text in product.generated)
        (folder / files.GENERATED).write_text(lines, encoding="utf-8")
    manifest = TeacherManifest(
        name=name,
        kind=kind,
        dataset=data.dataset,
        protocol=data.protocol,
        signals=signals,
        id_base=1,
        members=product.members,
        recipe=product.recipe,
        notes=product.notes,
        catalogue_fingerprint=data.catalogue_fingerprint,
        split_fingerprint=data.split_fingerprint,
        metrics=product.metrics,
        created_by=f"bench {__version__}",
        files={
            file: sha256_of(folder / file) for file in files.BINARY if (folder / file).is_file()
        },
    )
    write_manifest(folder, manifest)


@contextlib.contextmanager
def locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of a teacher's folder; another process that holds it is waited for."""
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress(f"another process is building {folder}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
