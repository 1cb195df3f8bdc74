"""From a selection to trials: which ones, with which settings and keys."""

from pathlib import Path
from typing import Any

import pytest

from bench import plan
from bench.config.grid import resolve
from bench.config.search import Search
from bench.config.selection import Selection
from bench.data.config import DataIdentity
from bench.errors import ConfigError
from bench.paths import Workspace
from bench.plan import Trial


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def trials(workspace: Workspace, **axes: Any) -> list[Trial]:
    axes = {"datasets": ["movielens"], "methods": ["none"], **axes}
    grid = resolve(Selection(**axes), workspace)
    data = dict.fromkeys(grid.data, DataIdentity("data", "rank"))
    found = plan.identify(grid.trials, data, dict.fromkeys(grid.teachers, "teacher"))
    return [trial for trial in found if trial is not None]


def put(workspace: Workspace, place: str, text: str) -> None:
    path = workspace.home / "configs" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_defaults(workspace: Workspace) -> None:
    (trial,) = trials(workspace, methods=["dllm2rec"])
    assert (trial.student, trial.teacher, trial.control, trial.seed) == ("sasrec", "text", None, 0)
    assert trial.variant == "default"


def test_a_grid_is_the_product_of_its_axes(workspace: Workspace) -> None:
    found = trials(
        workspace,
        methods=["none", "embedding-only", "dllm2rec:paper"],
        students=["sasrec", "gru4rec"],
        datasets=["movielens", "game"],
        teachers=["text", "raw-text"],
        controls=["shuffled"],
        seeds="0-2",
    )
    # `none` knows no teacher: one trial. The others are distilled plain and shuffled.
    assert len(found) == 2 * 2 * 3 * (1 + (2 + 2) * 2)
    assert len({trial.key for trial in found}) == len(found)


def test_a_control_concerns_those_who_read_what_it_changes(workspace: Workspace) -> None:
    methods = ["none", "embedding-only", "ranking-only"]
    controls = ["shuffled-rows", "popularity", "oracle"]
    found = {(t.method, t.control) for t in trials(workspace, methods=methods, controls=controls)}
    assert found == {
        ("none", None),
        *(("embedding-only", control) for control in (None, "popularity")),
        *(("ranking-only", control) for control in (None, *controls)),
    }
    with pytest.raises(ConfigError, match=r"'oracle' changes rankings, .* none of the chosen"):
        trials(workspace, methods=["none", "embedding-only"], controls=["oracle"])


def test_a_method_may_have_a_teacher_of_its_own(workspace: Workspace) -> None:
    methods = ["hetcomp", "dllm2rec"]
    assert {t.method: t.teacher for t in trials(workspace, methods=methods)} == {
        "hetcomp": "ensemble",
        "dllm2rec": "text",
    }
    (asked,) = trials(workspace, methods=["hetcomp"], teachers=["raw-text"])
    assert asked.teacher == "raw-text"


def test_some_settings_need_a_teacher_that_others_do_not(workspace: Workspace) -> None:
    methods = ["label-smoothing", "label-smoothing:neighbours", "label-smoothing:random"]
    found = trials(workspace, methods=methods, controls=["shuffled-items"])
    assert [(t.variant, t.teacher, t.control) for t in found] == [
        ("default", None, None),
        ("neighbours", "text", None),
        ("neighbours", "text", "shuffled-items"),
        ("random", None, None),
    ]
    asked = {"methods": ["label-smoothing"], "overrides": ["method.prior=neighbours"]}
    assert [t.teacher for t in trials(workspace, **asked, teachers=["raw-text"])] == ["raw-text"]


def test_all_teachers_are_those_that_need_no_language_model(workspace: Workspace) -> None:
    put(workspace, "teachers/mine.yaml", "{kind: bigrec, options: {model: a-folder}}")
    chosen = {t.teacher for t in trials(workspace, methods=["ranking-only"], teachers=["all"])}
    assert {"text", "learn", "ensemble", "mix", "planted"} <= chosen
    assert "mine" not in chosen
    (named,) = trials(workspace, methods=["ranking-only"], teachers=["mine"])
    assert named.teacher == "mine"


def test_keys_depend_neither_on_order_nor_on_other_members(workspace: Workspace) -> None:
    alone = {t.label: t.key for t in trials(workspace, methods=["dllm2rec"], seeds="1")}
    many = {
        t.label: t.key
        for t in trials(
            workspace,
            methods=["ranking-only", "dllm2rec", "none"],
            datasets=["game", "movielens"],
            students=["gru4rec", "sasrec"],
            teachers=["raw-text", "text"],
            controls=["shuffled"],
            seeds="2,1",
        )
    }
    assert alone.items() <= many.items()
    turned = trials(workspace, methods=["none", "dllm2rec"], seeds="1")
    assert alone.items() <= {t.label: t.key for t in turned}.items()


def test_all(workspace: Workspace) -> None:
    found = trials(workspace, methods=["all"], students=["all"])
    assert {"none", "dllm2rec", "ranking-only", "embedding-only"} <= {t.method for t in found}
    assert {"sasrec", "gru4rec", "caser"} <= {t.student for t in found}


def test_the_same_choice_twice_is_one(workspace: Workspace) -> None:
    assert len(trials(workspace, methods=["none", "none:default", "none"], seeds="0,0")) == 1


