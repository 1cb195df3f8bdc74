"""The texts that are printed, and the command that prints them."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.reporting.formats import FORMATS
from bench.reporting.leaderboard import leaderboard
from bench.reporting.markdown import marked
from bench.reporting.render import render
from bench.reporting.tables import sections


@pytest.fixture
def filled(bench):
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
    assert "cold (" in text and "warm (" in text


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
    assert ('"against": "dllm2rec"' if name == "json" else "vs dllm2rec") in told.stdout


def test_json_has_the_promised_shape(filled):
    rows = json.loads(report(filled, "--format", "json").stdout)
    row = next(r for r in rows if r["method"] == "dllm2rec" and r["teacher"] == "text")
    assert {"dataset": "toy", "protocol": "temporal-10", "student": "sasrec"}.items() <= row.items()
    assert row["seeds"] == [0, 1, 2]
    assert set(row["metrics"]) == {
        f"{m}@{k}" for m in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20)
    }
    assert set(row["metrics"]["ndcg@20"]) == {"mean", "std"}
    assert row["gain"]["ndcg@20"] > 0
    assert row["objective"] == "ce"
    assert {r["selection"] for r in rows} == {"validation", "oracle"}


def test_csv_has_one_line_per_row(filled):
    rows = list(csv.DictReader(io.StringIO(render(filled.store, "csv"))))
    data = json.loads(render(filled.store, "json"))
    assert [row["method"] for row in rows] == [row["method"] for row in data]
    assert float(rows[3]["ndcg@20 mean"]) == data[3]["metrics"]["ndcg@20"]["mean"]
    assert float(rows[3]["ndcg@20 p"]) == data[3]["significance"]["ndcg@20"]["p_holm"]
    warm = data[3]["segments"]["warm"]["metrics"]["ndcg@20"]["mean"]
    assert float(rows[3]["ndcg@20 warm"]) == warm > 0


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
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def test_html_escapes_all_it_shows_and_loads_nothing(bench):
    bad = '"><script>alert(1)</script>'
    bench.done("none")
    bench.done(bad, teacher=bad, overrides={bad: bad}, skill=0.4)
    bench.fail(bad, 0, error=f"<img src=x onerror=1>{bad}")
    page = Tags(render(bench.store, "html"))
    assert "script" not in page.tags and "img" not in page.tags
    assert not {"src", "href", "onerror"} & {name for name, _ in page.attributes}
    assert "alert(1)" in render(bench.store, "html")


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
def test_a_filter_that_matches_no_record_is_refused_in_every_format(filled, option, name, meant):
    for form in FORMATS.names():
        result = report(filled, option, name, "--format", form)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{name}'. Did you mean '{meant}'?" in result.stderr


def test_a_method_is_shown_with_the_references(filled):
    rows = json.loads(report(filled, "--format", "json", "--method", "none").stdout)
    assert [row["method"] for row in rows] == ["popularity", "teacher", "none"]


def test_chosen_metrics_are_the_columns_and_the_first_is_tested(filled):
    text = report(filled, "--metric", "hr@3", "--metric", "mrr@10").stdout
    assert re.search(r"\| +HR@3 \| +MRR@10 \| vs none \|", text)
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
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "results"}


def test_the_same_network_is_told_to_be_as_fast_whatever_the_machine_did_meanwhile(bench):
    bench.done("none", 1)
    bench.done("hint", 1, skill=0.4, latency={"ms_p50": 6.0})
    bench.done("learn", 1, skill=0.4, latency={"ms_p50": 7.0}, parameters={"inference": 65_000})
    (section,) = sections(leaderboard(bench.store))
    (price,) = (table for table in section.tables if "costs" in table.caption)
    shown = {row[2]: row[-1] for block in price.blocks for row in block}
    assert shown == {"none": "0.50 ms", "hint": "0.50 ms", "learn": "7.00 ms"}


@pytest.mark.parametrize("before", ["", "# Title\n\nWords.\n"])
def test_only_what_stands_between_the_marks_of_a_page_is_replaced(before):
    page = marked(marked(before, "other", "kept"), "board", "old") + "\nAfter.\n"
    page = marked(page, "board", "new")
    assert "old" not in page and page.startswith(before) and page.endswith("\nAfter.\n")
    assert "\nkept\n" in page
    assert page.count("<!-- board -->") == page.count("<!-- end of board -->") == 1
