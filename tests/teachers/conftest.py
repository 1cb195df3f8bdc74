"""A small dataset with a planted order (item i leads to item i + 1), and folders of teachers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.errors import ArtifactError
from bench.paths import Workspace
from bench.teachers.build import ensure_teacher
from bench.teachers.config import TeacherConfig
from bench.teachers.knowledge import load_knowledge

from .language.tiny import make_causal, make_encoder_decoder

N_ITEMS, N_ROWS, LENGTH = 30, 240, 4
K, WIDTH = 5, 6


def _make_rows(n: int, seed: int, users: int = 20) -> Examples:
    """Rows whose target follows the last item: item i leads to i + 1 (and N to 1)."""
    random = np.random.default_rng(seed)
    length = random.integers(1, LENGTH + 1, n)
    history = random.integers(1, N_ITEMS + 1, (n, LENGTH))
    history[np.arange(LENGTH) >= length[:, None]] = 0
    last = history[np.arange(n), length - 1]
    return Examples(
        history=history.astype(np.int32),
        length=length.astype(np.int32),
        target=(last % N_ITEMS + 1).astype(np.int32),
        user=(np.arange(n) % users).astype(np.int32),
        ordinal=(np.arange(n) // users + LENGTH).astype(np.int32),
    )


def _make_data(**changes: object) -> PreparedData:
    fields = {
        "dataset": "toy",
        "protocol": "temporal-4",
        "item_tokens": [f"i{index}" for index in range(N_ITEMS)],
        "item_texts": [f"Thing number {index}" for index in range(N_ITEMS)],
        "user_tokens": [f"u{index}" for index in range(20)],
        "train": _make_rows(N_ROWS, 0),
        "valid": _make_rows(60, 1),
        "test": _make_rows(60, 2),
        "catalogue_fingerprint": "catalogue-a",
        "split_fingerprint": "split-a",
        "fingerprint": "data-a",
    }
    return PreparedData(**{**fields, **changes})


@pytest.fixture
def data() -> PreparedData:
    return _make_data()


@pytest.fixture
def make_data() -> Callable[..., PreparedData]:
    """The same data with some fields changed."""
    return _make_data


@pytest.fixture
def make_rows() -> Callable[..., Examples]:
    """Rows of the planted order: how many, which seed, of how many users."""
    return _make_rows


@pytest.fixture(scope="session")
def toy() -> PreparedData:
    """The data once for many tests, which leave them as they are."""
    return _make_data()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer encoder with random weights and a vocabulary of letters."""
    pytest.importorskip("transformers", reason="needs the extra 'text'")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    (folder / "vocab.txt").write_text("\n".join(words))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        )
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def ensure(tmp_path: Path) -> Callable[..., Path]:
    """Build a teacher as its YAML would say it into the test's workspace; returns its folder."""

    def ensured(
        name: str,
        raw: dict[str, Any],
        data: PreparedData,
        **how: Any,
    ) -> Path:
        workspace = Workspace(tmp_path)
        config = layers.build(TeacherConfig, raw, name)
        folder = workspace.tocf / data.dataset / name
        ensure_teacher(name, config, data, workspace, folder, **how)
        return folder

    return ensured


PROMPTS = (
    "### Instruction : Input Response Here is a list of what user has played watched liked "
    "before . the next new item game movie title yes no candidate candidates answer , \" ' / ? !"
)
"""Words that prompts may use, for tokenizers that know words only."""


@pytest.fixture(scope="session")
def tiny_causal(toy: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LLaMA with random weights that knows the words of the toy titles."""
    pytest.importorskip("transformers", reason="needs the extra 'llm'")
    return make_causal(tmp_path_factory.mktemp("causal"), [PROMPTS, *toy.item_texts])


@pytest.fixture(scope="session")
def tiny_encoder_decoder(toy: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny T5 with random weights that knows the words of the toy titles."""
    pytest.importorskip("transformers", reason="needs the extra 'llm'")
    return make_encoder_decoder(tmp_path_factory.mktemp("t5"), [PROMPTS, *toy.item_texts])


class Folder:
    """A teacher's folder that tests spoil piece by piece.

    Attributes:
        ids: 1-based lists [R, K]; `distances`, `embeddings` and `truth` go with them.
    """

    def __init__(self, path: Path) -> None:
        random = np.random.default_rng(3)
        self.path = path
        self.ids = np.argsort(random.random((N_ROWS, N_ITEMS)), axis=1)[:, :K] + 1
        self.distances = np.sort(random.random((N_ROWS, K)) * 9, axis=1).astype(np.float32)
        self.embeddings = random.normal(size=(N_ITEMS, WIDTH)).astype(np.float32)
        self.truth = random.random(N_ROWS).astype(np.float32)

    def published(self, dtype: torch.dtype = torch.float32, base: int = 0) -> Path:
        """Write DLLM2Rec's three files."""
        self.path.mkdir(parents=True, exist_ok=True)
        torch.save(torch.from_numpy(self.embeddings).to(dtype), self.path / "all_embeddings.pt")
        np.savetxt(self.path / "myrank_train.txt", self.ids - 1 + base)
        np.savetxt(self.path / "confidence_train.txt", self.distances)
        return self.path

    def binary(self, **manifest: object) -> Path:
        """Write the suite's own layout, 1-based."""
        from safetensors.numpy import save_file

        self.path.mkdir(parents=True, exist_ok=True)
        save_file({"embeddings": self.embeddings}, self.path / "embeddings.safetensors")
        np.save(self.path / "rankings.npy", self.ids.astype(np.int32))
        np.save(self.path / "distances.npy", self.distances)
        np.save(self.path / "truth_distance.npy", self.truth)
        self.declare(
            **{
                "signals": ["embeddings", "rankings", "confidence", "truth-distance"],
                "id_base": 1,
                **manifest,
            }
        )
        return self.path

    def ensemble(self, lists: np.ndarray, **manifest: object) -> Path:
        """Write a teacher that has trajectories [M, C, R, K] and nothing else."""
        self.path.mkdir(parents=True, exist_ok=True)
        np.save(self.path / "trajectories.npy", lists)
        self.declare(**{"signals": ["trajectories"], "members": ["a", "b"], **manifest})
        return self.path

    def declare(self, **manifest: object) -> None:
        """Write `teacher.json`."""
        content = {"name": "t", "dataset": "toy", **manifest}
        (self.path / "teacher.json").write_text(json.dumps(content))

    @staticmethod
    def refusal(path: Path, data: PreparedData) -> list[str]:
        """The problems for which the folder is refused."""
        with pytest.raises(ArtifactError) as caught:
            load_knowledge(path, data)
        assert str(path) in str(caught.value)
        return caught.value.problems

    def only_problem(self, path: Path, data: PreparedData) -> str:
        """The one problem for which the folder is refused."""
        problems = self.refusal(path, data)
        assert len(problems) == 1, problems
        return problems[0]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "tocf" / "toy" / "t")


@pytest.fixture
def lists() -> np.ndarray:
    """Lists of two models at three states."""
    random = np.random.default_rng(5).random((2, 3, N_ROWS, N_ITEMS))
    return random.argsort(axis=3)[:, :, :, :K].astype(np.int32) + np.int32(1)
