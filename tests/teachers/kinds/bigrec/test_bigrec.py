"""The language model learns from training rows alone, and its lists are what it wrote."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from bench import layers
from bench.cli.main import main
from bench.data.examples import Examples, PreparedData
from bench.errors import ConfigError, DataError
from bench.evaluation.metrics import metrics_from_ranks
from bench.paths import Workspace
from bench.teachers.builder import Product, resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.contract import check
from bench.teachers.kinds.bigrec.instructions import PROMPT
from bench.teachers.kinds.bigrec.teacher import GAMMAS, BigRecOptions, BigRecTeacher
from bench.teachers.knowledge import load_knowledge
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.language.resume import SHARDS
from bench.teachers.manifest import read_manifest
from bench.teachers.registry import KINDS
from bench.teachers.rows import hold_out
from bench.teachers.weights import find

from ....listening import listening
from ...language.tiny import make_causal
from .killing import assert_same_bytes, is_tuning, is_writing, kill_when

pytest.importorskip("peft", reason="needs the extra 'llm'")

ANIMALS = ["ape", "bat", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay", "koi"]
TITLES = [f"{animal} tale" for animal in (*ANIMALS, "jay")]
"""Items 10 and 12 share one title."""
N, LENGTH = len(TITLES), 2

TUNING = {
    "rank": 16,
    "alpha": 32,
    "dropout": 0.0,
    "modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "learning_rate": 0.005,
    "warm_up_steps": 5,
    "batch_size": 16,
    "micro_batch_size": 16,
    "epochs": 20,
    "patience": 20,
    "rows": None,
    "whole_text": False,
}
OPTIONS = {
    "dtype": "float32",
    "words": {"item": "book", "done": "read"},
    "tuning": TUNING,
    "generation": {"beams": 2, "max_new_tokens": 6, "batch_size": 32},
    "list_length": 8,
}


def planted(n: int, seed: int, users: int = 20) -> Examples:
    """Rows whose target is a function of the last item: i leads to i + 1 (and N to 1)."""
    random = np.random.default_rng(seed)
    length = random.integers(1, LENGTH + 1, n)
    history = random.integers(1, N + 1, (n, LENGTH))
    history[np.arange(LENGTH) >= length[:, None]] = 0
    last = history[np.arange(n), length - 1]
    columns = (history, length, last % N + 1, np.arange(n) % users, np.arange(n) // users)
    return Examples(*(column.astype(np.int32) for column in columns))


@pytest.fixture(scope="module")
def books() -> PreparedData:
    return PreparedData(
        dataset="books",
        protocol="temporal-2",
        item_tokens=[f"i{item:02}" for item in range(N)],
        item_texts=TITLES,
        user_tokens=[f"u{user}" for user in range(20)],
        train=planted(200, 0),
        valid=planted(40, 1),
        test=planted(40, 2),
        catalogue_fingerprint="catalogue",
        split_fingerprint="split",
        fingerprint="data",
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with random weights that knows the words of the prompts."""
    folder = tmp_path_factory.mktemp("bigrec") / "model"
    return make_causal(folder, [PROMPT, 'book read ", "', *TITLES])


@pytest.fixture(scope="module")
def language(model: Path) -> LanguageModel:
    return load(find(str(model), Path()), CAUSAL, "cpu", "float32")


def options_of(model: Path, changes: dict[str, Any] | None = None) -> BigRecOptions:
    raw = layers.merge({"model": str(model)}, OPTIONS, changes or {})
    return BigRecOptions.model_validate(raw)


def built(
    data: PreparedData, model: Path, cache: Path, changes: dict[str, Any] | None = None
) -> Product:
    return BigRecTeacher.build(options_of(model, changes), data, cache, "cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests that share the tuned model."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def product(books: PreparedData, model: Path, cache: Path) -> Product:
    return built(books, model, cache)


@torch.no_grad()
def points_of(language: LanguageModel, texts: list[str]) -> np.ndarray:
    """Last hidden states of the last tokens, one text at a time: [n, D]."""
    found = []
    for text in texts:
        tokens = torch.tensor([language.tokenizer(text)["input_ids"]])
        states = language.model(input_ids=tokens, output_hidden_states=True).hidden_states
        found.append(states[-1][0, -1].double().numpy())
    return np.asarray(found)


# -- what it learns --------------------------------------------------------------------------------


def test_tuning_teaches_a_planted_rule(
    product: Product, books: PreparedData, model: Path, cache: Path
) -> None:
    untuned = built(books, model, cache, {"tuning": {"epochs": 0}})
    assert product.metrics["test"]["hr@1"] > untuned.metrics["test"]["hr@1"] + 0.5
    assert product.metrics["test"]["ndcg@5"] > untuned.metrics["test"]["ndcg@5"] + 0.4
    assert product.recipe["share_of_texts_that_are_titles"] > 0.95
    assert untuned.recipe["share_of_texts_that_are_titles"] < 0.05
    np.testing.assert_array_equal(product.embeddings, untuned.embeddings)
    course = product.recipe["tuning"]
    assert course["rows_learned_from"] + course["rows_held_out"] == len(books.train)


class Forbidden:
    """Rows that must not be looked at."""

    def __len__(self) -> int:
        return self.__getattr__("len")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"'{name}' of held-out rows was read in training")


