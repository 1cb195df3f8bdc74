"""Write a teacher in the layout that DLLM2Rec publishes, for programs that read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import __version__
from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError
from bench.files import sha256_of, writing_to
from bench.folders import created, locked
from bench.teachers import files
from bench.teachers.contract import check
from bench.teachers.manifest import PUBLISHED_NAME, TeacherManifest, write_manifest
from bench.teachers.reading import read_safetensors

Array = NDArray[Any]

ID_FORMAT = "%d"
DISTANCE_FORMAT = "%.9g"
"""Nine digits tell every float32 from its neighbours: reading gives back what was written."""


def export_dllm2rec(
    folder: Path,
    data: PreparedData,
    output: Path,
    id_base: int = 0,
) -> None:
    """Write `all_embeddings.pt`, `myrank_train.txt` and `confidence_train.txt`.

    A `teacher.json` beside them says what DLLM2Rec's program does not read: dataset, fingerprints
    and the base of the ids.

    Args:
        folder: the teacher's folder.
        data: the rows and catalogue it speaks of.
        output: the new folder, whole or absent.
        id_base: what the first item of the catalogue is called; DLLM2Rec counts from 0.

    Raises:
        ConfigError: `output` is there or cannot be written to, or the layout has no place for what
            the teacher says.
        ArtifactError: the teacher breaks the contract.
    """
    output = output.absolute()
    _refuse_existing(output)
    knowledge = _read(folder, data)
    with locked(output):
        _refuse_existing(output)  # by now it may be that of another export
        with created(output) as temporary:
            _write(temporary, knowledge, data, id_base)


@dataclass(frozen=True)
class _Knowledge:
    """What the layout has a place for: [N, D], 1-based [R, K_T] and [R, K_T]."""

    manifest: TeacherManifest
    embeddings: Array
    rankings: Array
    distances: Array


def _refuse_existing(output: Path) -> None:
    with writing_to(output):
        there = output.exists()
    if there:
        raise ConfigError(f"{output} is there already; give the path of a new folder")


def _read(folder: Path, data: PreparedData) -> _Knowledge:
    checked = check(folder, data)
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)
    embeddings, rankings, distances = checked.embeddings, checked.rankings, checked.distances
    if embeddings is None or rankings is None or distances is None:
        offers = ", ".join(checked.manifest.signals)
        raise ConfigError(
            f"{folder} offers {offers}; DLLM2Rec's layout has embeddings, rankings and confidence, "
            "all three"
        )
    if checked.covered is not None and not checked.covered.all():
        silent = int((~checked.covered).sum())
        raise ConfigError(
            f"{folder} says nothing of {silent:,} of {len(checked.covered):,} rows, for which "
            "DLLM2Rec's layout has no place"
        )
    if (folder / files.EMBEDDINGS).is_file():  # in their own precision
        embeddings = read_safetensors(folder / files.EMBEDDINGS, "embeddings")
    return _Knowledge(checked.manifest, embeddings, rankings, distances)


def _write(folder: Path, knowledge: _Knowledge, data: PreparedData, id_base: int) -> None:
    import torch

    embeddings = torch.from_numpy(np.ascontiguousarray(knowledge.embeddings))
    torch.save(embeddings, folder / files.PUBLISHED_EMBEDDINGS)
    lists = knowledge.rankings - 1 + id_base
    np.savetxt(folder / files.PUBLISHED_RANKINGS, lists, fmt=ID_FORMAT)
    np.savetxt(folder / files.PUBLISHED_DISTANCES, knowledge.distances, fmt=DISTANCE_FORMAT)
    manifest = knowledge.manifest.model_copy(
        update={
            "kind": PUBLISHED_NAME,
            "signals": ["embeddings", "rankings", "confidence"],
            "id_base": id_base,
            "members": [],
            "catalogue_fingerprint": data.catalogue_fingerprint,
            "split_fingerprint": data.split_fingerprint,
            "created_by": f"bench {__version__}",
            "files": {name: sha256_of(folder / name) for name in files.PUBLISHED},
        }
    )
    write_manifest(folder, manifest)
