"""Tables that users bring: read as they are meant, refused with one clear message."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.data import command
from bench.data import store
from bench.data.config import Filters, dataset_config, dataset_names
from bench.data.prepare import filters, interactions
from bench.data.sources import importing
from bench.data.sources.importing import LAYOUTS, Tables, locate, parse_columns, tables_at
from bench.data.sources.movielens import read_movielens
from bench.data.sources.tables import read_table
from bench.errors import ConfigError, DataError, UnknownNameError
from bench.paths import Workspace

ITEMS = 'item_id\ttitle\nx\tTom &amp; Jerry\ny\tA "quoted" word\nz\t\n'
LOG = "user_id\titem_id\ttimestamp\n" + "".join(
    f"{user}\t{item}\t{time}\n" for user in "abc" for time, item in enumerate("xyzxy")
)


def write(folder: Path, log: str = LOG, items: str | None = ITEMS, name: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / (name or "interactions.tsv")).write_text(log, encoding="utf-8")
    if items is not None:
        (folder / "items.tsv").write_text(items, encoding="utf-8")
    return folder


def zst(text: str) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return sink.getvalue().to_pybytes()


def read(folder: Path, **options):
    return importing.read(Tables(*locate(folder), **options))


def test_titles_are_decoded_and_stray_quotes_kept(tmp_path):
    data = read(write(tmp_path / "shop"))
    assert dict(zip(data.item_tokens, data.item_texts, strict=True)) == {
        "x": "Tom & Jerry",
        "y": 'A "quoted" word',
        "z": "",
    }
    assert (len(data), data.user_tokens) == (15, ["a", "b", "c"])


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tsv.gz", "csv.zst", "parquet", "inter"])
def test_every_format_gives_the_same_data(tmp_path, form):
    reference = read(write(tmp_path / "tsv"))
    folder = write(tmp_path / "other")
    (folder / "interactions.tsv").unlink()
    frame = pd.DataFrame(
        [line.split("\t") for line in LOG.splitlines()[1:]],
        columns=["userId", "item_id:token", "timestamp:float"],
    )
    frame["timestamp:float"] = frame["timestamp:float"].astype(float)
    path = folder / f"interactions.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    elif form == "csv.zst":
        path.write_bytes(zst(frame.to_csv(index=False)))
    else:
        frame.to_csv(path, sep="," if "csv" in form else "\t", index=False)
    assert read(folder).fingerprint == reference.fingerprint


def test_dates_order_as_numbers_do(tmp_path):
    dates = LOG.splitlines()[:1] + [
        f"{user}\t{item}\t2020-01-0{int(time) + 1}T00:00:00Z"
        for user, item, time in (line.split("\t") for line in LOG.splitlines()[1:])
    ]
    one = read(write(tmp_path / "numbers"))
    other = read(write(tmp_path / "dates", "\n".join(dates)))
    assert (one.item == other.item).all() and (one.user == other.user).all()
    assert other.time is not None and other.time[1] - other.time[0] == 86_400 * 10**6


def test_large_whole_times_are_not_rounded(tmp_path):
    log = "user,item,time\na,x,881250949000000001\na,y,881250949000000002\n"
    data = read(write(tmp_path / "shop", log, None, "interactions.csv"))
    assert data.time is not None
    assert data.time.tolist() == [881250949000000001, 881250949000000002]


@pytest.mark.parametrize(
    ("times", "since", "until"),
    [
        (["1400000000", "1400030000.5", "1400060000", "1400090000"], 1400030000, 1400060001),
        (["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], 1577923200, 1578009601),
        (["10", "20", "30", "40"], 20, 31),
    ],
    ids=["fractions", "dates", "whole"],
)
def test_a_period_is_in_the_unit_of_the_column(tmp_path, times, since, until):
    rows = "".join(f"a,{item},{time}\n" for item, time in zip("wxyz", times, strict=True))
    data = read(write(tmp_path / "shop", "user,item,time\n" + rows, None, "interactions.csv"))
    assert filters.apply(data, Filters(since=since)).item_tokens == ["x", "y", "z"]
    assert filters.apply(data, Filters(until=until)).item_tokens == ["w", "x", "y"]


def test_a_source_of_before_there_were_scales_stays_as_it_is(tmp_path):
    log = LOG.replace("\t0\n", "\t0.5\n")
    assert bench_data("import", "shop", write(tmp_path / "shop", log)).exit_code == 0
    workspace = Workspace.current()
    slug = dataset_config("shop", workspace).protocol.slug
    scaled = store.about("shop", slug, workspace)
    source = workspace.datasets / "shop" / "source"
    assert interactions.load(source).time_scale == 10**6
    content = json.loads((source / "source.json").read_text())
    del content["time_scale"]
    (source / "source.json").write_text(json.dumps(content))
    assert interactions.load(source).time_scale == 1
    assert store.identity("shop", slug, workspace) is None, "filters would keep other rows"
    bench_data("prepare", "shop")
    older = store.about("shop", slug, workspace)
    assert older["made_from"]["source"] == content["fingerprint"]
    assert older["fingerprint"] == scaled["fingerprint"]
    assert bench_data("import", "shop", tmp_path / "shop").exit_code == 0, "the data are the same"
    assert interactions.load(source).time_scale == 10**6


def test_an_index_that_parquet_keeps_is_columns_if_it_has_a_name(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"user": list("abc"), "item": list("xyz"), "time": [3, 1, 2]})
    plain = frame.astype(str).to_dict("list")
    path = tmp_path / "t.parquet"
    for indexed in (
        frame,
        frame.set_index("user"),
        frame.set_index(["user", "item"]),
        frame.set_index("user", append=True),
        frame.set_index(pd.Index([7, 7, 7])),
        frame.set_index("user", drop=False),
    ):
        indexed.to_parquet(path)
        found = read_table(path)
        assert {name: found[name].tolist() for name in found.columns} == plain
        assert found.index.tolist() == [1, 2, 3], "the numbers of the rows"


def test_columns_can_be_named(tmp_path):
    log = LOG.replace("user_id\titem_id\ttimestamp", "who\twhat\twhen")
    items = "what\tcalled\tabout\nx\tOne\tfirst\ny\tTwo\t\nz\tThree\tthird\n"
    data = read(
        write(tmp_path / "shop", log, items),
        columns={"user": "who", "item": "what", "time": "when", "title": "called"},
        texts=["about"],
    )
    assert data.item_texts == ["One. first", "Two", "Three. third"]


BAD_LOGS = {
    "no user column": (LOG.replace("user_id", "who"), "no column for the user.*--column user=NAME"),
    "no order": ("user\titem\na\tx\n", "no column for the time"),
    "empty": ("", "is empty"),
    "header only": ("user\titem\ttime\n", "a header but no rows"),
    "no time": (LOG + "a\tx\tyesterday\n", "row 16: 'yesterday' is not a number"),
    "missing time": (LOG + "a\tx\t\n", "row 16: '' is not a number"),
    "infinite time": (LOG + "a\tx\tinf\n", "row 16: 'inf' is not a number"),
    "half a date": ("user\titem\ttime\na\tx\t2020-13-45\n", "is not an ISO 8601 time"),
    "one date": (LOG + "a\tx\t2020-01-01\n", "row 16: '2020-01-01' is not a time like .*1 such"),
    "split label": (
        "user\titem\ttime\tsplit\na\tx\t1\ttrain\na\ty\t2\ttrian\n",
        "unknown split labels: 'trian'.*Allowed: train, valid, test, history",
    ),
    "column twice": ("user\titem\ttime\tuser:token\na\tx\t1\tb\n", "column 'user' stands twice"),
}


@pytest.mark.parametrize(("log", "message"), BAD_LOGS.values(), ids=BAD_LOGS.keys())
def test_bad_interactions_are_refused(tmp_path, log, message):
    folder = write(tmp_path / "shop", log)
    with pytest.raises(DataError, match=r"interactions\.tsv.*" + message):
        read(folder)


BAD_ITEMS = {
    "twice": (ITEMS + "x\tAgain\n", "item 'x' stands more than once"),
    "no title": ("item_id\tprice\nx\t1\n", "no column for the title"),
    "no id": ("key\ttitle\nx\tOne\n", "no column for the item"),
}


@pytest.mark.parametrize(("items", "message"), BAD_ITEMS.values(), ids=BAD_ITEMS.keys())
def test_bad_items_are_refused(tmp_path, items, message):
    with pytest.raises(DataError, match=r"items\.tsv.*" + message):
        read(write(tmp_path / "shop", items=items))


def test_a_truncated_gzip_is_refused(tmp_path):
    whole = gzip.compress((LOG * 200).encode())
    folder = write(tmp_path / "shop")
    (folder / "interactions.tsv").unlink()
    (folder / "interactions.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut off"):
        read(folder)
    (folder / "interactions.tsv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="damaged or cut off"):
        read(folder)


def test_a_truncated_zst_is_refused(tmp_path):
    whole = zst(LOG * 20_000)
    folder = write(tmp_path / "shop")
    (folder / "interactions.tsv").unlink()
    (folder / "interactions.tsv.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"interactions\.tsv\.zst: damaged or cut off \(Truncated"):
        read(folder)


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "é", "10", "9"]),
        st.sampled_from(["x", "y", "z", "w"]),
        st.integers(0, 5),
        st.sampled_from(["1", "2.5"]),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=25)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(tmp_path_factory, table, random):
    """Nor does that of the columns, or of the items."""
    shuffled = random.sample(table, len(table))
    items = [*ITEMS.splitlines()[1:], "w\tFour"]
    folder = tmp_path_factory.mktemp("import")
    one = ["user,item,time,rating", *(f"{u},{i},{t},{r}" for u, i, t, r in table)]
    other = ["rating,time,item,user", *(f"{r},{t},{i},{u}" for u, i, t, r in shuffled)]
    head = ITEMS.splitlines()[:1]
    prints = {
        read(
            write(folder / name, "\n".join(log), "\n".join(head + titles), "interactions.csv")
        ).fingerprint
        for name, log, titles in (("one", one, items), ("other", other, items[::-1]))
    }
    assert len(prints) == 1


def test_the_order_of_the_file_orders_alone_or_breaks_ties(tmp_path):
    log = "user,item\na,y\nb,x\na,x\na,y\n"
    folder = write(tmp_path / "order", log, None, "interactions.csv")
    with pytest.raises(DataError, match=r"no column for the time.*--file-order"):
        read(folder)
    data = read(folder, file_order=True)
    assert [data.item_tokens[i] for i in data.item] == ["y", "x", "y", "x"]
    ties = "user,item,time\na,y,1\na,x,1\na,w,0\n"
    folder = write(tmp_path / "ties", ties, None, "interactions.csv")
    for options, order in (({}, ["w", "x", "y"]), ({"file_order": True}, ["w", "y", "x"])):
        found = read(folder, **options)
        assert [found.item_tokens[i] for i in found.item] == order
    folder = write(tmp_path / "both", "user,item,position\na,y,1\n", None, "interactions.csv")
    with pytest.raises(DataError, match="column 'position' gives positions"):
        read(folder, file_order=True)


def test_columns_are_given_by_role():
    assert parse_columns(["user=who", "text=a=b", "text=c"]) == ({"user": "who"}, ["a=b", "c"])
    with pytest.raises(ConfigError, match="expected ROLE=NAME"):
        parse_columns(["who"])
    with pytest.raises(UnknownNameError, match="Did you mean 'user'"):
        parse_columns(["usr=who"])
    with pytest.raises(ConfigError, match="the user is column 'a' already"):
        parse_columns(["user=a", "user=b"])


def test_the_report_says_what_was_read_dropped_and_why(tmp_path):
    log = LOG.replace("timestamp", "timestamp\tcolour").replace("\n", "\tred\n")
    log = log.replace("colour\tred", "colour") + "\tx\t1\tred\na\tx\t0\tred\n"
    items = ITEMS + "\tno id\nq\tnever bought\n"
    assert read(write(tmp_path / "shop", log, items)).report == [
        "read 17 rows of interactions.tsv",
        "dropped 1 rows without user or item",
        "columns not used: colour",
        "read 5 rows of items.tsv",
        "dropped 1 items without id",
        "dropped 1 interactions that repeat another one exactly",
        "1 items of the item table have no interactions (they are ranked)",
    ]


def test_recboles_own_folder_is_read_as_it_is():
    recbole = pytest.importorskip("recbole")
    folder = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    data, own = importing.read(tables_at(folder)), read_movielens()
    for name in ("user", "item", "time", "rating"):
        assert (getattr(data, name) == getattr(own, name)).all(), name
    assert data.item_texts[data.item_tokens.index("38")] == "Net, The"


def test_folders_without_one_table_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        locate(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no table of interactions"):
        locate(tmp_path)
    write(tmp_path, name="ratings.csv")
    write(tmp_path)
    with pytest.raises(DataError, match=r"several tables.*interactions\.tsv, ratings\.csv"):
        locate(tmp_path)
    (tmp_path / "notes.docx").touch()
    with pytest.raises(DataError, match="unknown kind of table"):
        importing.read(Tables(tmp_path / "notes.docx", None))


def bench_data(*arguments: object):
    return CliRunner().invoke(
        command, [str(argument) for argument in arguments], catch_exceptions=False
    )


def test_a_new_name_becomes_a_dataset(tmp_path):
    folder = write(tmp_path / "files")
    result = bench_data("import", "my-shop", folder)
    assert result.exit_code == 0, result.output
    workspace = Workspace.current()
    assert "my-shop" in dataset_names(workspace)
    config = dataset_config("my-shop", workspace)
    data = store.load("my-shop", config.protocol.slug, workspace)
    assert (data.n_users, data.n_items, data.dataset) == (3, 3, "my-shop")
    described = bench_data("info", "my-shop", "--protocol", "leave-one-out").stdout
    assert "leave-one-out-10" in described


def test_columns_and_layouts_are_given_on_the_command_line(tmp_path):
    write(tmp_path / "files", LOG.replace("user_id", "who"))
    items = tmp_path / "files" / "items.tsv"
    items.write_text("item_id\tcalled\tabout\nx\tOne\tfirst\n")
    columns = ("--column", "user=who", "--column", "title=called", "--column", "text=about")
    assert bench_data("import", "shop", tmp_path / "files", *columns).exit_code == 0
    data = store.load("shop", "temporal-10-from1", Workspace.current())
    assert data.item_texts == ["One. first", "", ""]
    lines = tmp_path / "lines.txt"
    lines.write_text("u x y x y\nv z y x\n")
    result = bench_data("import", "lines", lines, "--layout", "user-sequences")
    assert "lines under leave-one-out-10" in result.stdout
    option = next(o for o in command.commands["import"].params if o.name == "layout")
    assert list(option.type.choices) == list(LAYOUTS)


def test_a_protocol_is_chosen_part_by_part(tmp_path):
    bench_data("import", "shop", write(tmp_path / "files"))
    result = bench_data(
        *("info", "shop", "--protocol", "leave-one-out", "--set", "protocol.filters.until=4")
    )
    assert "shop under leave-one-out-10-until4" in result.stdout
    assert "filters dropped 3 interactions" in result.stdout
    with pytest.raises(ConfigError, match=r"Did you mean 'protocol\.history'"):
        bench_data("info", "shop", "--set", "protocol.histori=3")
    with pytest.raises(ConfigError, match="do not concern leave-one-out"):
        bench_data(
            *("info", "shop", "--protocol", "leave-one-out", "--set", "protocol.test_share=0.2")
        )


def test_a_name_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be the name"):
        bench_data("import", "../elsewhere", write(tmp_path / "files"))


def test_a_failed_import_leaves_the_earlier_one(tmp_path):
    folder = write(tmp_path / "files")
    bench_data("import", "my-shop", folder)
    before = bench_data("info", "my-shop", "--format", "json").stdout
    write(folder, LOG + "a\tx\tyesterday\n")
    with pytest.raises(DataError):
        bench_data("import", "my-shop", folder)
    assert bench_data("info", "my-shop", "--format", "json").stdout == before


def test_another_import_outdates_the_rows(tmp_path):
    folder = write(tmp_path / "files")
    bench_data("import", "my-shop", folder)
    workspace = Workspace.current()
    slug = dataset_config("my-shop", workspace).protocol.slug
    before = store.identity("my-shop", slug, workspace)
    log = LOG + "a\tz\t9\n"
    data = read(write(folder, log))
    with pytest.raises(DataError, match=r"other interactions already.*give --force"):
        importing.store("my-shop", data, workspace)
    assert store.identity("my-shop", slug, workspace) == before
    importing.store("my-shop", data, workspace, force=True)
    assert store.identity("my-shop", slug, workspace) is None
    with pytest.raises(DataError, match="bench data prepare my-shop"):
        store.load("my-shop", slug, workspace)
    bench_data("prepare", "my-shop")
    assert store.identity("my-shop", slug, workspace) not in (None, before)


def test_what_cannot_be_split_replaces_nothing(tmp_path):
    bench_data("import", "my-shop", write(tmp_path / "files"))
    workspace = Workspace.current()
    before = json.loads((workspace.datasets / "my-shop/source/source.json").read_text())
    few = read(write(tmp_path / "few", "user\titem\ttime\na\tx\t1\na\ty\t2\n"))
    for name in ("my-shop", "new"):
        with pytest.raises(DataError, match="leaves no"):
            importing.store(name, few, workspace, force=True)
    assert json.loads((workspace.datasets / "my-shop/source/source.json").read_text()) == before
    assert not (workspace.datasets / "new").exists()


def configure(name: str, content: str) -> None:
    folder = Workspace.current().home / "configs" / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(content)


def test_what_the_protocols_own_filters_leave_nothing_of_replaces_nothing(tmp_path):
    protocol = "{name: temporal, first_target: 1, filters: {user_core: 5, item_core: 3}}"
    configure("shop", f"protocol: {protocol}\n")
    assert bench_data("import", "shop", write(tmp_path / "files")).exit_code == 0
    source = Workspace.current().datasets / "shop" / "source" / "source.json"
    before = source.read_text()
    few = write(tmp_path / "few", "".join(LOG.splitlines(keepends=True)[:5]))
    with pytest.raises(DataError, match="the filters leave no interactions"):
        bench_data("import", "shop", few, "--force")
    assert source.read_text() == before


def test_a_core_that_the_protocol_turns_off_refuses_no_import(tmp_path):
    configure(
        "shop",
        "filters: {user_core: 9}\n"
        "protocol: {name: temporal, first_target: 1, filters: {user_core: 0}}\n",
    )
    result = bench_data("import", "shop", write(tmp_path / "files"))
    assert result.exit_code == 0, result.output


def test_a_copy_is_checked_under_the_protocol_that_is_asked_for(tmp_path):
    without_time = write(tmp_path / "files", LOG.replace("timestamp", "position"))
    with pytest.raises(DataError, match="'leave-one-out' does not"):
        bench_data("import", "beauty-2014", without_time, "--replace-shipped")
    configure("shop", "protocol: {name: temporal}\nfilters: {user_core: 2}\n")
    for name in ("beauty-2014", "shop"):
        options = ("--replace-shipped", "--protocol", "leave-one-out")
        result = bench_data("import", name, without_time, *options)
        assert result.exit_code == 0, result.output
        assert f"{name} under leave-one-out-10" in result.output


def test_games_have_the_published_split(games):
    data = read(games)
    assert (len(data.user_tokens), len(data.item_tokens), len(data)) == (50_546, 16_859, 452_989)
    importing.store("game", data, Workspace.current(), replace_shipped=True)
    config = dataset_config("game", Workspace.current())
    rows = store.prepare("game", config, config.protocol, Workspace.current())
    assert [len(t) for t in (rows.train, rows.valid, rows.test)] == [106_860, 14_384, 14_369]
    assert all(rows.item_texts)
    counts = rows.target_counts()[rows.test.target]
    assert round((counts == 0).mean(), 2) == 0.23


def test_labels_without_times_are_the_protocol_given_and_missing_texts_are_counted(tmp_path):
    header, *rows = LOG.replace("timestamp", "position").splitlines()
    labels = ["train", "train", "train", "valid", "test"] * 3
    lines = [f"{header}\tsplit", *(f"{r}\t{s}" for r, s in zip(rows, labels, strict=True))]
    shown = bench_data("import", "shop", write(tmp_path / "files", "\n".join(lines) + "\n"))
    assert "shop under given-10" in shown.output
    assert "1 of 3 items have no text" in shown.output
    shown = bench_data("info", "shop", "--protocol", "temporal")
    assert "the split is that of the source's labels, as in protocol given" in shown.output


def test_two_spellings_of_one_id_are_one(tmp_path):
    log = "user,item,time\n1.0,6.0,1\n1.0, 7.0,2\n2,6,3\n2 ,7,4\n"
    folder = write(tmp_path / "shop", log, "item_id\ttitle\n6\tSix\n7.0\tSeven\n", "inter.csv")
    data = read(folder)
    assert (data.user_tokens, data.item_tokens) == (["1", "2"], ["6", "7"])
    assert data.item_texts == ["Six", "Seven"]
    assert "ids of items are read as '6' where they are written '6.0'" in data.report
    assert "ids of items.tsv are read as '7' where they are written '7.0'" in data.report


def test_powers_of_ten_are_the_numbers_that_r_means(tmp_path):
    """R writes 1e+05 for 100000, and Parquet has floats of 17 digits as text; `1e05` is a hash."""
    log = "user,item,time\n1,1e+05,1\n1,100000,2\n2,1.23456789012e+11,3\n2,1e05,4\n"
    data = read(write(tmp_path / "shop", log, None, "inter.csv"))
    assert data.item_tokens == ["100000", "123456789012", "1e05"]
    assert "ids of items are read as '100000' where they are written '1e+05'" in data.report


def test_ids_that_programs_write_for_none_are_doubted(tmp_path):
    log = "user,item,time\n1,NA,1\n1,x,2\n2,NA,3\n2,x,4\n"
    data = read(write(tmp_path / "shop", log, None, "inter.csv"))
    doubts = [line for line in data.report if "is read as an id" in line]
    assert [line.partition(" is")[0] for line in doubts] == ["WARNING: item 'NA'"]


def test_rows_of_parquet_are_counted(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"user": ["u", "u"], "item": ["x", "y"], "time": [1.0, None]})
    frame.to_parquet(tmp_path / "inter.parquet")
    with pytest.raises(DataError, match=r"row 2: '' is not a number .* \(1 such rows of 2\)"):
        read(tmp_path)
    frame.fillna(2.0).to_parquet(tmp_path / "inter.parquet")
    assert "read 2 rows of inter.parquet" in read(tmp_path).report


def test_items_of_another_dataset_are_a_mistake(tmp_path):
    folder = write(tmp_path / "shop", items="item_id\ttitle\nq1\tOne\n")
    with pytest.raises(DataError, match=r"has none of the items .*such as 'q1', .* such as 'x'"):
        read(folder)


def test_a_name_that_stands_for_other_data_is_refused(tmp_path):
    folder = write(tmp_path / "files")
    for name in ("synthetic-small", "my-synthetic"):
        with pytest.raises(DataError, match="says that its interactions are synthetic"):
            bench_data("import", name, folder)
    with pytest.raises(DataError, match=r"'movielens' is a dataset that the suite knows"):
        bench_data("import", "movielens", folder)
    result = bench_data("import", "movielens", folder, "--replace-shipped")
    assert "import of interactions.tsv" in result.stdout
    configure("movielens", "summary: mine\nprotocol: {name: temporal, first_target: 1}\n")
    assert bench_data("import", "movielens", folder).exit_code == 0, "configured by the user"


def test_an_import_takes_its_protocol(tmp_path):
    result = bench_data("import", "shop", write(tmp_path / "files"), "--protocol", "leave-one-out")
    assert result.stdout.startswith("shop under leave-one-out-10 ")
    assert dataset_config("shop", Workspace.current()).protocol.name == "leave-one-out"
    with pytest.raises(UnknownNameError, match="Did you mean 'temporal'"):
        bench_data("import", "other", tmp_path / "files", "--protocol", "temporl")


def test_labels_without_valid_say_so(tmp_path):
    log = "user,item,time,split\n" + "".join(
        f"{u},{i},{t},{'test' if t == 4 else 'train'}\n"
        for u in "abc"
        for t, i in enumerate("xyzxy")
    )
    folder = write(tmp_path / "shop", log, None, "interactions.csv")
    with pytest.raises(DataError, match=r"none is 'valid'\. Label some, or choose"):
        bench_data("import", "shop", folder)
    assert bench_data("import", "shop", folder, "--protocol", "leave-one-out").exit_code == 0


def test_a_row_keeps_its_number_when_others_were_dropped(tmp_path):
    log = "user,item,time\n,x,1\n\na,x,yesterday\n"
    with pytest.raises(DataError, match=r"row 3: 'yesterday' is not a number"):
        read(write(tmp_path / "shop", log, None, "interactions.csv"))


@pytest.mark.parametrize("unit", [1, 10**3, 10**6], ids=["s", "ms", "us"])
def test_a_period_may_be_given_in_days(tmp_path, unit):
    days = [1577836800 + 86_400 * n for n in range(4)]
    log = "user,item,time\n" + "".join(
        f"a,{item},{day * unit}\n" for item, day in zip("wxyz", days, strict=True)
    )
    data = read(write(tmp_path / "shop", log, None, "interactions.csv"))
    kept = filters.apply(data, Filters(since="2020-01-02", until="2020-01-04"))
    assert kept.item_tokens == ["x", "y"]
    few = read(write(tmp_path / "few", "user,item,time\na,w,1\n", None, "interactions.csv"))
    with pytest.raises(DataError, match="2020-01-02 cannot be found among its times"):
        filters.apply(few, Filters(since="2020-01-02"))
    with pytest.raises(ValueError, match="Invalid isoformat"):
        Filters(since="yesterday")


def test_an_order_by_item_is_doubted(tmp_path):
    lines = [f"u{user} {' '.join(map(str, range(user, user + 12)))}\n" for user in range(9)]
    (tmp_path / "sorted.txt").write_text("".join(lines))
    data = importing.read(tables_at(tmp_path / "sorted.txt", layout="user-sequences"))
    assert any("WARNING: 100.0% of users' steps go to an item" in line for line in data.report)
    assert not any("WARNING" in line for line in read_movielens().report)