def test_validation_and_test_rows_are_not_read_in_training(
    books: PreparedData, model: Path, tmp_path: Path
) -> None:
    data = replace(books, valid=Forbidden(), test=Forbidden())  # type: ignore[arg-type]
    options = options_of(model, {"tuning": {"epochs": 1}, "popularity": "held-out"})
    seen: list[str] = []
    # Its own metrics do read them.
    with pytest.raises(AssertionError, match="held-out"), listening(seen.append):
        BigRecTeacher.build(options, data, tmp_path, "cpu")
    assert any("titles for training rows: 200 of 200" in line for line in seen)
    assert any("titles for held-out rows" in line for line in seen)


def test_other_validation_and_test_rows_make_the_same_knowledge(
    books: PreparedData, model: Path, product: Product, cache: Path
) -> None:
    other = built(replace(books, valid=books.test, test=books.valid), model, cache)
    np.testing.assert_array_equal(other.rankings, product.rankings)
    np.testing.assert_array_equal(other.distances, product.distances)
    assert other.generated == product.generated
    assert other.recipe["tuning"] == product.recipe["tuning"]
    assert other.metrics["valid"] == product.metrics["test"]


def test_rows_that_are_held_out_are_not_learned_from(
    books: PreparedData, model: Path, product: Product, tmp_path: Path
) -> None:
    """With one epoch the adapters cannot depend on what the epoch is chosen by."""
    learn, held_out = hold_out(books.train, 0.05, 0)
    spoiled = np.isin(
        books.train.user * 1000 + books.train.ordinal, held_out.user * 1000 + held_out.ordinal
    )
    assert len(learn) + spoiled.sum() == len(books.train)
    target = np.where(spoiled, books.train.target % N + 1, books.train.target).astype(np.int32)
    other = replace(books, train=replace(books.train, target=target))
    once = {"tuning": {"epochs": 1, "learning_rate": 1e-3}}
    for name, data in (("a", books), ("b", other)):
        built(data, model, tmp_path / name, {**once, "rows": 1, "evaluation_rows": 1})
    first, second = (next((tmp_path / name).glob("adapter-*/adapter")) for name in ("a", "b"))
    file = "adapter_model.safetensors"
    assert (first / file).read_bytes() == (second / file).read_bytes()
    assert first.parent.name != second.parent.name


def test_every_text_is_a_title_where_the_catalogue_leads(
    books: PreparedData, model: Path, product: Product, cache: Path
) -> None:
    led = built(
        books, model, cache, {"generation": {"decode": "catalogue", "max_new_tokens": None}}
    )
    assert led.recipe["share_of_texts_that_are_titles"] == 1.0
    assert set(led.generated or []) <= set(TITLES)
    assert np.asarray(led.distances)[:, 0].max() == 0
    assert led.metrics["test"]["hr@1"] > product.metrics["test"]["hr@1"] - 0.1


# -- grounding -------------------------------------------------------------------------------------


def test_lists_are_the_titles_closest_to_what_was_written(
    product: Product, books: PreparedData, language: LanguageModel
) -> None:
    points = points_of(language, TITLES)
    assert product.embeddings is not None and product.embeddings.dtype == np.float32
    np.testing.assert_allclose(product.embeddings, points, rtol=1e-4, atol=1e-4)
    assert product.generated is not None and product.rankings is not None
    assert product.distances is not None and product.truth_distance is not None
    assert product.covered is None and product.rankings.shape == (200, 8)
    texts = [text for text in product.generated if text is not None]
    assert len(texts) == 200
    table = np.linalg.norm(points_of(language, texts)[:, None] - points, axis=2)
    target = books.train.target - 1
    np.testing.assert_allclose(
        product.truth_distance, table[np.arange(200), target], rtol=1e-4, atol=1e-4
    )
    counts = books.target_counts()[1:]
    for row in range(200):
        order = sorted(range(N), key=lambda item: (round(table[row, item], 4), -counts[item], item))
        assert (product.rankings[row] - 1).tolist() == order[:8]
        np.testing.assert_allclose(product.distances[row], table[row, order[:8]], atol=1e-4)


