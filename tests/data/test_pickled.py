"""Pickled tables: read whatever version of pandas wrote them, and nothing in them is run."""

from __future__ import annotations

import builtins
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.sources.pickled import read_pickled
from bench.errors import DataError

PICKLES = Path(__file__).parent / "pickles"
ROWS = {"seq": [[3, 1, 4], [1, 4, 4]], "len_seq": [2, 1], "next": [0, 2]}


def written(folder: Path, content: object, protocol: int = 5) -> Path:
    path = folder / "table.df"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("name", ["pandas-1.5.3-protocol-2", "pandas-1.5.3", "pandas-2.2.3"])
def test_other_versions_of_pandas_are_read(name):
    assert read_pickled(PICKLES / f"{name}.df") == ROWS


def test_texts_without_arrow_are_read():
    found = read_pickled(PICKLES / "pandas-3.1.1-without-arrow.df")
    assert found == {"seq": ["[3, 1]", "[1]"], "next": [0.0, 2.0]}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_this_version_of_pandas_is_read(tmp_path, protocol):
    columns = {
        **ROWS,
        "text": ["é", ""],
        "flag": [True, False],
        "number": np.array([1.5, np.inf], dtype=np.float32),
        "array": [np.array([1, 2]), np.array([], dtype=np.int64)],
        "scalar": pd.Series([np.int64(7), None], index=[9, 3], dtype=object),
    }
    path = written(tmp_path, pd.DataFrame(columns, index=[9, 3]), protocol)
    assert read_pickled(path) == {
        **columns,
        "number": [1.5, np.inf],
        "array": [[1, 2], []],
        "scalar": [7, None],
    }


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.booleans()), min_size=1
    )
)
def test_any_plain_table_comes_back(tmp_path_factory, rows):
    frame = pd.DataFrame(rows, columns=["number", "text", "flag"])
    found = read_pickled(written(tmp_path_factory.mktemp("any"), frame))
    assert list(zip(*found.values(), strict=True)) == rows


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def frame_with(trap: object) -> pd.DataFrame:
    return pd.DataFrame({"seq": pd.Series([trap], dtype=object)})


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a table"])
@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.mkdir, ["{mark}"], "mkdir"),
        (builtins.eval, ["__import__('os').mkdir('{mark}')"], "eval"),
        (builtins.getattr, ["text", "upper"], "getattr"),
        (pd.eval, ["1"], "eval"),
        (pd.read_pickle, ["{mark}"], "read_pickle"),
    ],
    ids=["os", "eval", "getattr", "pandas eval", "read_pickle"],
)
def test_a_malicious_pickle_is_refused_and_not_run(
    tmp_path, inside, protocol, function, arguments, name
):
    mark = tmp_path / "mark"
    trap = Call(function, *(a.format(mark=mark) for a in arguments))
    path = written(tmp_path, frame_with(trap) if inside else trap, protocol)
    with pytest.raises(DataError, match=rf"names '.*{name}', which is no part of a plain table"):
        read_pickled(path)
    assert not mark.exists()
    if function is os.mkdir:
        pickle.loads(path.read_bytes())  # noqa: S301 - the trap is one
        assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps([1, 2]),
        pickle.dumps(pd.Series([1, 2])),
        pickle.dumps(pd.DataFrame({"x": [{"a": 1}]})),
        pickle.dumps(pd.DataFrame({"x": [[[1]]]})),
        pickle.dumps(pd.DataFrame({"x": []})),
        pickle.dumps(np.arange(3)),
        pickle.dumps(Call(bytearray, 10**15)),
        pickle.dumps(Call(np.dtype, "i8")),
        b"",
        b"no pickle",
        b"\x80\x05\x96" + (2**60).to_bytes(8, "little"),
    ],
    ids=[
        *("list", "series", "dict cell", "nested cell", "empty"),
        *("array", "huge", "dtype", "nothing", "text", "huge bytes"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "table.df"
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"table\.df: (damaged, or no table|names '.*(Series|array)')"
    ):
        read_pickled(path)


def test_classes_of_this_process_stay_as_they_are(tmp_path):
    push = b"\x80\x04cpandas\nDataFrame\n"
    path = tmp_path / "table.df"
    path.write_bytes(push + b"N}\x8c\x05emptyI01\ns\x86b.")
    with pytest.raises(DataError, match=r"names 'attributes of <class 'pandas.DataFrame'>'"):
        read_pickled(path)
    assert pd.DataFrame({"x": [1]}).empty is False


def test_every_cut_is_noticed(tmp_path):
    whole = pickle.dumps(pd.DataFrame(ROWS))
    path = tmp_path / "table.df"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_pickled(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.df: cannot be read: No such file"):
        read_pickled(tmp_path / "gone.df")
