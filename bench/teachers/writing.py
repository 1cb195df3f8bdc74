"""A teacher as files in the suite's own layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench import __version__
from bench.data.examples import PreparedData
from bench.files import sha256_of
from bench.signals import MASKED_TEST_RANKS, SIGNALS, TEST_RANKS, Signal
from bench.teachers.builder import Product
from bench.teachers.manifest import TeacherManifest, write_manifest
from bench.teachers.rules import Array

GENERATED = "generated.jsonl"
"""What a language model wrote, a JSON string (or null) per training example; nothing reads it."""


def write(folder: Path, name: str, kind: str, data: PreparedData, product: Product) -> None:
    """Write arrays and manifest in the suite's own layout.

    Args:
        folder: an empty folder.
        name: the teacher's name.
        kind: of what kind it is.
        data: the examples and catalogue that it is about.
        product: what it offers.
    """
    arrays = product.arrays()
    for signal, array in arrays.items():
        _save(folder / signal.file, signal, array)
    own = {TEST_RANKS: product.test_ranks, MASKED_TEST_RANKS: product.masked_test_ranks}
    ranked = {signal.file: ranks for signal, ranks in own.items() if ranks is not None}
    for file, ranks in ranked.items():
        np.save(folder / file, ranks)
    if product.generated is not None:
        lines = "".join(f"{json.dumps(text)}\n" for text in product.generated)
        (folder / GENERATED).write_text(lines, encoding="utf-8")
    # What no method reads identifies a teacher only where there is nothing else.
    written = [signal.file for signal in arrays] or [TEST_RANKS.file]
    manifest = TeacherManifest(
        name=name,
        kind=kind,
        dataset=data.dataset,
        protocol=data.protocol,
        signals=[signal.name for signal in arrays if signal.name in SIGNALS],
        id_base=1,
        members=product.members,
        recipe=product.recipe,
        notes=product.notes,
        catalogue_fingerprint=data.catalogue_fingerprint,
        split_fingerprint=data.split_fingerprint,
        metrics=product.metrics,
        test_places=product.test_places,
        created_by=f"bench {__version__}",
        files={name: sha256_of(folder / name) for name in written},
        ranks={name: sha256_of(folder / name) for name in ranked if name not in written},
    )
    write_manifest(folder, manifest)


def _save(path: Path, signal: Signal, array: Array) -> None:
    if path.suffix == ".npy":
        np.save(path, array)
        return
    from safetensors.numpy import save_file

    path.touch()  # `save_file` makes a file that its owner alone may read
    mode = path.stat().st_mode
    half = array.dtype == np.float16
    save_file(
        {signal.attribute: np.ascontiguousarray(array, dtype=None if half else signal.dtype)}, path
    )
    path.chmod(mode)
