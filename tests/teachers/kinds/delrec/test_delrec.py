"""DELRec from the command line: both stages, lists, a student, and a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.data import store
from bench.data.config import dataset_config
from bench.data.examples import PreparedData
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.signals import BINARY, TEST_RANKS
from bench.teachers.builder import resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.contract import check
from bench.teachers.kinds.delrec.options import DelrecOptions
from bench.teachers.kinds.delrec.teacher import DelrecTeacher
from bench.teachers.kinds.delrec.teaching import teach
from bench.teachers.language.loading import ENCODER_DECODER, load
from bench.teachers.language.resume import SHARDS
from bench.teachers.manifest import MANIFEST
from bench.teachers.registry import KINDS
from bench.teachers.weights import find

from ....listening import listening
from ...language.tiny import make_encoder_decoder
from . import colours

pytest.importorskip("peft", reason="needs the extra 'llm'")

SASREC = {
    "model": "SASRec",
    "parameters": {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1},
    "training": {"max_epochs": 2, "batch_size": 64, "learning_rate": 0.01},
}
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "conventional": {"sasrec": SASREC},
    "soft_prompts": 3,
    "candidates": 5,
    "batch_size": 4,
    "at_once": 4,
    "looked_at": 6,
    "patterns": {"steps": 4, "looks": 2, "recommended": 3, "example_items": 2},
    "ranking": {"steps": 4, "looks": 2, "rank": 4, "target_rank": 2},
    "list_candidates": 8,
    "list_length": 6,
}
CPU = ("--device", "cpu", "--threads", "1")
ASKED = ("--dataset", "toy", "--teacher", "tiny-delrec")


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def done(*arguments: str) -> Result:
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    return result


def prepare(home: Path, model: Path) -> Workspace:
    """A workspace with a dataset `toy`, the teacher `tiny-delrec` and the student `tiny`."""
    tables = home / "tables"
    tables.mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = ["user_id\titem_id\ttimestamp"]
    for user in range(16):
        times = np.sort(random.integers(0, 10**6, 12))
        lines += [f"u{user}\ti{random.integers(colours.N_ITEMS):02}\t{time}" for time in times]
    (tables / "interactions.tsv").write_text("\n".join(lines) + "\n")
    titles = [f"i{item:02}\t{title}" for item, title in enumerate(colours.TITLES)]
    (tables / "items.tsv").write_text("\n".join(["item_id\ttitle", *titles]) + "\n")
    for kind, name, content in (
        ("teachers", "tiny-delrec", {"kind": "delrec", "options": OPTIONS | {"model": str(model)}}),
        ("students", "tiny", SASREC | {"training": SASREC["training"] | {"min_epochs": 1}}),
    ):
        folder = home / "configs" / kind
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    return Workspace(home)


def prepared(workspace: Workspace) -> PreparedData:
    config = dataset_config("toy", workspace)
    return store.prepare("toy", config, config.protocol, workspace)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.make_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def home(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace in which the teacher was built."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(home))
        prepare(home, model)
        done("data", "import", "toy", str(home / "tables"))
        torch.manual_seed(1)
        before = torch.get_rng_state()
        built = done("teacher", "build", *ASKED, *CPU)
        assert torch.equal(torch.get_rng_state(), before)
        for line in ("stage 1, patterns: step 4 of 4", "stage 2, ranking: step 4 of 4"):
            assert line in built.stderr
        assert " steps, " in built.stderr
        assert built.stdout.strip() == str(home / "tocf" / "toy" / "tiny-delrec")
        yield home


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace with the teacher, as that of the test."""
    monkeypatch.setenv("BENCH_HOME", str(home))
    return Workspace(home)


def test_what_was_built_is_in_order(here: Workspace) -> None:
    found = json.loads(done("teacher", "check", *ASKED, "--format", "json").stdout)
    assert found["coverage"] == 1.0 and found["list_length"] == 6
    data, folder = prepared(here), here.tocf / "toy" / "tiny-delrec"
    checked = check(folder, data)
    assert not checked.problems
    assert set(checked.manifest.signals) == KINDS.get("delrec").signals
    assert checked.rankings is not None and checked.test_ranks is not None
    assert (
        checked.embeddings is not None
        and len(np.unique(checked.embeddings, axis=0)) == colours.N_ITEMS
    )
    for row in range(len(data.train)):
        seen = set(data.train.history[row].tolist()) - {int(data.train.target[row])}
        assert not seen & set(checked.rankings[row].tolist())
    told = checked.manifest
    assert told.metrics["test"]["hr@5"] == pytest.approx((checked.test_ranks <= 5).mean())
    # Eight items have another order; whoever is ranked below them keeps the recommender's rank.
    theirs = told.recipe["conventional"]["metrics"]["test"]
    assert told.metrics["test"]["hr@20"] == pytest.approx(theirs["hr@20"])
    assert (checked.test_ranks <= colours.N_ITEMS).all()
    assert set(told.recipe["stages"]) == {"stage 1, patterns", "stage 2, ranking"}
    assert any("SASRec ranks highest" in note for note in told.notes)
    assert any("in-sample" in note for note in told.notes)
    done("teacher", "info", *ASKED)


