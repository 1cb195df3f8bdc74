"""Trials: keys and seeds depend on what changes the result, and on nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan
from bench.data.config import DataIdentity, Seen
from bench.execution.references import of_trials
from bench.plan import Reference, Trial, TrialSpec, derive_seed, digest
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig


def make(**changes: Any) -> Trial:
    fields: dict[str, Any] = {
        "dataset": "game",
        "protocol": "temporal-10",
        "data_fingerprint": "data",
        "student": "sasrec",
        "student_config": StudentConfig(model="SASRec", parameters={"hidden_size": 64}),
        "training": TrainingConfig(),
        "method": "dllm2rec",
        "method_settings": {"ranking": {"weight": 0.5}},
        "method_code": "code",
        "teacher": "text",
        "teacher_fingerprint": "teacher",
        "seed": 0,
    }
    return Trial(**{**fields, **changes})


def test_a_key_is_what_it_was() -> None:
    # A change of this constant makes every record on every disk run again: then raise
    # RESULTS_VERSION and say so in the change log.
    assert make(training=TrainingConfig(**GOLDEN_TRAINING)).key == GOLDEN_KEY


GOLDEN_TRAINING: dict[str, Any] = {
    "objective": "ce",
    "learning_rate": 0.001,
    "batch_size": 512,
    "weight_decay": 0.0,
    "max_epochs": 100,
    "min_epochs": 8,
    "patience": 5,
    "select": "ndcg@20",
    "selection": "validation",
    "dros_weight": 0.5,
    "dros_temperature": 1.0,
}
GOLDEN_KEY = "05c30830feca7cb3d64baca181f8cdcb26e2f0e1fe6237e8e94e51fb78a01142"


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "other"},
        {"protocol": "temporal-20"},
        {"data_fingerprint": "other"},
        {"student": "other"},
        {"student_config": StudentConfig(model="SASRec", parameters={"hidden_size": 32})},
        {"student_config": StudentConfig(model="GRU4Rec", parameters={"hidden_size": 64})},
        {"training": TrainingConfig(learning_rate=0.002)},
        {"training": TrainingConfig(objective="bce")},
        {"training": TrainingConfig(positions="all")},
        {"training": TrainingConfig(checkpointing=True)},
        {"training": TrainingConfig(precision="bf16")},
        {"training": TrainingConfig(cuda_graphs=True)},
        {"method": "other"},
        {"variant": "paper"},
        {"method_settings": {"ranking": {"weight": 0.6}}},
        {"method_settings": {}},
        {"method_code": "other"},
        {"teacher": "other"},
        {"control": "shuffled"},
        {"teacher_fingerprint": "other"},
        {"seed": 1},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_changes_the_result_changes_the_key(change: dict[str, Any]) -> None:
    assert make(**change).key != make().key


def test_a_new_version_of_the_suite_changes_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make().key
    monkeypatch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION + 1)
    assert make().key != before


def test_how_a_value_was_written_does_not_change_the_key() -> None:
    assert make(overrides={"method.ranking.weight": 0.5}).key == make().key
    whole, fraction = {"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}
    assert make(method_settings=whole).key == make(method_settings=fraction).key
    assert make(method_settings={"a": True}).key != make(method_settings={"a": 1}).key


def test_a_key_survives_the_file() -> None:
    trial = make(method_settings={"a": 0.1, "b": [1, 2.5], "c": None, "d": "x"})
    assert Trial.model_validate_json(trial.model_dump_json()).key == trial.key


@pytest.mark.parametrize("unknown", ["data_fingerprint", "teacher_fingerprint"])
def test_without_data_or_teacher_there_is_no_trial(unknown: str) -> None:
    with pytest.raises(ValueError, match=unknown):
        make(**{unknown: None})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_the_order_of_settings_does_not_matter(settings: dict[str, Any]) -> None:
    turned = dict(reversed(settings.items()))
    assert digest(settings) == digest(turned)


def test_a_digest_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})


def test_all_methods_of_a_setting_share_their_seeds() -> None:
    trial = make()
    others = [
        make(method="none", teacher=None, teacher_fingerprint=None, method_settings={}),
        make(control="shuffled"),
        make(data_fingerprint="rebuilt"),
        make(training=TrainingConfig(learning_rate=0.1)),
        make(training=TrainingConfig(positions="all")),
    ]
    for other in others:
        assert derive_seed(other, "student") == derive_seed(trial, "student")


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "other"},
        {"protocol": "leave-one-out-10"},
        {"student": "other"},
        {"training": TrainingConfig(objective="bce")},
        {"seed": 1},
    ],
    ids=lambda change: "-".join(change),
)
def test_every_setting_has_seeds_of_its_own(change: dict[str, Any]) -> None:
    assert derive_seed(make(**change), "student") != derive_seed(make(), "student")


def test_every_purpose_has_a_seed_of_its_own() -> None:
    seeds = [derive_seed(make(), purpose) for purpose in ("student", "order", "negatives")]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(make(), "student") == GOLDEN_SEED


GOLDEN_SEED = 1_778_824_791_229_184_061


def spec_of(trial: Trial) -> TrialSpec:
    return TrialSpec.model_validate(trial.model_dump(include=set(TrialSpec.model_fields)))


def test_a_trial_is_known_by_its_data_and_its_teacher() -> None:
    taught, plain = make(), make(teacher=None, teacher_fingerprint=None)
    specs = [spec_of(taught), spec_of(plain)]
    data, teachers = ("game", "temporal-10"), ("game", "temporal-10", "text")
    there = {data: DataIdentity("data", "mask")}
    assert plan.identify(specs, {}, {}) == [None, None]
    assert plan.identify(specs, there, {}) == [None, plain]
    assert plan.identify(specs, there, {teachers: "teacher"}) == [taught, plain]
    assert plan.identify(specs, {data: None}, {teachers: "teacher"}) == [None, None]


@pytest.mark.parametrize("of_data", ["rank", "mask"])
def test_the_rule_for_seen_items_is_that_of_the_data_where_nobody_says_another(
    of_data: Seen,
) -> None:
    """The key of a trial is the same whether its rule was chosen or found."""
    data, there = ("game", "temporal-10"), {("game", "temporal-10"): DataIdentity("data", of_data)}
    plain = make(teacher=None, teacher_fingerprint=None)
    assert plain.data_name == data

    def found(seen: str) -> str:
        (trial,) = plan.identify([spec_of(plain).model_copy(update={"seen": seen})], there, {})
        assert trial is not None
        return trial.key

    assert found("auto") == found(of_data)
    assert found("rank") == plain.key != found("mask")


def test_references_are_baselines_and_the_teachers_of_each_setting() -> None:
    trials = [make(seed=seed, student=student) for seed in (0, 1) for student in ("a", "b")]
    trials += [make(dataset="other", teacher=None, teacher_fingerprint=None)]
    found = of_trials(trials)
    baselines = ["ease", "item-knn", "l3ae", "markov", "popularity"]
    assert [(one.dataset, one.name) for one in found] == [
        *(("game", name) for name in [*baselines, "teacher:text"]),
        *(("other", name) for name in baselines),
    ]
    assert len({one.key for one in found}) == len(found)


def test_a_baseline_of_others_is_another_reference_when_its_code_changes() -> None:
    fields = {"dataset": "d", "protocol": "p", "name": "theirs", "data_fingerprint": "f"}
    assert len({Reference(code=code, **fields).key for code in (None, "a", "b")}) == 3


def test_the_key_of_a_reference_is_what_it_was() -> None:
    """Records of before are found by it."""
    fields = {"dataset": "game", "protocol": "temporal-10", "name": "item-knn"}
    data = "789b7abe2f7a4e330b8a6104a83a2b0a4e6c91d097f65fedd3f222103b434fdc"
    key = "8758e83d66116e2f02edf95e6cff1f8d5dc90d604112a8ffcb9a656cf67f62f6"
    assert Reference(data_fingerprint=data, **fields).key == key


def test_a_rebuilt_teacher_is_another_reference() -> None:
    fields = {"dataset": "d", "protocol": "p", "name": "teacher:t", "data_fingerprint": "f"}
    keys = {Reference(teacher_fingerprint=f, **fields).key for f in ("a", "b")}
    assert len(keys) == 2
