"""YAML layers and overrides."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PositiveInt

from bench import layers
from bench.errors import ConfigError, UnknownNameError
from bench.paths import SHIPPED, Workspace
from bench.students import properties
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: PositiveInt = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner = Inner()
    maybe: Inner | None = None
    name: str


def put(workspace: Workspace, kind: str, name: str, text: str) -> Path:
    path = workspace.home / "configs" / kind / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_the_users_file_is_stronger_than_the_shipped_one(workspace: Workspace) -> None:
    shipped = layers.read("students", "sasrec", workspace)
    assert shipped["model"] == "SASRec"
    mine = put(workspace, "students", "sasrec", "model: Mine\n")
    assert layers.locate("students", "sasrec", workspace) == mine
    assert layers.read("students", "sasrec", workspace) == {"model": "Mine"}
    put(workspace, "students", "another", "model: Another\n")
    assert {"another", "gru4rec", "sasrec"} <= set(layers.names("students", workspace))


def test_a_file_that_is_like_another_says_only_what_differs(workspace: Workspace) -> None:
    put(workspace, "teachers", "one", "name: one\ninner: {width: 3}\nmaybe: {width: 4}\n")
    put(workspace, "teachers", "two", "like: one\nname: two\nmaybe: {width: 5}\n")
    put(workspace, "teachers", "three", "like: two\ninner: {width: 6}\n")
    two = layers.load(Outer, "teachers", "two", workspace)
    assert two == Outer(name="two", inner=Inner(width=3), maybe=Inner(width=5))
    assert layers.read("teachers", "three", workspace) == {
        "name": "two", "inner": {"width": 6}, "maybe": {"width": 5},
    }  # fmt: skip
    with pytest.raises(UnknownNameError, match="unknown teacher 'fuor'"):
        put(workspace, "teachers", "two", "like: fuor\n")
        layers.read("teachers", "three", workspace)
    for text in ("like: three\n", "like: two\n", "like: [one]\n", "like: 3\n"):
        path = put(workspace, "teachers", "two", text)
        with pytest.raises(ConfigError, match=f"^{path}: 'like: .*the name of another file"):
            layers.read("teachers", "three", workspace)


def test_a_file_is_loaded_as_a_model_and_its_mistakes_name_it(workspace: Workspace) -> None:
    path = put(workspace, "students", "mine", "name: mine\ninner: {width: 3}\n")
    assert layers.load(Outer, "students", "mine", workspace).inner.width == 3
    path.write_text("name: mine\ninner: {widht: 3}\n")
    with pytest.raises(ConfigError, match=f"^{path}: unknown key 'inner.widht'"):
        layers.load(Outer, "students", "mine", workspace)
    with pytest.raises(UnknownNameError, match=r"unknown student 'mime'. Did you mean 'mine'"):
        layers.load(Outer, "students", "mime", workspace)


def test_an_unknown_name_offers_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown student 'sasrek'. Did you mean 'sasrec'"):
        layers.read("students", "sasrek", workspace)


@pytest.mark.parametrize("name", ["../students/sasrec", "", "*"])
def test_a_name_is_no_path(workspace: Workspace, name: str) -> None:
    with pytest.raises(UnknownNameError):
        layers.read("teachers", name, workspace)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "line 2: key 'a' is written twice"),
        ("a:\n  b: 1\n  b: 2\n", "line 3: key 'b' is written twice"),
        ("a: [1\n", "line 2"),
        ("- 1\n", "a mapping"),
        ("1: 2\n", "a mapping"),
        ("a: {{x}}\n", "line 1: found unhashable key"),
        ("a: {? [b] : 1}\n", "line 1: found unhashable key"),
        ("a: {b: [1, .nan]}\n", "'a.b' must be a finite number (given: nan)"),
        ("a: {b: 1e400}\n", "'a.b' must be a finite number (given: inf)"),
        ("a: -inf\n", "'a' must be a finite number (given: -inf)"),
        (f"a: {'9' * 5000}\n", "line 1: no whole number"),
        ("a: !!int 9:20\n", "line 1: no whole number"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_a_broken_file_is_named_with_its_line(workspace: Workspace, text: str, says: str) -> None:
    path = put(workspace, "suites", "broken", text)
    with pytest.raises(ConfigError) as caught:
        layers.read("suites", "broken", workspace)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


def test_a_truth_value_is_no_number() -> None:
    for settings, path in (
        ({"batch_size": True}, "batch_size"),
        ({"learning_rate": True}, "learning_rate"),
    ):
        with pytest.raises(ConfigError, match=f"x: '{path}': a number is expected"):
            layers.build(TrainingConfig, settings, "x")
    with pytest.raises(ConfigError, match=r"'inner.width': a number is expected \(given: True\)"):
        layers.build(Outer, {"name": "n", "inner": {"width": True}}, "x")
    assert layers.build(TrainingConfig, {"batch_size": 512.0}, "x").batch_size == 512
    with pytest.raises(ConfigError, match=r"student\.hidden_size: True in place of such as 64"):
        properties.check(StudentConfig(model="SASRec", parameters={"hidden_size": True}))


def test_an_empty_file_is_an_empty_mapping(workspace: Workspace) -> None:
    put(workspace, "suites", "empty", "# nothing\n")
    assert layers.read("suites", "empty", workspace) == {}


def test_every_shipped_file_can_be_read() -> None:
    for path in (SHIPPED / "configs").rglob("*.yaml"):
        layers.load_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=1e-3", 0.001),
        ("a=1E5", 1e5),
        ("a=.5e1", 5.0),
        ("a=0512", 512),
        ("a=+08", 8),
        ("a=-0.10", -0.1),
        ("a=0o17", 15),
        ("a=0x1F", 31),
        ("a=9:20", "9:20"),
        ("a=0b11", "0b11"),
        ("a=1_000", "1_000"),
        ("a=2018-01-01", "2018-01-01"),
        ("a=on", "on"),
        ("a=No", "No"),
        ("a=true", True),
        ("a=null", None),
        ("a=", None),
        ("a=text", "text"),
        ("a='1'", "1"),
        ("a=[1, 2e-1, x]", [1, 0.2, "x"]),
        ("a=b=c", "b=c"),
    ],
)
def test_values_of_overrides(text: str, value: Any) -> None:
    assert layers.parse_override(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=1", "a.=1", ".a=1", "a..b=1", "a={b: 1}", "a=[", "a=[{}]"])
def test_overrides_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        layers.parse_override(text)


@pytest.mark.parametrize(
    "value", ["inf", "-.inf", ".nan", "nan", "'Infinity'", "1e400", "[1, .inf]"]
)
def test_an_override_is_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=r"--set a\.b=.*: 'a\.b' must be a finite number"):
        layers.parse_override(f"a.b={value}")


# PyYAML writes the text "1e5" without quotes, since it would not read it as a number: no digits.
# A text that Python would read as infinity is refused (the test above).
texts = st.text(st.characters(exclude_categories=["N", "C"])).filter(
    lambda text: text.strip(" +-").lower() not in {"inf", "infinity", "nan"}
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)


@given(scalars | st.lists(scalars, max_size=3))
def test_what_yaml_writes_an_override_reads(value: Any) -> None:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n")
    assert layers.parse_override(f"key={text}") == ("key", value)


names = st.text("abcxyz_", min_size=1, max_size=3)
trees = st.recursive(
    st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
).filter(lambda tree: isinstance(tree, dict))


@given(trees, st.lists(names, min_size=1, max_size=3), st.integers(-(2**63), 2**63 - 1))
def test_an_override_sets_its_key_and_nothing_else(
    tree: dict[str, Any], path: list[str], value: int
) -> None:
    before = repr(tree)
    try:
        result = layers.merge(tree)
        layers.place(result, ".".join(path), value)
    except ConfigError:
        # A part of the path is a value, which an override must not swallow.
        node: Any = tree
        for part in path[:-1]:
            node = node.get(part, {}) if isinstance(node, dict) else node
        assert not isinstance(node, dict)
        return
    finally:
        assert repr(tree) == before
    node, original = result, tree
    for part in path[:-1]:
        others = {k: v for k, v in node.items() if k != part}
        assert others == {k: v for k, v in original.items() if k != part}
        node, original = node[part], original.get(part, {})
    assert node == {**original, path[-1]: value}


@given(trees, trees)
def test_merging(below: dict[str, Any], above: dict[str, Any]) -> None:
    assert layers.merge(below, {}) == below
    assert layers.merge({}, above) == above
    merged = layers.merge(below, above)
    assert merged.keys() == below.keys() | above.keys()
    assert layers.merge(merged, above) == merged


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (
            {"name": "x", "inner": {"widht": 2}},
            "here: unknown key 'inner.widht'. Did you mean 'width'? Allowed: width",
        ),
        (
            {"name": "x", "maybe": {"widht": 2}},
            "here: unknown key 'maybe.widht'. Did you mean 'width'? Allowed: width",
        ),
        (
            {"nam": "x", "name": "y"},
            "here: unknown key 'nam'. Did you mean 'name'? Allowed: inner, maybe, name",
        ),
        ({}, "here: key 'name' is missing"),
        (
            {"name": "x", "inner": {"width": "wide"}},
            "here: 'inner.width': Input should be a valid integer",
        ),
        ({"name": "x", "inner": {"width": 0}}, "greater than 0 (given: 0)"),
    ],
)
def test_a_mistake_says_where_and_what_is_allowed(mapping: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        layers.build(Outer, mapping, "here")
    assert says in str(caught.value)


def test_a_mistake_of_the_whole_names_no_key() -> None:
    with pytest.raises(ConfigError) as caught:
        layers.build(TrainingConfig, {"max_epochs": 3, "min_epochs": 8}, "here")
    assert str(caught.value) == "here: min_epochs (8) exceeds max_epochs (3)"


def test_the_metric_that_chooses_is_one_that_is_computed() -> None:
    assert TrainingConfig(select=" NDCG@20") == TrainingConfig(select="ndcg@20")
    with pytest.raises(ConfigError) as caught:
        layers.build(TrainingConfig, {"select": "ndcg@7"}, "here")
    assert "here: 'select': unknown metric 'ndcg@7'. Did you mean 'ndcg@" in str(caught.value)


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        layers.build(Outer, {"inner": {"width": 0}, "zzz": 1}, "here")
    assert len(str(caught.value).splitlines()) == 3


def test_flat_values_stand_under_dotted_keys_and_an_empty_mapping_is_one() -> None:
    nested = {"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 2}], "g": {}}
    assert layers.flat(nested) == {"a.b.c": 1, "a.d": {}, "e": [{"f": 2}], "g": {}}