def test_a_student_is_distilled_from_it(here: Workspace) -> None:
    result = done(
        *("run", "--method", "ranking-only", *ASKED, "--student", "tiny", "--seeds", "0"),
        *("--set", "training.max_epochs=1", *CPU),
    )
    assert "ranking-only" in result.stdout
    records = [json.loads(file.read_text()) for file in here.results.glob("*/record.json")]
    assert {one["status"] for one in records} == {"done"}
    trials = [one["trial"] for one in records if one["trial"] is not None]
    assert [(one["method"], one["teacher"]) for one in trials] == [("ranking-only", "tiny-delrec")]


def test_a_sample_is_marked_and_trains_nothing_again(here: Workspace) -> None:
    changed = ("--set", "teacher.rows=20", "--set", "teacher.evaluation_rows=5")
    folder = here.tocf / "toy" / "tiny-delrec"
    ids, distances = (np.load(folder / name) for name in ("rankings.npy", "distances.npy"))
    data = prepared(here)
    configs = here.home / "configs" / "teachers"
    (configs / "part.yaml").write_text((configs / "tiny-delrec.yaml").read_text())
    asked = ("--dataset", "toy", "--teacher", "part")
    built = done("teacher", "build", *asked, *changed, *CPU)
    assert "stage 2, ranking: the first 4 steps are there from before" in built.stderr
    assert "epoch 1" not in built.stderr
    checked = check(here.tocf / "toy" / "part", data)
    assert not checked.problems and checked.test_ranks is None
    assert checked.covered is not None and checked.covered.sum() == 20
    assert checked.rankings is not None and checked.distances is not None
    np.testing.assert_array_equal(checked.rankings[checked.covered], ids[checked.covered])
    np.testing.assert_allclose(
        checked.distances[checked.covered], distances[checked.covered], rtol=1e-4
    )
    sizes = f"5 of {len(data.test)} rows, drawn at random"
    assert any(sizes in note and "test" in note for note in checked.manifest.notes)


# -- a process that is killed ----------------------------------------------------------------------


