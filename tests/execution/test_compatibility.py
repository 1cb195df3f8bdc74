"""What goes with what: teachers and methods, students and training, training and devices."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.config.grid import Grid, resolve
from bench.config.selection import Selection
from bench.errors import ConfigError
from bench.execution.compatibility import drop_incompatible, missing_signals, problems
from bench.paths import SHIPPED, Workspace

from ..listening import listening


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def grid_of(workspace: Workspace, *methods: str, **axes: object) -> Grid:
    axes = {"datasets": ["movielens"], "methods": methods, **axes}
    return resolve(Selection.model_validate(axes), workspace)


def compatible(grid: Grid, workspace: Workspace) -> Grid:
    return drop_incompatible(grid, grid.trials, "cpu", workspace)


def test_of_all_teachers_a_method_keeps_those_that_offer_what_it_needs(
    workspace: Workspace,
) -> None:
    grid, lines = grid_of(workspace, "ranking-only", teachers=["all"]), []
    with listening(lines.append):
        left = compatible(grid, workspace)
    assert {spec.teacher for spec in left.trials} == {
        *("text", "text-out-of-fold", "text-histories", "learn", "ensemble", "mix", "self-sasrec"),
        *("counting-ease", "counting-knn", "counting-markov", "text-neighbours"),
        *("text-open", "text-mpnet", "text-smollm2", "l3ae"),
    }
    assert len(lines) == len(grid.trials) - len(left.trials)
    raw = "teacher 'raw-text' does not offer rankings (it offers embeddings)"
    assert f"left out: movielens ranking-only: {raw}" in lines


def test_a_teacher_whose_truth_is_planted_offers_nothing_on_real_data(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"'planted' does not offer .*\(it offers nothing\)"):
        compatible(grid_of(workspace, "ranking-only", teachers=["planted"]), workspace)
    synthetic = grid_of(
        workspace, "ranking-only", teachers=["planted"], datasets=["synthetic-small"]
    )
    assert compatible(synthetic, workspace).trials == synthetic.trials


def test_what_has_a_record_is_not_asked_again(workspace: Workspace) -> None:
    grid = grid_of(workspace, "none", "ranking-only", teachers=["raw-text"])
    assert drop_incompatible(grid, [], "cpu", workspace).trials == grid.trials
    assert len(compatible(grid, workspace).trials) == 1


def test_a_variant_may_need_more_than_its_method(workspace: Workspace) -> None:
    lists = {"rankings", "confidence"}
    plain, paper = grid_of(workspace, "ranking-only", "ranking-only:paper").trials
    assert missing_signals(plain, lists) == set()
    assert missing_signals(paper, lists) == {"truth-distance"}
    assert missing_signals(paper, {"embeddings"}) == {"rankings", "truth-distance"}
    assert missing_signals(paper, None) == set()  # nobody can tell yet


def test_a_method_may_go_with_some_objectives_alone(workspace: Workspace) -> None:
    methods, bpr = ("none", "label-smoothing"), ["training.objective=bpr"]
    assert len(compatible(grid_of(workspace, *methods), workspace).trials) == 2
    (left,) = compatible(grid_of(workspace, *methods, overrides=bpr), workspace).trials
    assert left.method == "none"
    with pytest.raises(ConfigError, match=r"label-smoothing: not with .*=bpr. Allowed: ce"):
        compatible(grid_of(workspace, "label-smoothing", overrides=bpr), workspace)


def test_prompts_are_for_students_that_read_vectors(workspace: Workspace) -> None:
    grid, lines = grid_of(workspace, "delrec-reverse", students=["sasrec", "narm"]), []
    with listening(lines.append):
        (left,) = compatible(grid, workspace).trials
    assert left.student == "sasrec"
    (line,) = lines
    assert line.startswith("left out: narm delrec-reverse: ") and "student model NARM" in line


@pytest.mark.parametrize("setting", ["cuda_graphs=true", "precision=tf32"])
def test_some_training_is_for_cuda_devices_alone(workspace: Workspace, setting: str) -> None:
    (spec,) = grid_of(workspace, "none", set=[f"training.{setting}"]).trials
    (problem,) = problems(spec, None, "cpu")
    assert problem.startswith(f"training.{setting}: needs a CUDA device, not cpu")
    assert problems(spec, None, "cuda:1") == []


def test_what_names_tell_needs_no_torch(workspace: Workspace) -> None:
    code = (
        "import sys\n"
        "from bench.config.grid import resolve\n"
        "from bench.config.selection import Selection\n"
        "from bench.execution.compatibility import problems\n"
        "from bench.paths import Workspace\n"
        "asked = Selection(datasets=['movielens'], methods=['ranking-only'])\n"
        "(spec,) = resolve(asked, Workspace.current()).trials\n"
        "print(len(problems(spec, {'embeddings'}, 'cpu')), 'torch' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True
    )
    assert done.stdout == "1 False\n", done.stderr
