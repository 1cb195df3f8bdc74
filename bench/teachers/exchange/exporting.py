"""Write a teacher in the layout that DLLM2Rec publishes, for programs that read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import __version__
from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.files import sha256_of, writing_to
from bench.folders import created, locked
from bench.signals import PUBLISHED, PUBLISHED_SIGNALS, Signal
from bench.teachers.contract import check
from bench.teachers.manifest import PUBLISHED_NAME, TeacherManifest, write_manifest
from bench.teachers.reading import read_array
from bench.teachers.rules import Array

ID_FORMAT = "%d"
VALUE_FORMAT = "%.9g"
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
        data: the examples and catalogue that it is about.
        output: the new folder, whole or absent.
        id_base: what the first item of the catalogue is called; DLLM2Rec counts from 0.

    Raises:
        ConfigError: `output` is there or cannot be written to, or the layout has no place for what
            the teacher offers.
        ArtifactError: the teacher breaks the contract.
    """
    output = output.absolute()
    _check_absent(output)
    manifest, arrays = _read(folder, data)
    with locked(output):
        _check_absent(output)  # by now it may be that of another export
        with created(output) as temporary:
            _write(temporary, manifest, arrays, data, id_base)
            check(temporary, data).or_raise(output)  # as whoever imports it will read it


def _check_absent(output: Path) -> None:
    with writing_to(output):
        there = output.exists()
    if there:
        raise ConfigError(f"{output} is there already; give the path of a new folder")


def _read(folder: Path, data: PreparedData) -> tuple[TeacherManifest, dict[Signal, Array]]:
    """The manifest and the arrays that the layout has a place for, ids counted from 1."""
    checked = check(folder, data).or_raise(folder)
    arrays = {signal: array for signal, array in checked.arrays().items() if signal.published}
    if len(arrays) < len(PUBLISHED):
        offers = ", ".join(checked.manifest.signals)
        *most, last = PUBLISHED_SIGNALS
        raise ConfigError(
            f"{folder} offers {offers}; DLLM2Rec's layout has {', '.join(most)} and {last}, "
            "all three"
        )
    if checked.covered is not None and not checked.covered.all():
        uncovered = int((~checked.covered).sum())
        raise ConfigError(
            f"{folder} does not cover {uncovered:,} of {len(checked.covered):,} examples, for "
            "which DLLM2Rec's layout has no place"
        )
    for signal in arrays:
        if signal.index == "items" and (folder / signal.file).is_file():  # in its own precision
            arrays[signal] = read_array(folder / signal.file, signal.holds, signal.attribute)
    return checked.manifest, arrays


def _write(
    folder: Path,
    manifest: TeacherManifest,
    arrays: dict[Signal, Array],
    data: PreparedData,
    id_base: int,
) -> None:
    import torch

    for signal, array in arrays.items():
        path = folder / str(signal.published)
        if path.suffix == ".pt":
            torch.save(torch.from_numpy(np.ascontiguousarray(array)), path)
        elif signal.holds_ids:
            np.savetxt(path, array - 1 + id_base, fmt=ID_FORMAT)
        else:
            np.savetxt(path, array, fmt=VALUE_FORMAT)
    changes = {
        "kind": PUBLISHED_NAME,
        "signals": PUBLISHED_SIGNALS,
        "id_base": id_base,
        "members": [],
        "catalogue_fingerprint": data.catalogue_fingerprint,
        "split_fingerprint": data.split_fingerprint,
        "created_by": f"bench {__version__}",
        "files": {name: sha256_of(folder / name) for name in PUBLISHED},
    }
    write_manifest(folder, manifest.model_copy(update=changes))