def test_both_items_of_one_title_are_one_place_apart(product: Product) -> None:
    rankings, distances = product.rankings, product.distances
    assert rankings is not None and distances is not None
    rows = np.flatnonzero((rankings == 10).any(1) & (rankings == 12).any(1))
    assert len(rows) > 100
    for row in rows:
        first, second = (rankings[row].tolist().index(item) for item in (10, 12))
        assert abs(first - second) == 1 and distances[row, first] == distances[row, second]


def ranks_by_hand(
    texts: list[str],
    rows: Examples,
    language: LanguageModel,
    discounts: list[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Ranks of the targets by brute force; items of the target's title count as the target."""
    points = points_of(language, TITLES)
    tables = [np.linalg.norm(one - points, axis=1).round(4) for one in points_of(language, texts)]
    several = []
    for discount in discounts or [None]:
        ranks = []
        for plain, target in zip(tables, rows.target.tolist(), strict=True):
            found = plain
            if discount is not None:
                found = (plain - plain.min()) / (plain.max() - plain.min()) * discount
            own = np.asarray([title == TITLES[target - 1] for title in TITLES])
            ranks.append(1 + int((found[~own] <= found[own].min()).sum()))
        several.append(np.asarray(ranks))
    return several


def test_own_metrics_are_those_of_full_ranking(
    product: Product, books: PreparedData, model: Path, language: LanguageModel, cache: Path
) -> None:
    again = built(replace(books, valid=books.train), model, cache)
    texts = [text for text in product.generated or [] if text is not None]
    (expected,) = ranks_by_hand(texts, books.train, language)
    assert again.metrics["valid"] == pytest.approx(metrics_from_ranks(expected))
    assert product.test_ranks is not None
    assert product.metrics["test"] == metrics_from_ranks(product.test_ranks)


def test_popularity_is_chosen_on_rows_held_out(
    product: Product, books: PreparedData, model: Path, language: LanguageModel, cache: Path
) -> None:
    # Rows whose target is item 5, whatever was read, make popularity worth something.
    target = np.where(np.arange(200) % 2 == 0, 5, books.train.target).astype(np.int32)
    data = replace(books, train=replace(books.train, target=target))
    untuned = {"tuning": {"epochs": 0}}
    plain = built(data, model, cache, untuned)
    found = built(data, model, cache, {**untuned, "popularity": "held-out"})
    learn, held_out = hold_out(data.train, 0.05, 0)
    keys = {(u, o): row for row, (u, o) in enumerate(zip(*keys_of(data.train), strict=True))}
    texts = [
        str((plain.generated or [])[keys[key]]) for key in zip(*keys_of(held_out), strict=True)
    ]
    counts = np.bincount(learn.target, minlength=N + 1)[1:]
    popularity = (counts - counts.min()) / (counts.max() - counts.min())
    discounts = [(1 + popularity) ** -gamma for gamma in GAMMAS[1:]]
    ranks = ranks_by_hand(texts, held_out, language)
    ranks += ranks_by_hand(texts, held_out, language, discounts)
    values = [metrics_from_ranks(one)["ndcg@20"] for one in ranks]
    told = found.recipe["held_out_ndcg@20_and_popularity"]
    assert told["without"] == pytest.approx(values[0], abs=1e-4)
    assert told["with"] == pytest.approx(max(values), abs=1e-4)
    assert found.recipe["gamma"] == GAMMAS[int(np.argmax(values))] > 0
    assert found.generated == plain.generated

    given = built(data, model, cache, {**untuned, "popularity": found.recipe["gamma"]})
    np.testing.assert_array_equal(given.rankings, found.rankings)
    np.testing.assert_array_equal(given.truth_distance, plain.truth_distance)
    assert "popularity" in found.recipe["distance"]
    assert (found.rankings == 5)[:, :3].mean() > (plain.rankings == 5)[:, :3].mean()  # type: ignore[index,union-attr]


def keys_of(rows: Examples) -> tuple[list[int], list[int]]:
    return rows.user.tolist(), rows.ordinal.tolist()


# -- samples ---------------------------------------------------------------------------------------


def test_a_sample_of_rows(
    product: Product,
    books: PreparedData,
    model: Path,
    cache: Path,
    ensure: Callable[..., Path],
    tmp_path: Path,
) -> None:
    raw = {
        "kind": "bigrec",
        "options": layers.merge(
            {"model": str(model)}, OPTIONS, {"rows": 50, "evaluation_rows": 15}
        ),
    }
    (tmp_path / "tocf").mkdir()
    (tmp_path / "tocf" / ".cache").symlink_to(cache)
    folder = ensure("some", raw, books)
    knowledge = load_knowledge(folder, books)
    assert knowledge.covered is not None and knowledge.rankings is not None
    covered = knowledge.covered.numpy()
    assert covered.sum() == 50
    np.testing.assert_array_equal(
        knowledge.rankings.numpy()[covered], np.asarray(product.rankings)[covered]
    )
    lines = [json.loads(line) for line in (folder / "generated.jsonl").read_text().splitlines()]
    whole = product.generated or []
    assert lines == [text if one else None for text, one in zip(whole, covered, strict=True)]

    manifest = read_manifest(folder)
    assert set(manifest.signals) == KINDS.get("bigrec").signals
    assert not (folder / "test_ranks.npy").exists()
    assert manifest.recipe["rows_evaluated"] == {"valid": 15, "test": 15}
    for split, metrics in manifest.metrics.items():
        for name, (low, high) in manifest.recipe["intervals"][split].items():
            assert low <= metrics[name] <= high
    assert any("sample of 50 of 200 rows" in note for note in manifest.notes)
    assert any("15 of 40 valid, 15 of 40 test" in note for note in manifest.notes)
    assert check(folder, books).problems == []


def test_histories_are_the_vectors_of_what_was_written(
    books: PreparedData, model: Path, cache: Path, product: Product
) -> None:
    assert product.histories is None
    both = built(books, model, cache, {"histories": True, "rows": 50})
    covered = np.asarray(both.covered)
    histories, items = np.asarray(both.histories), np.asarray(both.embeddings)
    assert histories.shape == (len(books.train), items.shape[1])
    assert not histories[~covered].any()
    listed = items[np.asarray(both.rankings)[covered] - 1]
    distances = np.linalg.norm(histories[covered, None] - listed, axis=2)
    np.testing.assert_allclose(distances, np.asarray(both.distances)[covered], atol=1e-4)


def test_a_sample_to_learn_from(books: PreparedData, model: Path, tmp_path: Path) -> None:
    few = {"tuning": {"rows": 40, "epochs": 1}, "held_out_rows": 3}
    course = built(books, model, tmp_path, {**few, "rows": 9, "evaluation_rows": 9}).recipe[
        "tuning"
    ]
    assert (course["rows_learned_from"], course["rows_held_out"]) == (40, 3)


# -- the command line, and what a killed build leaves ----------------------------------------------


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def done(*arguments: str) -> Result:
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def workspace(tmp_path: Path, model: Path) -> Workspace:
    """A workspace with a dataset `books`, a teacher `writer` and a student `tiny`."""
    tables = tmp_path / "tables"
    tables.mkdir()
    lines = ["user_id\titem_id\ttimestamp"]
    for user in range(12):
        lines += [f"u{user}\ti{(user + step) % N:02}\t{step * 100 + user}" for step in range(14)]
    (tables / "interactions.tsv").write_text("\n".join(lines) + "\n")
    items = [f"i{item:02}\t{title}" for item, title in enumerate(TITLES)]
    (tables / "items.tsv").write_text("\n".join(["item_id\ttitle", *items]) + "\n")
    done("data", "import", "shelf", str(tables))
    changes = {"tuning": {"epochs": 4}, "generation": {"batch_size": 4}}
    config = {"kind": "bigrec", "options": options_of(model, changes).model_dump(mode="json")}
    for kind, name, content in (
        ("teachers", "writer", config),
        ("students", "tiny", {"model": "SASRec", "parameters": STUDENT, "training": TRAINING}),
    ):
        folder = tmp_path / "configs" / kind
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    return Workspace(tmp_path)


STUDENT = {"hidden_size": 8, "inner_size": 16, "n_layers": 1, "n_heads": 1}
TRAINING = {"max_epochs": 1, "min_epochs": 1, "batch_size": 64, "learning_rate": 0.01}
BUILD = ("teacher", "build", "--dataset", "shelf", "--teacher", "writer", "--device", "cpu")


def test_a_killed_build_goes_on_where_it_was_and_a_student_learns_from_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_when(BUILD, workspace, is_tuning)
    assert not any(workspace.tocf.glob(".cache/adapter-*/adapter"))
    kill_when(BUILD, workspace, is_writing)
    (shard,) = workspace.tocf.glob(f".cache/titles-*/{SHARDS}")
    folder, left = workspace.tocf / "shelf" / "writer", shard.read_bytes()
    before = batches_of_whole_lines(left)
    assert not folder.exists()

    told = done(*BUILD).stderr
    assert f"titles for training rows: {4 * len(before)} of" in told
    assert "tuning on" not in told  # the adapters are those of the killed process
    assert shard.read_bytes() == left
    (second,) = set(shard.parent.glob(SHARDS)) - {shard}
    after = batches_of_whole_lines(second.read_bytes())
    rows = [row for batch in before + after for row in batch]
    assert sorted(rows) == list(range(len(np.load(folder / "rankings.npy")))) and len(before) < len(
        after
    )

    fresh = tmp_path / "fresh"
    shutil.copytree(workspace.home / "configs", fresh / "configs")
    shutil.copytree(workspace.datasets, fresh / "datasets")
    monkeypatch.setenv("BENCH_HOME", str(fresh))
    done(*BUILD)
    uninterrupted = Workspace(fresh).tocf / "shelf" / "writer"
    assert_same_bytes(folder, uninterrupted)

    asked = ("--dataset", "shelf", "--teacher", "writer")
    found = json.loads(done("teacher", "check", *asked, "--format", "json").stdout)
    assert found["coverage"] == 1.0 and len(found["signals"]) == 4
    done("run", "--method", "dllm2rec", "--student", "tiny", "--seeds", "0", *asked)
    listed = done("list", "results").stdout
    assert "dllm2rec" in listed and "writer" in listed


def batches_of_whole_lines(content: bytes) -> list[list[int]]:
    return [json.loads(line)["rows"] for line in content.split(b"\n")[:-1]]


# -- options ---------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_paper() -> None:
    raw = layers.read("teachers", "bigrec", Workspace(Path("nowhere")))
    config = layers.build(TeacherConfig, raw, "bigrec")
    options = resolved_options(config, "movielens", Workspace(Path("nowhere")), "options")
    assert isinstance(options, BigRecOptions)
    tuning, generation = options.tuning, options.generation
    assert (tuning.rank, tuning.alpha, tuning.dropout) == (8, 16, 0.05)
    assert (tuning.modules, tuning.learning_rate) == (("q_proj", "v_proj"), 1e-4)
    assert (tuning.batch_size, tuning.micro_batch_size, tuning.rows) == (128, 4, 1024)
    assert (tuning.epochs, tuning.patience, options.held_out_rows) == (50, 5, 5000)
    assert (options.prompt_tokens, options.list_length, options.popularity) == (512, 100, 0)
    assert (generation.beams, generation.decode, generation.max_new_tokens) == (4, "free", None)
    assert options.words.item == "movie" and options.title_end == ". Genres: "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "/no/such/model"}, "'/no/such/model': no such folder"),
        ({"tuning": {"modules": ["query"]}}, "has no layers called query"),
        ({"generation": {"vllm": {}}}, "vLLM is not installed"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_tuned(
    changes: dict[str, Any],
    message: str,
    books: PreparedData,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.teachers.kinds.bigrec.generation.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        built(books, model, tmp_path, changes)
    assert not list(tmp_path.glob("*/adapter"))


def test_without_peft(
    books: PreparedData, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"the packages of the extra 'llm' \(peft\)"):
        built(books, model, tmp_path)


def test_a_dataset_without_titles(books: PreparedData, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the items of 'books' have no texts"):
        built(replace(books, item_texts=[""] * N), model, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "'model' is missing"),
        ({"model": "m", "dtype": "int8"}, "'dtype'"),
        ({"model": "m", "popularity": "valid"}, "popularity"),
        ({"model": "m", "popularity": -1.0}, "popularity"),
        ({"model": "m", "tuning": {"modules": []}}, "tuning.modules"),
        ({"model": "m", "tuning": {"ranks": 8}}, "tuning.ranks"),
        ({"model": "m", "generation": {"beams": 0}}, "generation.beams"),
        ({"model": "m", "words": {"noun": "game"}}, "words.noun"),
        ({"model": "m", "held_out": 0.7}, "'held_out'"),
        ({"model": "m", "row": 5}, "Did you mean 'rows'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    config = TeacherConfig(kind="bigrec", options=options)
    with pytest.raises(ConfigError, match=message):
        resolved_options(config, "books", Workspace(Path("nowhere")), "options")