def test_layers_of_a_student(workspace: Workspace) -> None:
    put(
        workspace,
        "students/mine.yaml",
        "model: SASRec\n"
        "parameters: {hidden_size: 16, n_layers: 1}\n"
        "training: {learning_rate: 1e-2, patience: 3}\n"
        "datasets: {game: {parameters: {n_layers: 2}, training: {patience: 4}}}\n",
    )
    options = {"students": ["mine"], "set": ["student.hidden_size=8", "training.patience=9"]}
    on_movielens, on_game = trials(workspace, datasets=["movielens", "game"], **options)
    assert on_movielens.student_config.parameters == {"hidden_size": 8, "n_layers": 1}
    assert on_game.student_config.parameters == {"hidden_size": 8, "n_layers": 2}
    assert on_game.training.learning_rate == 0.01
    assert on_game.training.patience == 9
    assert on_game.overrides == {"student.hidden_size": 8, "training.patience": 9}
    (without,) = trials(workspace, datasets=["game"], students=["mine"])
    assert without.training.patience == 4
    assert without.overrides == {}


def test_layers_of_a_method(workspace: Workspace) -> None:
    put(
        workspace,
        "methods/ranking-only.yaml",
        "settings: {weight: 1, top_k: 5, temperature: 2}\n"
        "datasets: {movielens: {top_k: 6, temperature: 3}}\n"
        "variants: {mine: {temperature: 4}}\n",
    )
    plain, variant = trials(workspace, methods=["ranking-only", "ranking-only:mine"])
    assert plain.method_settings == {"weight": 1, "top_k": 6, "temperature": 3}
    assert variant.method_settings == {"weight": 1, "top_k": 6, "temperature": 4}
    assert (plain.method_name, variant.method_name) == ("ranking-only", "ranking-only:mine")
    (changed,) = trials(workspace, methods=["ranking-only"], set=["method.weight=7"])
    assert changed.method_settings["weight"] == 7


def test_an_override_concerns_those_who_know_it(workspace: Workspace) -> None:
    found = trials(
        workspace,
        methods=["none", "ranking-only", "dllm2rec"],
        students=["sasrec", "gru4rec"],
        set=["method.top_k=3", "student.n_heads=1"],
    )
    concerned = {(t.student, t.method): set(t.overrides) for t in found}
    assert concerned == {
        ("sasrec", "none"): {"student.n_heads"},
        ("sasrec", "ranking-only"): {"student.n_heads", "method.top_k"},
        ("sasrec", "dllm2rec"): {"student.n_heads"},
        ("gru4rec", "none"): set(),
        ("gru4rec", "ranking-only"): {"method.top_k"},
        ("gru4rec", "dllm2rec"): set(),
    }


def test_an_override_of_the_protocol_moves_the_data(workspace: Workspace) -> None:
    (trial,) = trials(workspace, datasets=["game"], set=["protocol.history=20"])
    assert trial.protocol == "temporal-20"
    assert trial.overrides == {"protocol.history": 20}
    (other,) = trials(workspace, datasets=["game"], protocol="leave-one-out")
    assert other.protocol == "leave-one-out-10"


def test_an_override_of_the_teacher_reaches_its_options(workspace: Workspace) -> None:
    selection = Selection(
        datasets=["movielens"], methods=["none", "dllm2rec"], set=["teacher.epochs=3"]
    )
    grid = resolve(selection, workspace)
    (source,) = grid.teachers.values()
    assert source.config is not None and source.config.options["epochs"] == 3
    assert [trial.overrides for trial in grid.trials] == [{}, {"teacher.epochs": 3}]


def test_an_imported_teacher_needs_no_file(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="unknown teacher 'mine'"):
        trials(workspace, methods=["dllm2rec"], teachers=["mine"])
    (workspace.tocf / "movielens" / "mine").mkdir(parents=True)
    (trial,) = trials(workspace, methods=["dllm2rec"], teachers=["mine"])
    assert trial.teacher == "mine"


def test_a_mistake_in_a_students_file_names_the_file(workspace: Workspace) -> None:
    put(workspace, "students/mine.yaml", "model: SASRec\ntraining: {patiense: 3}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: training: unknown key 'patiense'"):
        trials(workspace, students=["mine"])
    put(workspace, "students/mine.yaml", "model: SASRek\n")
    with pytest.raises(ConfigError, match="Did you mean 'SASRec'"):
        trials(workspace, students=["mine"])


def test_a_search_takes_a_method_once_per_setting_on_top_of_all_that_is_configured(
    workspace: Workspace,
) -> None:
    put(
        workspace,
        "methods/ranking-only.yaml",
        "settings: {weight: 0.5, top_k: 20}\nvariants: {flat: {temperature: 9.0}}\n"
        "search: [{weight: 0.1}, {weight: 1.0}]\n",
    )
    put(workspace, "methods/soft-label.yaml", "settings: {weight: 0.5}\n")
    axes = {"methods": ["none", "soft-label", "ranking-only:flat"], "datasets": ["movielens"]}
    found = resolve(Selection(**axes), workspace, search=Search()).trials
    assert [(t.method, t.method_settings) for t in found] == [
        ("none", {}),
        ("soft-label", {"weight": 0.5}),  # nothing to compare
        ("ranking-only", {"weight": 0.1, "top_k": 20, "temperature": 9.0}),
        ("ranking-only", {"weight": 1.0, "top_k": 20, "temperature": 9.0}),
    ]
    assert [t.overrides for t in found[2:]] == [{"method.weight": 0.1}, {"method.weight": 1.0}]
    assert len(resolve(Selection(**axes), workspace).trials) == 3  # a run does not search

    both = Selection(**axes, overrides=["method.weight=7"])
    with pytest.raises(ConfigError, match=r"method\.weight: is what is searched of ranking-only"):
        resolve(both, workspace, search=Search())


def test_another_protocol_is_no_part_of_one(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'protocol\.name'"):
        trials(workspace, overrides=["protocol.name=timepoint"])