def started(home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603
        [
            sys.executable,
            "-m",
            "bench",
            "teacher",
            "build",
            *ASKED,
            *CPU,
        ],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def finished_rows(home: Path) -> int:
    shards = (home / "tocf" / ".cache").glob(f"delrec-rows-*/{SHARDS}")
    return sum(len(json.loads(line)["rows"]) for shard in shards for line in whole_lines(shard))


def whole_lines(shard: Path) -> list[str]:
    return shard.read_text().split("\n")[:-1]


def test_killed_while_listing_and_gone_on_without_loss(
    here: Workspace, model: Path, tmp_path: Path
) -> None:
    other = prepare(tmp_path / "other", model)
    environment = {**os.environ, "BENCH_HOME": str(other.home)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", environment["BENCH_HOME"])
        done("data", "import", "toy", str(other.home / "tables"))
    process = started(other.home)
    try:
        while not finished_rows(other.home):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    rows, total = finished_rows(other.home), len(prepared(here).train)
    assert 0 < rows < total
    assert not (other.tocf / "toy" / "tiny-delrec").exists()

    again = started(other.home)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert f"training rows listed: {rows} of {total} rows are there from before" in said
    assert "stage 1, patterns: the first 4 steps are there from before" in said
    folders = [home / "tocf" / "toy" / "tiny-delrec" for home in (here.home, other.home)]
    files = {name for name in (*BINARY, TEST_RANKS.file, MANIFEST) if (folders[0] / name).is_file()}
    assert files == {
        "embeddings.safetensors",
        "rankings.npy",
        "distances.npy",
        TEST_RANKS.file,
        MANIFEST,
    }
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


# -- what may be read, and mistakes ----------------------------------------------------------------


class Forbidden:
    """Rows that must not be looked at."""

    def __len__(self) -> int:
        return self.__getattr__("len")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"'{name}' of held-out rows was read in training")


def options_of(model: Path | str, **changes: Any) -> DelrecOptions:
    config = TeacherConfig(kind="delrec", options=OPTIONS | {"model": str(model)} | changes)
    options = resolved_options(config, "toy", Workspace(Path("nowhere")), "options")
    assert isinstance(options, DelrecOptions)
    return options


def test_validation_and_test_rows_are_not_read_in_training(
    model: Path, tmp_path: Path, make_data: Callable[..., PreparedData]
) -> None:
    options = options_of(model)
    data = make_data(valid=Forbidden(), test=Forbidden())
    language = load(find(str(model), Path()), ENCODER_DECODER, "cpu", "float32")
    with torch.random.fork_rng():
        taught = teach(options, language, data, tmp_path, "cpu")
    assert len(taught.stories) == 2
    with pytest.raises(AssertionError, match="held-out"):
        DelrecTeacher.build(options, data, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patterns": {"recommended": 5}}, r"'patterns.recommended' \(5\) must be below"),
        ({"list_length": 9}, r"'list_length' \(9\) exceeds 'list_candidates' \(8\)"),
        ({"ranking": {"rank": 8}}, r"'target_rank' \(8\) must be below 'rank' \(8\)"),
        ({"ranking": {"modules": []}}, "ranking.modules"),
        ({"patterns": {"example_items": 1}}, "patterns.example_items"),
        ({"patterns": {"step": 1}}, "Did you mean 'steps'"),
        ({"conventional": {}}, "conventional"),
        ({"conventional": {"a": SASREC, "b": SASREC}}, "conventional"),
        ({"conventional": {"markov": {"model": "MarkovChain"}}}, "is no RecBole model"),
        ({"conventional": {"sazrec": {}}}, "conventional.sazrec.model"),
        ({"dtype": "float16"}, "dtype"),
        ({"rows": 0}, "rows"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_of("somewhere", **changes)


def test_the_recommender_is_the_student_sasrec_if_none_is_named(tmp_path: Path) -> None:
    config = TeacherConfig(kind="delrec", options={})
    options = resolved_options(config, "game", Workspace(tmp_path), "options")
    assert isinstance(options, DelrecOptions)
    assert options.recommender.model == "SASRec" and options.recommender.training is not None
    assert options.recommender.training.max_epochs == 15


def test_a_missing_package_is_told_first(
    model: Path, toy: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    lines: list[str] = []
    with pytest.raises(ConfigError, match=r"the extra 'llm' \(peft\)"), listening(lines.append):
        DelrecTeacher.build(options_of(model), toy, tmp_path, "cpu")
    assert lines == []


def test_a_model_that_writes_nothing(tiny_encoder: Path, toy: PreparedData, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is no encoder-decoder language .* and no causal language model .* Bert"
    ):
        DelrecTeacher.build(options_of(tiny_encoder), toy, tmp_path, "cpu")


def test_a_causal_model_goes_through_both_stages(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = colours.make_causal_folder(tmp_path_factory.mktemp("llama"))
    ranking = {**OPTIONS["ranking"], "modules": ["q_proj", "v_proj"]}
    options = options_of(folder, ranking=ranking, rows=10, evaluation_rows=6)
    data = colours.make_data(120)
    found = DelrecTeacher.build(options, data, tmp_path, "cpu")
    assert found.rankings is not None and found.covered is not None and found.covered.sum() == 10
    assert np.asarray(found.embeddings).shape == (colours.N_ITEMS, 32)
    for stage in found.recipe["stages"].values():
        assert len(stage["held_out_loss_by_step"]) == 3
    again = DelrecTeacher.build(options, data, tmp_path, "cpu")  # from what was kept
    np.testing.assert_array_equal(again.rankings, found.rankings)
    np.testing.assert_array_equal(again.distances, found.distances)


def test_maps_that_the_model_does_not_have(
    toy: PreparedData, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = make_encoder_decoder(tmp_path_factory.mktemp("t5"), toy.item_texts, layers=1)
    options = options_of(model, ranking={**OPTIONS["ranking"], "modules": ["q_proj"]})
    with pytest.raises(ConfigError, match="no linear maps named q_proj"):
        DelrecTeacher.build(options, toy, tmp_path, "cpu")
