"""A teacher's knowledge as files in the suite's own layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import __version__
from bench.data.examples import PreparedData
from bench.files import sha256_of
from bench.teachers import files
from bench.teachers.builder import Product
from bench.teachers.manifest import Signal, TeacherManifest, write_manifest


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
