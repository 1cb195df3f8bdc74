"""The page as a file: what stands in it, and that nothing in a record can leave its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from bench import layers
from bench.cli import options, run
from bench.cli.main import main
from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data.sources import importing
from bench.paths import PACKAGE, SHIPPED
from bench.records.store import ResultStore
from bench.reporting.page.again import command
from bench.reporting.page.details import Details
from bench.reporting.render import render, selected

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)></script>'


class Elements(HTMLParser):
    """Elements of a page with their attributes and text, as a browser's parser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.texts.append("")
        self.open = True

    def handle_data(self, data):
        if self.open:
            self.texts[-1] += data

    def handle_endtag(self, tag):
        self.open = False

    def blocks(self) -> dict[str, object]:
        return {
            attributes["id"]: json.loads(text)
            for (tag, attributes), text in zip(self.found, self.texts, strict=True)
            if tag == "script" and attributes.get("type") == "application/json"
        }


def test_what_a_record_says_stays_data(bench):
    bench.done("none")
    bench.done(HOSTILE, teacher=HOSTILE, overrides={HOSTILE: HOSTILE}, skill=0.4)
    bench.fail(HOSTILE, 0, error=HOSTILE)
    page = Elements(render(bench.store, "html"))
    assert not [tag for tag, _ in page.found if tag == "img"]
    scripts = [
        text for (tag, _), text in zip(page.found, page.texts, strict=True) if tag == "script"
    ]
    assert not [text for text in scripts if text.startswith("alert")]
    (shown,) = (block for name, block in page.blocks().items() if name == "content")
    assert HOSTILE in {entry["method"] for entry in shown["entries"]}
    assert [failure["line"] for failure in shown["failures"]] == [HOSTILE]


def test_only_its_own_scripts_may_run_and_nothing_is_loaded(bench):
    bench.done("none", 1)
    page = Elements(render(bench.store, "html"))
    (policy,) = (a["content"] for tag, a in page.found if tag == "meta" and "http-equiv" in a)
    for (tag, attributes), text in zip(page.found, page.texts, strict=True):
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        if tag == "script" and "type" not in attributes:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy


def test_the_board_and_the_page_have_the_same_numbers(bench):
    bench.references()
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.2, control="shuffled")
    board, _ = selected(bench.store)
    shown = Elements(render(bench.store, "html")).blocks()["content"]
    by_id = {entry["id"]: entry for entry in shown["entries"]}
    assert [metric["name"] for metric in shown["metrics"]] == ["ndcg@20", "hr@20"]
    for line in board.itertuples():
        found = by_id[line.entry]["by"][line.metric]
        assert found["mean"] == pytest.approx(line.mean)
        assert (found["gain"] is None) == (line.gain != line.gain)
        if found["gain"] is not None:
            assert found["gain"] == pytest.approx(line.gain)
            assert (found["low"], found["high"]) == pytest.approx((line.gain_low, line.gain_high))
    gains = {
        each["name"]: each["gain"] for each in shown["references"] if each["metric"] == "ndcg@20"
    }
    none = next(e for e in shown["entries"] if e["method"] == "none")["by"]["ndcg@20"]["mean"]
    teacher = next(e for e in shown["entries"] if e["kind"] == "teacher")["by"]["ndcg@20"]["mean"]
    assert gains["teacher text"] == pytest.approx(100 * (teacher / none - 1))


def test_an_entry_has_its_runs_with_curves_and_failures(bench):
    keys = bench.done("hint", seeds=[0, 2])
    bench.fail("hint", 1, error="Traceback\nloss is NaN")
    (bench.store.folder / keys[0] / "curve.csv").write_text(
        "epoch,stage,loss,hint,ndcg@20,mrr@5,train_seconds\n1,1,2.5,0.123456789,0.03,0.1,7\n2,1,nan,,0.04,0.1,7\n"
    )
    (bench.store.folder / keys[1] / "curve.csv").write_bytes(b"\xff\xfe epoch")
    board, runs = selected(bench.store)
    found = Details(runs, ["ndcg@20"]).of(board["entry"].iloc[0])
    assert [run["seed"] for run in found["runs"]] == [0, 1, 2]
    assert [run["status"] for run in found["runs"]] == ["done", "diverged", "done"]
    assert found["runs"][1]["error"] == "Traceback\nloss is NaN"
    curve = found["runs"][0]["curve"]
    assert curve["columns"] == ["epoch", "stage", "loss", "hint", "ndcg@20"]
    assert curve["lines"] == [[1, 1, 2.5, 0.12346, 0.03], [2, 1, None, None, 0.04]]
    assert found["runs"][2]["curve"] is None, "what cannot be read is not shown"
    assert ("training.objective", "ce") in found["settings"]
    assert Details(runs, ["ndcg@20"]).of("no such entry") is None


