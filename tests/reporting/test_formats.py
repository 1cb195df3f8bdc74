"""The texts that are printed, and the command that prints them."""

import io
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.paths import SHIPPED
from bench.records.store import ResultStore
from bench.reporting.floats import floats
from bench.reporting.formats import FORMATS
from bench.reporting.latex import latex
from bench.reporting.markdown import marked
from bench.reporting.render import render, selected
from bench.reporting.section import Section, Table
from bench.reporting.tables import sections

from .conftest import Bench

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Records that no test changes."""
    bench = Bench(tmp_path_factory.mktemp("filled") / "results")
    bench.references()
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.2, control="shuffled")
    bench.done("dllm2rec", skill=0.5, selection="oracle")
    bench.fail("ranking-only", 1, error="Traceback\nloss is NaN | step 3")
    return bench


def report(bench, *options):
    return CliRunner().invoke(main, ["report", "--results", str(bench.store.folder), *options])


def table_lines(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_is_aligned_and_says_which_test(filled):
    text = render(filled.store)
    main_table = text.split("\n\n")[2].splitlines()
    assert len({len(line) for line in main_table}) == 1
    assert re.search(r"\| none +\| – +\| +3 \| \d\.\d{4} ± \d\.\d{4} \|", text)  # noqa: RUF001
    assert re.search(r"\| dllm2rec +\| text +\|.* \+\d+\.\d % \| <0\.001 \* \|", text)
    assert "text (shuffled)" in text
    assert "clustered by user" in text and "Holm" in text
    assert "1-4 (" in text and "50+ (" in text


def test_controls_stand_apart_beside_what_the_teacher_itself_gives(filled):
    honest = render(filled.store).split("## toy · temporal-10 · oracle")[0]
    board, controls = honest.split("**Under controls of the teacher**")
    assert "(shuffled)" not in board and "(shuffled)" not in controls.split("**")[1]
    (line,) = (line for line in table_lines(controls.split("**")[0]) if "(shuffled)" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:4] == ["dllm2rec", "text (shuffled)"] and cells[6].startswith("-")
    taught = next(line for line in table_lines(board) if "dllm2rec" in line and "text" in line)
    assert cells[-1] == re.search(r"\+\d+\.\d %", taught)[0]


def test_oracle_rows_stand_under_their_own_heading(filled):
    honest, oracle = render(filled.store).split("## toy · temporal-10 · oracle")
    assert len([line for line in table_lines(oracle) if "dllm2rec" in line]) == 3
    assert "popularity" in honest and "popularity" not in oracle


def test_failed_trials_are_named(filled):
    text = render(filled.store)
    assert "Trials that failed: 1" in text
    assert "ranking-only, teacher text, seed 1: diverged: loss is NaN" in text
    assert "0 of 1" in text


def test_a_cell_cannot_break_its_table(bench):
    bench.done("a|b", seeds=1)
    bench.done("<script>", seeds=1)
    lines = table_lines(render(bench.store))
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]}) == 1
    assert "\\<script>" in "\n".join(lines)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("shapes 2*3*4", r"shapes 2\*3\*4"),
        ("![i](http://e/x.png)", r"![i\](http://e/x.png)"),
        ("[x][y]", r"[x\][y]"),
        ("weight [0.5] * 2", "weight [0.5] * 2"),
    ],
)
def test_an_error_is_shown_as_it_is(bench, error, shown):
    bench.fail("hint", seed=0, error=error)
    assert f"diverged: {shown}" in render(bench.store)


@pytest.mark.parametrize("name", FORMATS.names())
def test_every_format_names_what_is_compared_with(filled, name):
    told = report(filled, "--format", name, "--against", "dllm2rec")
    assert told.exit_code == 0, told.output
    lines = {"json": json_lines, "csv": csv_lines}.get(name)
    if lines:
        assert {line["against"] for line in lines(told.stdout)} == {"dllm2rec"}
    else:
        assert "vs dllm2rec" in told.stdout or '"against":"dllm2rec"' in told.stdout


def json_lines(text):
    return json.loads(text)


def csv_lines(text):
    return pd.read_csv(io.StringIO(text)).to_dict("records")


def test_json_has_a_line_for_each_entry_and_metric(filled):
    lines = json_lines(report(filled, "--format", "json").stdout)
    ours = [
        line
        for line in lines
        if (line["method"], line["control"], line["selection"]) == ("dllm2rec", None, "validation")
    ]
    assert {line["metric"] for line in ours} == {
        f"{m}@{k}" for m in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20)
    }
    line = next(line for line in ours if line["metric"] == "ndcg@20")
    shared = {"dataset": "toy", "protocol": "temporal-10", "student": "sasrec", "objective": "ce"}
    assert shared.items() <= line.items()
    assert (line["teacher"], line["seeds"], line["n"]) == ("text", "0 1 2", 3)
    assert line["gain"] > 0 and 0 < line["std"] < line["mean"]
    assert {line["selection"] for line in lines} == {"validation", "oracle"}
    (lost,) = (line for line in lines if line["failed"] and line["metric"] == "ndcg@20")
    assert lost["errors"].startswith("seed 1: diverged: Traceback")


def test_csv_and_json_are_the_leaderboard_with_segments(filled):
    board, runs = selected(filled.store)
    shown = json_lines(render(filled.store, "json", ["ndcg@20", "hr@20"]))
    found = csv_lines(render(filled.store, "csv", ["ndcg@20", "hr@20"]))
    for lines in (shown, found):
        assert [line["entry"] for line in lines] == list(board["entry"])
        for name in ("mean", "std", "gain", "p_holm", "gap_closed"):
            values = pd.Series([line[name] for line in lines], dtype="float64")
            assert values.to_numpy() == pytest.approx(board[name].to_numpy(), nan_ok=True), name
    best = board[board["metric"].eq("ndcg@20") & board["n"].eq(3)].iloc[0]
    (line,) = (
        line for line in found if (line["entry"], line["metric"]) == (best["entry"], "ndcg@20")
    )
    own = runs[runs["entry"] == best["entry"]]
    assert line["keys"].split() == list(own["key"])
    assert line["warm/mean"] == pytest.approx(own["warm/ndcg@20"].mean())
    assert line["warm/std"] == pytest.approx(own["warm/ndcg@20"].std())
    assert line["warm/examples"] == own["warm/examples"].iloc[0]


def test_latex_escapes_and_has_equal_rows(bench):
    bench.done("none")
    bench.done("a_b&c#50%", skill=0.4)
    text = render(bench.store, "latex")
    assert r"a\_b\&c\#50\%" in text
    bench.fail("broken", seed=0)
    failed = [line for line in render(bench.store, "latex").splitlines() if "NaN loss" in line]
    assert [line.startswith("% failed: ") for line in failed] == [True]  # not in a caption
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.S):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 4


def large_table() -> Table:
    """Longer and wider than a page, of names longer than a line, with many notes."""
    names = pd.DataFrame({"Method": [f"method-{n} [training.max_epochs={n}]" for n in range(150)]})
    names["Teacher"] = "text"
    names.loc[70] = [r"<&%$#_{}~^\ \x1b[1m" + "X" * 150, "of many words " * 20]
    numbers = {f"data set {n} sasrec": [f"-{n}.5 % *"] * 150 for n in range(25)}
    frame = pd.concat([names, pd.DataFrame(numbers)], axis=1).set_axis([*"ab" * 75])
    return Table(
        "", frame, 2, [f"A note of some length on how to read number {n}." for n in range(300)]
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive)")
def test_latex_compiles_as_it_stands_within_the_page_of_two_columns(tmp_path, monkeypatch):
    """Of the reference records, and of a table that is larger than any page."""
    tables = render(ResultStore(SHIPPED / "results" / "reference"), "latex")
    section = Section("All_of it", "As it came.", [large_table()], ["\x00 }{ \\undefined"])
    monkeypatch.setattr("bench.reporting.latex.sections", lambda board, runs: [section])
    tables += "\n" + latex(pd.DataFrame(), pd.DataFrame())
    head = r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "a.tex").write_text(f"{head}\n{tables}\n" + r"\end{document}", "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and "too large" not in done.stdout


def test_floats_of_a_large_table_hold_it_all_once():
    table = large_table()
    parts = floats(table)
    assert [note for part in parts for note in part.notes] == table.notes
    heads = [" ".join(head.split()) for part in parts for head in part.frame]
    assert sorted({*heads}) == sorted(table.frame.columns)
    shown = pd.concat(
        [
            part.frame
            for part in parts
            if "data set 0 sasrec" in " ".join(" ".join(part.frame).split())
        ]
    )
    assert len(shown[shown.iloc[:, 2] != ""]) == len(table.frame)
    assert re.sub(r"\W", "", "".join(shown.iloc[:, 0])) == re.sub(
        r"\W", "", "".join(table.frame["Method"])
    ), "long names go on in the next lines"


@pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice (libreoffice-calc)")
def test_a_spreadsheet_opens_csv_as_what_it_is(bench, tmp_path):
    """Through LibreOffice and back: no formula ran, and no name lost a letter or a line."""
    names = ["none", "=1+1", "-2+3", "größe 数", 'two\nlines, "quoted"; and more']
    for name in names:
        bench.done(name, 1)
    told = report(bench, "--format", "csv", "--output", str(tmp_path / "a.csv"))
    assert told.exit_code == 0, told.output
    command = ["soffice", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}", "--headless"]
    # Comma, quotes, UTF-8: what the window shows as found; without a window it does not look.
    command += [
        "--infilter=CSV:44,34,UTF8",
        "--convert-to",
        "fods",
        "--outdir",
        str(tmp_path),
        str(tmp_path / "a.csv"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
    (sheet,) = ElementTree.parse(tmp_path / "a.fods").iter(f"{_TABLE}table")  # noqa: S314
    assert not [cell for cell in sheet.iter() if cell.get(f"{_TABLE}formula")]
    lines = [
        ["\n".join("".join(p.itertext()) for p in cell) for cell in row.iter(f"{_TABLE}table-cell")]
        for row in sheet.iter(f"{_TABLE}table-row")
    ]
    assert lines[0][0] == "dataset", "the byte order mark is no part of the first name"
    place = lines[0].index("method")
    shown = {line[place].removeprefix("'") for line in lines[1:] if len(line) > place}
    assert shown == {*names}


def test_an_empty_folder_is_no_error(bench):
    result = report(bench)
    assert (result.exit_code, "No results yet" in result.stdout) == (0, True)
    assert json.loads(report(bench, "--format", "json").stdout) == []
    for name in FORMATS.names():
        assert report(bench, "--format", name).exit_code == 0


@pytest.mark.parametrize(
    ("option", "name", "meant"),
    [("--dataset", "tyo", "toy"), ("--method", "dllm2rce", "dllm2rec")],
)
def test_a_filter_that_matches_no_record_is_refused(filled, option, name, meant):
    for form in ("markdown", "csv"):  # what people read, and what programs do
        result = report(filled, option, name, "--format", form)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{name}'. Did you mean '{meant}'?" in result.stderr


def test_a_method_is_shown_with_the_references(filled):
    rows = json.loads(report(filled, "--format", "json", "--method", "none").stdout)
    names = [row["method"] for row in rows if row["metric"] == "ndcg@20"]
    assert names == ["popularity", "teacher", "none"]


def test_chosen_metrics_are_the_columns_and_the_first_is_tested(filled):
    text = report(filled, "--metric", "hr@3", "--metric", "mrr@10").stdout
    assert re.search(r"\| +HR@3 \| +MRR@10 \| +vs none \|", text)
    assert "paired test of HR@3" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "markdwn"], "Did you mean 'markdown'"),
        (["--metric", "ndgc@20"], "Did you mean 'ndcg'"),
        (["--output", "missing/folder/report.md"], "--output missing/folder/report.md"),
        (["--against", "rd"], "unknown method to compare with 'rd'"),
    ],
)
def test_mistakes_are_one_message(filled, options, message):
    result = report(filled, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_output_that_cannot_be_written_is_one_line(filled, tmp_path):
    place = tmp_path / "missing" / "report.md"
    result = report(filled, "--output", str(place))
    assert (result.exit_code, result.stdout) == (2, "")
    why = "cannot be written to: No such file or directory"
    assert result.stderr == f"Error: --output {place} {why}\n"


def test_output_replaces_a_file_as_a_whole(filled, tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    result = report(filled, "--format", "json", "--output", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.read_text() == render(filled.store, "json") + "\n"
    assert {path.name for path in tmp_path.iterdir()} == {"report.json"}


def test_the_same_network_is_told_to_be_as_fast_whatever_the_machine_did_meanwhile(bench):
    bench.done("none", 1)
    bench.done("hint", 1, skill=0.4, latency={"ms_p50": 6.0})
    bench.done("learn", 1, skill=0.4, latency={"ms_p50": 7.0}, parameters={"inference": 65_000})
    (section,) = sections(*selected(bench.store))
    (price,) = (table for table in section.tables if "costs" in table.caption)
    shown = dict(zip(price.frame["Method"], price.frame["Latency"], strict=True))
    assert shown == {"none": "0.50 ms", "hint": "0.50 ms", "learn": "7.00 ms"}


@pytest.mark.parametrize("before", ["", "# Title\n\nWords.\n"])
def test_only_what_stands_between_the_marks_of_a_page_is_replaced(before):
    page = marked(marked(before, "other", "kept"), "board", "old") + "\nAfter.\n"
    page = marked(page, "board", "new")
    assert "old" not in page and page.startswith(before) and page.endswith("\nAfter.\n")
    assert "\nkept\n" in page
    assert page.count("<!-- board -->") == page.count("<!-- end of board -->") == 1
