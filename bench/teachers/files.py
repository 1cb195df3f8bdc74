"""The names that files have in a teacher's folder, and their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

MANIFEST = "teacher.json"
EMBEDDINGS = "embeddings.safetensors"
RANKINGS = "rankings.npy"
DISTANCES = "distances.npy"
TRUTH_DISTANCE = "truth_distance.npy"
COVERED = "covered.npy"
TRAJECTORIES = "trajectories.npy"
TEST_RANKS = "test_ranks.npy"
BINARY = (EMBEDDINGS, RANKINGS, DISTANCES, TRUTH_DISTANCE, COVERED, TRAJECTORIES)
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
