"""`bench run`, as a user calls it: in this process for speed, in others where processes matter."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.baselines.interface import BASELINES
from bench.execution import compatibility
from bench.paths import SHIPPED, Workspace
from bench.records.arrays import STUDENT
from bench.records.store import ResultStore

from .conftest import bench

TINY = ["run", "--dataset", "tiny", "--student", "tiny", "--device", "cpu", "--threads", "1"]
REFERENCES = len(BASELINES.names()) - 1
"""Baselines but l3ae: no teacher has encoded texts of these data."""
TAUGHT = ["--teacher", "published"]


def spawn(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "bench", *arguments],
        cwd=SHIPPED,
        env={**os.environ, "BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def folders(store: Path) -> list[str]:
    """Records, and anything that should not be there."""
    return sorted(p.name for p in store.iterdir() if p.name not in ("users", ".claims", ".plans"))


def test_a_finished_trial_does_not_train_again(tiny: Workspace) -> None:
    first = bench(*TINY, "--method", "none")
    assert first.exit_code == 0, first.output
    assert "starts on cpu" in first.stderr
    assert "| none" in first.stdout and "popularity" in first.stdout
    again = bench(*TINY, "--method", "none")
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "starts on" not in again.stderr
    assert len(folders(tiny.results)) == 1 + REFERENCES


def test_all_positions_are_another_trial_beside_the_ordinary_one(tiny: Workspace) -> None:
    assert bench(*TINY, "--method", "none").exit_code == 0
    done = bench(*TINY, "--method", "none", "--set", "training.positions=all")
    assert done.exit_code == 0, done.output
    assert "none [training.positions=all]" in done.stdout
    trials = [record for record in ResultStore(tiny.results).records() if record.trial]
    assert sorted(r.trial.training.positions for r in trials if r.trial) == ["all", "last"]
    assert all(record.is_done for record in trials)
    assert len({record.key for record in trials}) == 2


@pytest.mark.usefixtures("tiny_teacher")
def test_what_asks_for_a_student_that_reads_vectors_refuses_others(tiny: Workspace) -> None:
    folder = tiny.results.parent / "configs" / "students"
    (folder / "narm.yaml").write_text("summary: NARM\nmodel: NARM\nparameters: {}\n")
    for asked, says in (
        (["none", "--set", "training.checkpointing=true"], "NARM reads items alone, not vectors"),
        (["delrec-reverse", "-t", "published"], "NARM takes none. Allowed: Caser, GRU4Rec, SASRec"),
    ):
        done = bench("run", "-d", "tiny", "-s", "narm", "-m", *asked)
        assert done.exit_code == 2, done.output
        assert says in done.stderr


@pytest.mark.parametrize(
    ("instructions", "refused"), [([], True), (["avx512_bf16"], False), (None, False)]
)
def test_bfloat16_is_for_processors_that_have_it(
    instructions: list[str] | None, refused: bool, tiny: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compatibility, "bfloat16_instructions", lambda: instructions)
    done = bench(*TINY, "-m", "none", "--set", "training.precision=bf16", "--dry-run")
    assert done.exit_code == (2 if refused else 0), done.output
    if refused:
        assert "training.precision=bf16: this CPU has no instructions for it" in done.stderr
        assert "Allowed on cpu: float32\n" in done.stderr


def test_a_finished_grid_needs_no_torch(tiny: Workspace) -> None:
    assert bench(*TINY, "--method", "none").exit_code == 0
    code = (
        "import sys; from bench.cli.main import main\n"
        f"main({[*TINY, '--method', 'none']!r}, standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


@pytest.mark.usefixtures("tiny_teacher")
def test_a_grid_with_a_teacher_and_its_control(tiny: Workspace) -> None:
    options = ["--method", "none", "--method", "ranking-only", "--control", "shuffled"]
    done = bench(*TINY, *TAUGHT, *options, "--seeds", "0,3")
    assert done.exit_code == 0, done.output
    records = [r for r in ResultStore(tiny.results).records() if r.trial is not None]
    seen = {(r.trial.method, r.trial.teacher, r.trial.control, r.trial.seed) for r in records}
    assert seen == {
        (method, teacher, control, seed)
        for method, teacher, control in [
            ("none", None, None),
            ("ranking-only", "published", None),
            ("ranking-only", "published", "shuffled"),
        ]
        for seed in (0, 3)
    }


def test_a_dry_run_runs_nothing_and_tells_states(tiny: Workspace) -> None:
    before = bench(*TINY, "--method", "none", "--dry-run")
    assert before.exit_code == 0
    assert "missing" in before.stdout
    assert not tiny.results.exists()
    assert bench(*TINY, "--method", "none").exit_code == 0
    after = bench(*TINY, "--method", "none", "--dry-run", "--seeds", "0-1")
    states = [line.split()[1] for line in after.stdout.splitlines()[1:]]
    assert states == ["done", "missing"]


PLUGIN = '''
from torch import Tensor
from bench.registry import register_method
from bench.distillation import Batch, Method, MethodConfig, Output

@register_method("{name}")
class Mine(Method):
    """A method of my own."""
    class Config(MethodConfig):
        weight: float = 0.1
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        {body}
'''


def plugin(folder: Path, name: str, body: str) -> str:
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(PLUGIN.format(name=name, body=body))
    return str(path)


def test_a_plug_in_method_is_listed_and_runs(tiny: Workspace, tmp_path: Path) -> None:
    body = 'return {"small": self.config.weight * output.hidden.pow(2).mean()}'
    path = plugin(tmp_path, "keep-small", body)
    listed = bench("list", "methods", "--plugin", path, "--format", "json")
    entry = next(e for e in json.loads(listed.stdout) if e["name"] == "keep-small")
    assert entry["summary"] == "A method of my own."
    arguments = ["--plugin", path, "--method", "none", "--method", "keep-small"]
    done = bench(*TINY, *arguments, "--set", "method.weight=0.2")
    assert done.exit_code == 0, done.output
    assert "keep-small" in done.stdout
    settings = {r.trial.method: r.settings for r in ResultStore(tiny.results).records() if r.trial}
    assert settings["none"] == {"derived": {}}
    assert settings["keep-small"]["weight"] == 0.2


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("wrong-name", "return {'t': batch.rows}", "no attribute 'rows' (wrong_name.py:"),
        ("wrong-sum", "return output.hidden.sum()", "must return a dict of terms by name, and"),
        ("wrong-term", "return {'base': output.hidden.sum()}", "has a term 'base', and so "),
        ("wrong-shape", "return {'t': output.hidden}", "term 't' must be a tensor of one number"),
        ("wrong-kind", "return {'t': 0.5}", "term 't' must be a tensor of one number"),
        ("wrong-total", "return {'loss': output.hidden.sum()}", "has a term 'loss', and so "),
        (
            "wrong-owner",
            "return {}\n\n    def attach(self, student, knowledge):\n        self.kept = student",
            "method 'wrong-owner' holds the student",
        ),
    ],
)
def test_a_mistake_in_a_method_says_what_and_where(
    tiny: Workspace, tmp_path: Path, name: str, body: str, says: str
) -> None:
    done = bench(*TINY, "--plugin", plugin(tmp_path, name, body), "-m", name)
    assert done.exit_code == 1, done.output
    assert any(
        line.startswith(f"tiny tiny {name} seed 0: error: ") and says in line
        for line in done.stderr.splitlines()
    )


def test_a_class_that_is_no_method_is_refused_before_anything_runs(
    tiny: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        'from bench.registry import register_method\n@register_method("odd")\nclass Odd: ...\n'
    )
    done = bench(*TINY, "--plugin", str(path), "-m", "odd")
    assert done.exit_code == 2
    assert "class Odd is no bench.distillation.Method" in done.stderr


def test_a_failed_trial_is_recorded_and_the_others_go_on(tiny: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "works-now"
    body = f"""
        import pathlib
        if not pathlib.Path({str(flag)!r}).exists():
            raise RuntimeError("no way")
        return {{}}"""
    arguments = ["--plugin", plugin(tmp_path, "may-fail", body), "-m", "may-fail", "-m", "none"]
    first = bench(*TINY, *arguments)
    assert first.exit_code == 1
    assert "| none" in first.stdout
    assert "1 of 2 trials failed" in first.stderr
    failure = next(r for r in ResultStore(tiny.results).records() if not r.is_done)
    assert failure.status == "error"
    assert failure.error and failure.error.rstrip().endswith("RuntimeError: no way")
    assert "Traceback" in failure.error

    flag.touch()
    kept = bench(*TINY, *arguments)
    assert kept.exit_code == 1
    assert "starts on" not in kept.stderr
    assert "1 of them failed in an earlier run and did not run again: --retry-failed" in kept.stderr
    assert "earlier run" not in first.stderr
    retried = bench(*TINY, *arguments, "--retry-failed")
    assert retried.exit_code == 0, retried.output
    assert retried.stderr.count("starts on") == 1


EMBEDDINGS_ALONE = (
    '{"name": "published", "dataset": "tiny", "signals": ["embeddings"], "id_base": 0}'
)
NARROW = "model: NARM\nparameters: {embedding_size: 8, hidden_size: 8}\ntraining: {max_epochs: 1}\n"


def test_of_several_methods_those_that_cannot_be_are_left_out(
    tiny: Workspace, tiny_teacher: Path
) -> None:
    (tiny_teacher / "teacher.json").write_text(EMBEDDINGS_ALONE)
    (tiny.home / "configs/students/narrow.yaml").write_text(NARROW)
    asked = [*TINY, "-s", "narrow", *TAUGHT, "-m", "ranking-only"]
    asked += ["-m", "embedding-only", "-m", "delrec-reverse"]
    left_out = [
        "left out: tiny ranking-only: teacher 'published' does not offer rankings (it offers emb",
        "left out: tiny delrec-reverse: teacher 'published' does not offer rankings",
    ]
    for options in (["--dry-run"], []):
        done = bench(*asked, *options)
        assert done.exit_code == 0, done.output
        assert all(line in done.stderr for line in left_out)
        assert "embedding-only" in done.stdout and "ranking-only" not in done.stdout
    trials = [r.trial for r in ResultStore(tiny.results).records() if r.trial]
    assert {(t.student, t.method) for t in trials} == {
        ("tiny", "embedding-only"),
        ("narrow", "embedding-only"),
    }
    for options in (["--dry-run"], []):
        alone = bench(*TINY, *TAUGHT, "-m", "ranking-only", *options)
        assert alone.exit_code == 2
        assert "does not offer confidence, rankings" in alone.stderr


def test_a_teacher_of_other_rows_is_told_as_such(tiny: Workspace, tiny_teacher: Path) -> None:
    folder = tiny.tocf / "tiny" / "mine"
    folder.mkdir()
    (folder / "teacher.json").write_text(EMBEDDINGS_ALONE.replace("published", "mine"))
    asked = [*TINY, "--teacher", "mine", "-m", "embedding-only", "--dry-run"]
    assert bench(*asked).exit_code == 0
    done = bench(*asked, "--protocol", "leave-one-out")
    assert done.exit_code == 2
    assert "teacher 'mine' of tiny was not made for the rows of leave-one-out" in done.stderr
    listed = bench("list", "teachers", "--format", "json")
    (entry,) = (e for e in json.loads(listed.stdout) if e["name"] == "mine")
    assert entry == {"name": "mine", "summary": "of tiny", "kind": "imported"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('return {"nan": output.hidden.sum() * float("nan")}', "diverged"),
        ('raise MemoryError("too big")', "out-of-memory"),
    ],
)
def test_what_went_wrong_has_a_status(
    tiny: Workspace, tmp_path: Path, body: str, status: str
) -> None:
    done = bench(*TINY, "--plugin", plugin(tmp_path, f"is-{status}", body), "-m", f"is-{status}")
    assert done.exit_code == 1
    assert [r.status for r in ResultStore(tiny.results).records() if r.trial] == [status]


def test_a_training_that_diverged_keeps_the_epochs_before(tiny: Workspace, tmp_path: Path) -> None:
    body = (
        "rows, seen = set(batch.row_id.tolist()), getattr(self, 'seen', set())\n"
        "        self.seen = seen | rows\n"
        "        return {'nan': output.hidden.sum() * (float('nan') if seen & rows else 0)}"
    )
    done = bench(*TINY, "--plugin", plugin(tmp_path, "late", body), "-m", "late")
    assert done.exit_code == 1
    (record,) = (r for r in ResultStore(tiny.results).records() if r.trial)
    assert record.error is not None and record.error.endswith("became nan in epoch 2")
    curve = (tiny.results / record.key / "curve.csv").read_text().splitlines()
    assert len(curve) == 2 and curve[0].startswith("epoch,stage,loss")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-m", "nune", "-d", "tiny"], "unknown method 'nune'. Did you mean 'none'?"),
        (["-m", "none", "-d", "tinny"], "unknown dataset 'tinny'. Did you mean 'tiny'?"),
        (["-m", "none", "-d", "tiny", "-s", "sasrek"], "Did you mean 'sasrec'?"),
        (["-m", "dllm2rec", "-d", "tiny", "-t", "txt"], "unknown teacher 'txt'"),
        (["-m", "dllm2rec:papr", "-d", "tiny"], "Did you mean 'paper'?"),
        (["-m", "none", "-d", "tiny", "--suite", "dem"], "Did you mean 'demo'?"),
        (["-m", "none", "-d", "tiny", "--control", "shufled"], "Did you mean 'shuffled'?"),
        (["-m", "NONE", "-d", "tiny"], "unknown method 'NONE'. Did you mean 'none'?"),
        (["-m", "none,dllm2rec", "-d", "tiny"], "give the option once for each"),
        (["-m", "none", "-d", "tiny", "--set", "history=9"], "Did you mean protocol.history?"),
        (["-m", "none"], "no dataset"),
        (["-d", "tiny"], "no method"),
        (["-m", "none", "-d", "tiny", "--seeds", "4-1"], "no range of seeds"),
        (["-m", "none", "-d", "tiny", "--seeds", "x"], "--seeds x"),
        (["-m", "none", "-d", "tiny", "--protocol", "random"], "unknown protocol 'random'"),
        (["-m", "none", "-d", "tiny", "--device", "cuda:99"], "--device cuda:99"),
        (["-m", "none", "-d", "tiny", "--plugin", "nowhere.py"], "no such file"),
        (["-m", "none", "-d", "tiny", "--set", "training.patience"], "expected key=value"),
        (
            ["-m", "none", "-d", "tiny", "--set", "training.patienc=1"],
            "Did you mean 'training.patience'?",
        ),
        (["-m", "none", "-d", "tiny", "--set", "training.patience=-1"], "'patience'"),
        (["-m", "none", "-d", "tiny", "--set", "training.select=ndgc@20"], "ndgc"),
        (["-m", "none", "-d", "tiny", "--set", "trainig.patience=1"], "Did you mean 'training'?"),
        (["-m", "none", "-d", "tiny", "--set", "student.hidden_siz=8"], "'student.hidden_size'"),
        (["-m", "none", "-d", "tiny", "--set", "student.hidden_size=wide"], "cannot be built"),
        (["-m", "none", "-d", "tiny", "--set", "student.n_heads=3"], "cannot be built"),
        (
            ["-m", "none", "-d", "tiny", "-s", "caser", "--set", "training.positions=all"],
            "Caser is read at the end of a history only. Allowed: GRU4Rec, SASRec",
        ),
        (
            ["-m", "none", "-d", "tiny", "--set", "training.positions=both"],
            "'last', 'half' or 'all'",
        ),
        (
            [
                *("-m", "none", "-d", "tiny", "--set", "training.checkpointing=true"),
                *("--set", "training.positions=half"),
            ],
            "checkpointing is for positions=last, not half",
        ),
        (
            [
                *("-m", "none", "-d", "tiny", "--set", "training.cuda_graphs=true"),
                *("--set", "training.positions=all"),
            ],
            "cuda_graphs is for positions=last, not all",
        ),
        (
            [
                *("-m", "none", "-d", "tiny", "--set", "training.cuda_graphs=true"),
                *("--set", "training.checkpointing=true"),
            ],
            "cuda_graphs and checkpointing exclude each other",
        ),
        (
            [
                *("-m", "none", "-d", "tiny", "--device", "cpu"),
                *("--set", "training.cuda_graphs=true"),
            ],
            "training.cuda_graphs=true: needs a CUDA device, not cpu. Allowed on cpu: false",
        ),
        (
            [
                *("-m", "none", "-d", "tiny", "--device", "cpu"),
                *("--set", "training.precision=tf32"),
            ],
            "training.precision=tf32: needs a CUDA device, not cpu. Allowed on cpu: float32",
        ),
        (
            ["-m", "none", "-d", "tiny", "-s", "gru4rec", "--set", "training.precision=bf16"],
            "training.precision=bf16: student model GRU4Rec has recurrent layers",
        ),
        (["-m", "none", "-d", "tiny", "--set", "method.weight=1"], "concerns nothing"),
        (["-m", "none", "-d", "tiny", "--set", "teacher.epochs=1"], "concerns nothing"),
        (["-m", "ranking-only", "-d", "tiny", "--set", "method.wieght=1"], "'method.weight'"),
        (
            ["-m", "ranking-only", "-d", "tiny", "-t", "published", "--set", "method.weight=-1"],
            "'weight'",
        ),
        (
            ["-m", "ranking-only:paper", "-d", "tiny", "-t", "published"],
            "does not offer truth-distance",
        ),
    ],
)
@pytest.mark.usefixtures("tiny_teacher")
def test_a_mistake_is_one_clear_message_before_anything_runs(
    tiny: Workspace, arguments: list[str], says: str
) -> None:
    done = bench("run", *(["-s", "tiny"] if "-s" not in arguments else []), *arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert ResultStore(tiny.results).records() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["-m", "dllm2rec", "--set", "method.ranking.wieght=1"],
            "unknown key 'method.ranking.wieght'. Did you mean 'method.ranking.weight'?",
        ),
        (["-m", "none", "--device", "gpu"], "--device gpu: not available here. Allowed: auto, cpu"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would_refuse(
    tiny: Workspace, arguments: list[str], says: str
) -> None:
    done = bench(*TINY, *arguments, "--dry-run")
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("tiny_teacher")
def test_methods_without_a_setting_that_others_have_are_named(tiny: Workspace) -> None:
    methods = ["-m", "none", "-m", "ranking-only", "-m", "dllm2rec", *TAUGHT]
    done = bench(*TINY, *methods, "--set", "method.weight=0.3", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "--set method.weight: no setting of dllm2rec\n" in done.stderr


def test_records_are_looked_for_where_there_is_a_folder(tiny: Workspace) -> None:
    for command in (["report"], ["export", "abc"], ["list", "results"]):
        done = bench(*command, "--results", str(tiny.home / "typo"))
        assert done.exit_code == 2
        assert "typo' does not exist" in done.stderr


def test_a_record_without_a_student_is_told_before_data_are_asked_for(tiny: Workspace) -> None:
    assert bench(*TINY, "-m", "none").exit_code == 0
    (record,) = (r for r in ResultStore(tiny.results).records() if r.trial)
    (tiny.results / record.key / STUDENT).unlink()
    shutil.rmtree(tiny.datasets)
    done = bench("export", record.key[:8])
    assert done.exit_code == 2
    assert "this record holds no student" in done.stderr


def test_an_unwritable_results_folder_is_refused_before_training(tiny: Workspace) -> None:
    tiny.results.write_text("a file where a folder should be")
    done = bench(*TINY, "--method", "none")
    assert done.exit_code == 2
    assert f"results folder {tiny.results} cannot be written to" in done.stderr
    assert "starts on" not in done.stderr


def test_debug_shows_the_traceback_wherever_it_stands(tiny: Workspace) -> None:
    for arguments in (["--debug", "run", "-m", "x", "-d", "tiny"], ["run", "-m", "x", "--debug"]):
        done = bench(*arguments)
        assert done.exit_code == 2
        assert "Traceback" in done.stderr


def test_killed_in_a_grid_and_continued_gives_the_same_numbers(tiny: Workspace) -> None:
    grid = [*TINY, "-m", "none", "--seeds", "0-3", "--set", "training.max_epochs=6"]
    assert bench(*grid, "--results", str(tiny.home / "whole")).exit_code == 0

    results = tiny.home / "broken"
    victim = spawn(tiny.home, *grid, "--results", str(results))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(ResultStore(results).records()) < 3:
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    interrupted = len(ResultStore(results).records())
    assert bench(*grid, "--results", str(results)).exit_code == 0

    whole, broken = ResultStore(tiny.home / "whole"), ResultStore(results)
    assert interrupted >= 3
    assert folders(results) == folders(tiny.home / "whole")
    for record in whole.records():
        other = broken.get(record.key)
        assert other is not None and other.metrics == record.metrics
        assert (whole.ranks(record.key) == broken.ranks(record.key)).all()


def test_interrupted_leaves_nothing_half_written(tiny: Workspace) -> None:
    run = spawn(tiny.home, *TINY, "-m", "none", "--set", "training.max_epochs=100000")
    assert run.stderr is not None
    while "epoch 1:" not in run.stderr.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    kinds = [record.kind for record in ResultStore(tiny.results).records()]
    assert kinds == ["reference"] * REFERENCES
    assert len(folders(tiny.results)) == REFERENCES
    assert list((tiny.results / ".claims").iterdir()) == []


def test_two_runs_share_a_grid(tiny: Workspace) -> None:
    grid = [*TINY, "-m", "none", "--seeds", "0-5"]
    runs = [spawn(tiny.home, *grid) for _ in range(2)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    started = sum(stderr.count("starts on") for _, stderr in outputs)
    assert started == 6  # no trial was run twice
    assert outputs[0][0] == outputs[1][0]
    assert len(folders(tiny.results)) == 6 + REFERENCES


@pytest.mark.usefixtures("tiny_teacher")
def test_a_ladder_is_a_method_and_its_controls_beside_what_is_named(tiny: Workspace) -> None:
    done = bench(*TINY, "--ladder", "soft-label", *TAUGHT, "--dry-run")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    methods = {("none", "-"), ("label-smoothing", "-"), ("label-smoothing:popularity", "-")}
    teachers = {
        *("published", "self-tiny", "counting-knn", "counting-ease"),
        *("text-random", "text-neighbours", "l3ae", "text"),
    }
    taught = {("soft-label", teacher) for teacher in teachers}
    assert {(line[6], line[7]) for line in lines} == methods | taught


def test_a_published_ranking_stands_on_the_board(tiny: Workspace) -> None:
    """Lists of 3 items for the users' last items: one command in, one command to see them."""
    lists = tiny.home / "lists.csv"
    last = {user: (user + 15) % 20 for user in range(20)}
    lines = [f"u{u:02},i{item:02}\nu{u:02},i00" for u, item in last.items()]
    lists.write_text("\n".join(["user,item", *lines, "u00,i19"]) + "\n")
    rows = ("--dataset", "tiny", "--protocol", "leave-one-out")
    done = bench("teacher", "import", *rows, "--name", "gpt", str(lists))
    assert done.exit_code == 0, done.output
    done = bench("run", *rows, "--reference", "gpt")
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.stdout.splitlines() if "| gpt" in line][:1]
    assert row.count("\N{EN DASH}") >= 7  # lists of two items say nothing of 20
    assert "gpt: its lists hold 2 items, and metrics up to that K are told" in done.stdout
    assert "there are 20 items, so the first 20 hold the target" in done.stdout
    shown = bench("report", "--metric", "hr@2", "--reference", "gpt").stdout
    assert "1.0000" in next(line for line in shown.splitlines() if "| gpt" in line)
    line = ("run", *rows, "--student", "tiny", "--method", "none", "-t", "gpt", "--dry-run")
    planned = bench(*line)
    assert "teacher 'gpt': no chosen method learns from it" in planned.stderr
    assert "reference" in planned.stdout
    refused = bench("report", "--reference", "gtp")
    assert refused.exit_code == 2 and "no teacher of this name" in refused.stderr


def test_a_method_may_call_a_setting_items(tiny: Workspace) -> None:
    """As `whiten` does: what a board says of the catalogue is of its references alone."""
    assert bench(*TINY, "--method", "none").exit_code == 0
    store = ResultStore(tiny.results)
    (record,) = [one for one in store.records() if one.trial]
    path = tiny.results / record.key / "record.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"settings": {"items": "text"}}))
    done = bench("report")
    assert done.exit_code == 0, done.output
    assert "there are 20 items" in done.stdout
