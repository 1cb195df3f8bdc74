"""Files that are whole or absent, and the names they have in a teacher's folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "teacher.json"
EMBEDDINGS = "embeddings.safetensors"
RANKINGS = "rankings.npy"
DISTANCES = "distances.npy"
TRUTH_DISTANCE = "truth_distance.npy"
COVERED = "covered.npy"
TEST_RANKS = "test_ranks.npy"
BINARY = (EMBEDDINGS, RANKINGS, DISTANCES, TRUTH_DISTANCE, COVERED)
"""The suite's own layout."""

PUBLISHED_EMBEDDINGS = "all_embeddings.pt"
PUBLISHED_RANKINGS = "myrank_train.txt"
PUBLISHED_DISTANCES = "confidence_train.txt"
PUBLISHED = (PUBLISHED_EMBEDDINGS, PUBLISHED_RANKINGS, PUBLISHED_DISTANCES)
"""DLLM2Rec's layout."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to; it takes the place of `path` if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