@pytest.mark.parametrize(
    "chosen",
    [
        {
            "methods": ["dllm2rec"],
            "teachers": ["published"],
            "overrides": ["method.ranking.weight=1e-05"],
        },
        {
            "methods": ["none"],
            "protocol": "leave-one-out",
            "overrides": ["training.learning_rate=1e-2", "protocol.first_target=3"],
        },
    ],
)
def test_the_command_chooses_the_same_trials(tiny, tiny_teacher, chosen):
    chosen = Selection(datasets=["tiny"], students=["tiny"], seeds="1,2,4", **chosen)
    trials = resolve(chosen, tiny).trials
    said = shlex.split(command(trials))
    assert said[:2] == ["bench", "run"]
    args = run.command.make_context("run", said[2:]).params
    assert resolve(options.selected(args), tiny).trials == trials and len(trials) == 3


def test_the_commands_of_the_page_make_the_same_records_again(tiny, tiny_teacher):
    """As they stand there, in a folder without records."""
    chosen = "-d tiny -s tiny -m none -m soft-label:standardised -t published --control shuffled"
    short = "--seeds 2 --set training.max_epochs=1 --set training.min_epochs=1"
    done = CliRunner().invoke(main, ["run", *f"{chosen} {short}".split()])
    assert done.exit_code == 0, done.output
    page = Elements(render(ResultStore(tiny.results), "html")).blocks()
    made = {path.parent.name: path for path in tiny.results.glob("*/record.json")}
    commands = [block["command"] for block in page.values() if block.get("command")]
    assert len(commands) == 3
    tiny.results.rename(tiny.results.with_name("before"))
    for line in commands:
        assert line.startswith("bench ")
        done = CliRunner().invoke(main, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
    assert {path.parent.name for path in tiny.results.glob("*/record.json")} == {*made}


def test_the_commands_of_the_reference_records_choose_their_trials(tiny):
    table = importing.Tables(tiny.home / "interactions.csv", None)
    importing.store("industrial", importing.read(table), tiny)  # known where it was imported
    board, runs = selected(ResultStore(SHIPPED / "results" / "reference"), ["ndcg@20"])
    store, details = ResultStore(SHIPPED / "results" / "reference"), Details(runs, ["ndcg@20"])
    for method in ("none", "htd"):
        ours = board[(board["method"] == method) & board["control"].isna()]
        for entry in ours["entry"]:
            said = shlex.split(details.of(entry)["command"])
            args = run.command.make_context("run", said[2:]).params
            chosen = {t.seed: t for t in resolve(options.selected(args), tiny).trials}
            for key in runs["key"][runs["entry"] == entry]:
                trial = store.get(key).trial
                spec = chosen[trial.seed]
                for name in ("protocol", "seen", "student_config", "training", "method_settings"):
                    assert getattr(spec, name) == getattr(trial, name), (said, name)


@pytest.mark.parametrize(
    "value", ["ce", "1e-3", "null", "a b", "x: y", 1e-05, 3, True, None, [1, 2], ["a", "b"], "0.5"]
)
def test_an_override_is_written_so_that_it_is_read_as_it_was(bench, value):
    trial = bench.trial("hint", overrides={"method.weight": value})
    words = shlex.split(command([trial]))
    text = words[words.index("--set") + 1]
    assert layers.parse_override(text) == ("method.weight", value)


def test_every_library_stands_there_with_its_licence():
    folder = PACKAGE / "reporting" / "page" / "vendor"
    licences = (folder / "LICENSES.txt").read_text(encoding="utf-8")
    for path in folder.iterdir():
        if path.suffix in (".js", ".css"):
            assert re.search(
                rf"^{re.escape(path.name)}: .+ \d+\.\d+\.\d+, https://", licences, re.M
            )
