"""The names that files have in a teacher's folder."""

from __future__ import annotations

MANIFEST = "teacher.json"
EMBEDDINGS = "embeddings.safetensors"
RANKINGS = "rankings.npy"
DISTANCES = "distances.npy"
TRUTH_DISTANCE = "truth_distance.npy"
COVERED = "covered.npy"
TRAJECTORIES = "trajectories.npy"
TEST_RANKS = "test_ranks.npy"
GENERATED = "generated.jsonl"
"""What a language model wrote, a JSON string (or null) per training row; nothing reads it."""
BINARY = (EMBEDDINGS, RANKINGS, DISTANCES, TRUTH_DISTANCE, COVERED, TRAJECTORIES)
"""The suite's own layout."""

PUBLISHED_EMBEDDINGS = "all_embeddings.pt"
PUBLISHED_RANKINGS = "myrank_train.txt"
PUBLISHED_DISTANCES = "confidence_train.txt"
PUBLISHED = (PUBLISHED_EMBEDDINGS, PUBLISHED_RANKINGS, PUBLISHED_DISTANCES)
"""DLLM2Rec's layout."""
