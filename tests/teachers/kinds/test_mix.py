"""A mix says what its parts say together, with the shares that validation rows choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.baselines.interface import Baseline
from bench.baselines.item_knn import ItemKNN
from bench.baselines.markov import MarkovChain
from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.evaluation.metrics import metrics_from_ranks
from bench.paths import Workspace
from bench.teachers.builder import Product, resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.kinds.ensemble import EnsembleOptions, EnsembleTeacher
from bench.teachers.kinds.mix import MixTeacher, mixed_lists, ranks_of, simplex
from bench.teachers.kinds.text import TextOptions, TextTeacher
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest
from bench.teachers.recommenders.members import BaselineMember
from bench.teachers.registry import KINDS

from ...listening import listening

TEXTS = [" ".join("abcdefgh"[(i * step) % 8] for step in (1, 2, 3)[: 1 + i % 3]) for i in range(30)]
SASREC = {
    "parameters": {"n_layers": 1, "n_heads": 2, "hidden_size": 16, "inner_size": 16},
    "training": {"batch_size": 32, "learning_rate": 0.01},
}


@pytest.fixture
def raw(tiny_encoder: Path) -> dict[str, Any]:
    small = {"width": 16, "heads": 2, "feed_forward": 16, "batch_size": 32, "epochs": 2}
    counting = {"members": {"item-knn": {"model": "ItemKNN"}, "markov": {"model": "MarkovChain"}}}
    return {
        "steps": 4,
        "list_length": 8,
        "parts": {
            "text": {"options": {**small, "encoder": str(tiny_encoder)}},
            "sasrec": {
                "kind": "ensemble",
                "options": {"max_epochs": 2, "members": {"sasrec": SASREC}},
            },
            "counting": {"kind": "ensemble", "options": counting},
        },
    }


def resolved(raw: dict[str, Any], workspace: Workspace) -> Any:
    return resolved_options(TeacherConfig(kind="mix", options=raw), "toy", workspace, "options")


@pytest.fixture
def data(make_data: Callable[..., PreparedData]) -> PreparedData:
    return make_data(item_texts=TEXTS)


@pytest.fixture
def parts(data: PreparedData) -> list[list[Any]]:
    """Two parts, one of two members, that need no training."""

    def member(name: str, baseline: Baseline) -> BaselineMember:
        return BaselineMember(name, baseline.fit(data.train, data.n_items))

    sharp = member("sharp", MarkovChain(MarkovChain.Config(popularity=0.9)))
    return [[member("ItemKNN", ItemKNN()), sharp], [member("MarkovChain", MarkovChain())]]


def expected_scores(parts: list[list[Any]], shares: tuple[float, ...], rows: Any) -> np.ndarray:
    """Weighted mean of the log-probabilities [R, N], in float64."""
    total = np.zeros((len(rows), 30))
    for members, share in zip(parts, shares, strict=True):
        for member in members:
            told = member.baseline.scores(rows.history, rows.length).astype(np.float64)
            told -= np.log(np.exp(told).sum(1, keepdims=True))
            total += share * told / len(members)
    return total


def test_shares_are_all_that_sum_to_one() -> None:
    assert list(simplex(2, 2)) == [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    many = list(simplex(3, 10))
    assert len(many) == len(set(many)) == 66  # 12 choose 2
    assert all(sum(shares) == pytest.approx(1) and min(shares) >= 0 for shares in many)
    assert set(simplex(3, 1)) <= set(many)


def test_ranks_under_shares(parts: list[list[Any]], data: PreparedData) -> None:
    tried = list(simplex(2, 4))
    own = data.test.target[:, None].astype(np.int64) - 1
    for shares, ranks in zip(tried, ranks_of(parts, data.test, tried, "cpu"), strict=True):
        scores = expected_scores(parts, shares, data.test)
        wanted = (scores >= np.take_along_axis(scores, own, 1) - 1e-9).sum(1)
        assert (np.abs(ranks.ranked - wanted) <= 1).all()  # near ties round


@pytest.mark.parametrize("shares", [(0.25, 0.75), (0.0, 1.0)])
def test_lists_under_shares(
    shares: tuple[float, ...], parts: list[list[Any]], data: PreparedData
) -> None:
    rows = data.train
    rows.target[:5] = rows.history[:5, 0]  # targets that were consumed before
    lists = mixed_lists(parts, shares, rows, 40, "cpu")
    scores = expected_scores(parts, shares, rows)
    assert lists.ids.shape == lists.distances.shape == (len(rows), 26)
    assert (np.diff(lists.distances, axis=1) >= 0).all() and (lists.distances >= 0).all()
    for row in range(len(rows)):
        seen = set(rows.history[row].tolist()) - {0, int(rows.target[row])}
        left = sorted(-scores[row, item - 1] for item in range(1, 31) if item not in seen)
        np.testing.assert_allclose(lists.distances[row], left[:26], rtol=1e-4)
        own = -scores[row][lists.ids[row] - 1]
        np.testing.assert_allclose(own, lists.distances[row], rtol=1e-4)
        assert not seen & set(lists.ids[row].tolist())
        assert lists.truth[row] == pytest.approx(-scores[row, rows.target[row] - 1], rel=1e-4)


def test_the_whole(
    raw: dict[str, Any], data: PreparedData, ensure: Callable[..., Path], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    folder = ensure("mix", {"kind": "mix", "options": raw}, data)
    manifest, knowledge = read_manifest(folder), load_knowledge(folder, data)
    assert set(manifest.signals) == KINDS.get("mix").signals
    values = manifest.recipe["validation_ndcg@20_by_shares"]
    shares = manifest.recipe["shares"]
    assert len(values) == 15 and list(shares) == ["text", "sasrec", "counting"]
    assert values[" ".join(f"{share:g}" for share in shares.values())] == max(values.values())
    assert max(values.values()) == pytest.approx(manifest.metrics["valid"]["ndcg@20"], abs=1e-5)
    told = manifest.recipe["parts"]
    for place, name in enumerate(shares):
        key = " ".join("1" if place == other else "0" for other in range(3))
        assert told[name]["metrics"]["valid"]["ndcg@20"] == pytest.approx(values[key], abs=1e-5)
    ranks = np.load(folder / "test_ranks.npy")
    assert metrics_from_ranks(ranks) == manifest.metrics["test"]
    assert "in-sample" in manifest.notes[0]

    # The embeddings and the own metrics of a part are those of that teacher alone.
    options = resolved(raw, workspace)
    text = TextOptions.model_validate(options.parts["text"].options)
    alone: Product = TextTeacher.build(text, data, tmp_path / "tocf" / ".cache", "cpu")
    assert knowledge.embeddings is not None
    np.testing.assert_array_equal(knowledge.embeddings[1:].numpy(), alone.embeddings)
    for split in ("valid", "test"):
        assert told["text"]["metrics"][split]["ndcg@20"] == alone.metrics[split]["ndcg@20"]
    sasrec = EnsembleOptions.model_validate(options.parts["sasrec"].options)
    other = EnsembleTeacher.build(sasrec, data, tmp_path, "cpu")
    assert told["sasrec"]["metrics"]["test"]["hr@20"] == other.metrics["test"]["hr@20"]


class Forbidden:
    """Rows that must not be looked at."""

    def __len__(self) -> int:
        return self.__getattr__("len")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"'{name}' of test rows was read")


def test_shares_are_chosen_without_test_rows(
    raw: dict[str, Any], make_data: Callable[..., PreparedData], tmp_path: Path
) -> None:
    lines: list[str] = []
    data = make_data(item_texts=TEXTS, test=Forbidden())
    # The own metrics do read them.
    with pytest.raises(AssertionError, match="of test rows was read"), listening(lines.append):
        MixTeacher.build(resolved(raw, Workspace(tmp_path)), data, tmp_path, "cpu")
    assert lines[-1].startswith("shares of text, sasrec, counting: ")


def test_options_come_from_the_teachers_of_these_names(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "teachers"
    folder.mkdir(parents=True)
    (folder / "text.yaml").write_text(
        "kind: text\noptions: {epochs: 5}\ndatasets:\n  toy: {dropout: 0.4}\n"
    )
    parts = {"text": {"options": {"width": 64}}, "ensemble": {}}
    options = resolved({"parts": parts}, Workspace(tmp_path))
    text, ensemble = options.parts["text"], options.parts["ensemble"]
    assert (text.kind, text.options["epochs"], text.options["dropout"]) == ("text", 5, 0.4)
    assert text.options["width"] == 64
    assert ensemble.kind == "ensemble" and len(ensemble.options["members"]) == 6
    assert ensemble.options["members"]["sasrec"]["model"] == "SASRec"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": {"text": {}}}, "'parts'"),
        ({"parts": {"text": {}, "other": {}}}, "part 'other' of the mix: key 'kind' is missing"),
        ({"parts": {"text": {}, "raw-text": {}}}, "'raw-text' cannot be mixed; .*ensemble"),
        ({"parts": {"text": {"options": {"epoch": 1}}, "learn": {}}}, "Did you mean 'epochs'"),
        ({"parts": {"learn": {}, "ensemble": {}}}, r"'embeddings' \(text\) must be one of learn, "),
        ({"embeddings": "ensemble", "parts": {"text": {}, "ensemble": {}}}, "has no item vectors"),
        ({"parts": {"text": {}, "learn": 3}}, "'parts.learn'"),
        ({"part": {}}, "Did you mean 'parts'"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(changes, Workspace(tmp_path))
