"""The page in a real browser, as people use it: `pytest -m browser`."""

from __future__ import annotations

import re

import pytest

from bench.paths import SHIPPED
from bench.records.record import failed
from bench.records.store import ResultStore
from bench.reporting.page.content import content
from bench.reporting.page.details import Details
from bench.reporting.page.html import document
from bench.reporting.render import render, selected

from ..browsing import Browser, browser

pytestmark = pytest.mark.browser

ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
"""Keys as WebDriver names them."""

HEADING = "[...document.querySelectorAll('#entries th')].find((th) => th.textContent === 'vs none')"

HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def window():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> str:
    """The page of the reference records, as an address."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(ResultStore(SHIPPED / "results" / "reference"), "html"), "utf-8")
    assert path.stat().st_size < 3e6
    return path.as_uri()


@pytest.fixture
def page(bench, tmp_path):
    """Write the page of a results folder; returns its address."""

    def written() -> str:
        path = tmp_path / "report.html"
        path.write_text(render(bench.store, "html"), "utf-8")
        return path.as_uri()

    return written


def methods(window: Browser) -> list[str]:
    """The methods of the lines that are shown, without the tags of those that read the same."""
    return sorted(name.split()[0] for name in window.cells("Method"))


def check_quiet(window: Browser, url: str) -> None:
    """The console is empty, and nothing but the page was asked for."""
    assert window.complaints() == []
    assert {asked.partition("#")[0] for asked in window.requests()} <= {url}


def check_first_table(window: Browser, url: str) -> None:
    """A line of the table is there after less than two seconds of processor."""
    window.open(url)
    window.wait("window.firstTable")
    assert window.cpu_seconds() < 2


def test_the_reference_records_are_there_at_once_and_alone(window, reference):
    check_first_table(window, reference)
    assert len(window.cells("Method")) == 25
    window.see("#gains")
    window.wait("document.querySelectorAll('#gains svg').length")
    check_quiet(window, reference)


def test_five_thousand_records_are_there_at_once(window, bench, tmp_path):
    """Runs of one setting, multiplied: what the page reads is as large as of so many records."""
    for method in ("none", "hint", "rrd", "cd"):
        for key in bench.done(method, skill=0.4):
            lines = [f"{epoch},1,{5 / epoch},{0.03 + 0.001 * epoch}" for epoch in range(1, 31)]
            text = "\n".join(["epoch,stage,loss,ndcg@20", *lines])
            (bench.store.folder / key / "curve.csv").write_text(text + "\n")
    board, runs = selected(bench.store)
    shown, details = content(board, runs), Details(runs, ["ndcg@20", "hr@20"])
    entries, found = [], {}
    for number in range(417):
        for entry in shown["entries"]:
            setting, name = f"{entry['setting']}{number}", f"{entry['id']}{number}"
            place = {"setting": setting, "dataset": f"shop-{number % 40}"}
            entries.append({**entry, **place, "id": name})
            shown["settings"][setting] = shown["settings"][entry["setting"]]
            found[name] = details.of(entry["id"])
    assert sum(entry["n"] for entry in entries) > 5000
    path = tmp_path / "many.html"
    path.write_text(document({**shown, "entries": entries}, found), "utf-8")
    check_first_table(window, path.as_uri())
    window.choose("dataset", "shop-7")
    assert set(window.cells("Dataset")) == {"shop-7"}
    window.run("document.querySelector('#entries button').click()")
    window.wait("document.querySelector('dialog[open] svg')")
    check_quiet(window, path.as_uri())


def test_columns_sort_by_number_and_by_keyboard(window, reference):
    window.open(reference)
    window.choose("dataset", "movielens")
    window.choose("student", "sasrec")
    window.run(f"{HEADING}.click()")
    gains = [float(text.split()[0]) for text in window.cells("vs none") if text[0] in "+-"]
    assert gains == sorted(gains, reverse=True) and len(gains) > 20
    window.run(f"{HEADING}.querySelector('[tabindex]').focus()")
    window.press(ENTER)
    window.wait(f"{HEADING}.ariaSort === 'ascending'")
    check_quiet(window, reference)


def test_every_filter_leaves_what_it_says(window, page, bench):
    bench.references()
    for seen in ("rank", "mask"):
        for student in ("sasrec", "gru4rec"):
            bench.done("none", 1, student=student, seen=seen)
            for teacher in ("text", "other"):
                bench.done("hint", 1, student=student, seen=seen, teacher=teacher, skill=0.4)
            bench.done("hint", 1, student=student, seen=seen, control="shuffled", skill=0.2)
    window.open(page())
    whole = len(window.cells("Method"))
    assert whole == 2 + 2 * 2 * 4
    window.choose("student", "gru4rec")
    assert set(window.cells("Student")) == {"gru4rec", "–"}  # noqa: RUF001 - the dash of tables
    window.choose("seen", "masked")
    assert methods(window) == [
        "hint",
        "hint",
        "hint",
        "none",
        "popularity",
        "teacher",
    ]
    window.choose("teacher", "text")
    assert len(window.cells("Method")) == 5
    window.choose("controls", "off")
    assert methods(window) == ["hint", "none", "popularity", "teacher"]
    # What is chosen stands in the address, so that a view can be passed on.
    address = window.driver.current_url
    window.open(address)
    assert methods(window) == ["hint", "none", "popularity", "teacher"]
    window.choose("controls", "")
    assert len(window.cells("Method")) == 5


def test_an_entry_opens_with_its_runs_curve_failure_and_command(window, page, bench):
    keys = bench.done("hint", seeds=[0, 1], skill=0.4, overrides={"method.weight": 0.5})
    for key in keys:
        lines = [f"{epoch},1,{5 / epoch},{0.03 + 0.001 * epoch}" for epoch in range(1, 6)]
        text = "\n".join(["epoch,stage,loss,ndcg@20", *lines])
        (bench.store.folder / key / "curve.csv").write_text(text + "\n")
    trial = bench.trial("hint", 2, overrides={"method.weight": 0.5})
    bench.store.write(failed(trial, "diverged", "Traceback\nloss is NaN"))
    url = page()
    window.open(url)
    window.run("document.querySelector('#failures button').click()")
    window.wait("document.querySelector('dialog[open] .command')")
    shown = window.run("return document.querySelector('dialog').textContent")
    assert "loss is NaN" in shown and "Seed 2 failed: diverged" in shown
    assert "bench run --dataset toy" in shown and "--set method.weight=0.5" in shown
    assert "training.learning_rate" in shown
    lines = "document.querySelectorAll('dialog svg .mark-line path').length === 2"
    window.wait(lines)
    window.run(
        "const field = document.querySelector('.curve-choice select');"
        "field.value = 'loss'; field.dispatchEvent(new Event('change'))"
    )
    labels = "[...document.querySelectorAll('dialog [aria-label]')].map((each) => each.ariaLabel)"
    window.wait(f"{labels}.some((label) => label.startsWith('loss by epoch'))")
    window.press(ESCAPE)
    window.wait("!document.querySelector('dialog').open")
    check_quiet(window, url)


def test_hostile_names_stay_text(window, page, bench):
    bench.done("none", 1, student=HOSTILE)
    bench.done(HOSTILE, 1, teacher=HOSTILE, student=HOSTILE, control=HOSTILE, skill=0.4)
    bench.done(
        HOSTILE, 1, teacher=HOSTILE, student=HOSTILE, skill=0.4, overrides={HOSTILE: HOSTILE}
    )
    bench.fail(HOSTILE, 0, error=HOSTILE)
    url = page()
    for width in (1280, 400):
        window.open(url, width=width)
        window.see("#gains")
        window.wait("document.querySelectorAll('#gains svg text').length")
        window.run("document.querySelectorAll('td.dtr-control').forEach((cell) => cell.click())")
        buttons = "[...document.querySelectorAll('[data-entry]')].map((each) => each.dataset.entry)"
        ids = window.run(f"return {buttons}")
        for entry in set(ids):
            window.run("document.querySelector(`[data-entry='${arguments[0]}']`).click()", entry)
            window.wait("document.querySelector('dialog .command')")
            assert HOSTILE in window.run("return document.querySelector('dialog').textContent")
            window.run("document.querySelector('dialog').close()")
        assert window.run("return document.querySelectorAll('img').length") == 0
        assert window.driver.title == "Leaderboards"
        assert any(HOSTILE in name for name in window.cells("Method"))
        check_quiet(window, url)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_scrolls_down_and_not_sideways(window, reference, dark):
    window.open(reference, width=400, dark=dark)
    window.wait("document.querySelectorAll('#entries tbody tr').length === 25")
    window.see("#costs")
    window.wait("document.querySelectorAll('#costs svg').length")
    assert window.run("return document.documentElement.scrollWidth") <= 400
    window.run("document.querySelector('#entries button').click()")
    window.wait("document.querySelector('dialog[open] table')")
    box = window.run("return document.querySelector('dialog').getBoundingClientRect().toJSON()")
    assert box["left"] >= 0 and box["right"] <= 400
    window.run("document.querySelector('dialog').close()")
    window.run("document.querySelector('#entries td.dtr-control').click()")
    window.wait("document.querySelector('#entries tr.child')")
    folded = window.run("return document.querySelector('#entries tr.child').innerText")
    assert "Parameters" in folded
    check_quiet(window, reference)


def test_text_has_contrast_in_both_modes(window, reference):
    """WCAG AA: 4.5 to 1 for text, in the table, the plots and the panels."""
    for dark in (False, True):
        window.open(reference, dark=dark)
        window.see("#gains")
        window.wait("document.querySelectorAll('#gains svg text').length")
        ratios = window.run(_CONTRAST)
        assert len(ratios) > 8 and min(ratios.values()) >= 4.5, ratios


_CONTRAST = """
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => channels(color).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const color = getComputedStyle(each).backgroundColor;
    const [, , , alpha = 1] = channels(color);
    if (alpha > 0.9) return color;
  }
  return "rgb(255, 255, 255)";
};
const found = {};
const wanted = ["h1", "#about", "nav a", "label", "select", "#entries thead th",
  "#entries tbody td:last-child", "#entries button", ".dt-info", "figure h3", "#gains svg text",
  "#costs p", "#notes summary"];
for (const place of wanted) {
  const element = document.querySelector(place);
  const style = getComputedStyle(element);
  const text = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [one, other] = [light(text), light(ground(element))].sort((a, b) => b - a);
  found[place] = (one + 0.05) / (other + 0.05);
}
return found;
"""


def test_readers_of_screens_are_told_what_each_part_is(window, reference):
    window.open(reference)
    window.see("#gains")
    window.wait("document.querySelectorAll('#gains svg').length")
    tree = window.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if "role" in node and not node.get("ignored")
    }
    roles = {role for role, _ in named}
    assert {"main", "navigation", "table", "columnheader", "heading", "combobox"} <= roles
    unnamed = [
        role
        for role, name in named
        if role in ("button", "combobox", "textbox", "searchbox", "link") and not name.strip()
    ]
    assert not unnamed
    assert any("dllm2rec (text)" in name and "+28.0 %" in name for _, name in named), (
        "a point of a plot"
    )


def test_average_ranks_are_a_picture_and_a_table(window, reference):
    window.open(f"{reference}#metric=hr@20")
    window.see("#ranks")
    window.wait("document.querySelector('#ranks svg')")
    rows = "[...document.querySelectorAll('#ranks tr')]"
    lines = window.run(f"return {rows}.map((line) => line.innerText.split('\\t'))")
    assert [name.strip() for name in lines[0]] == [
        *("Method", "Teacher", "Average rank", "game", "movielens")
    ]
    means = [float(line[2]) for line in lines[1:]]
    assert means == sorted(means) and len(means) == 19
    assert means[0] == (float(lines[1][3]) + float(lines[1][4])) / 2
    points = "[...document.querySelectorAll('#ranks [aria-roledescription=point]')]"
    told = window.run(f"return {points}.map((each) => each.ariaLabel)")
    assert told[0].startswith(
        f"{lines[1][0].strip()} ({lines[1][1].strip()}): average rank {means[0]:.2f}"
    )
    assert "Critical difference" in window.run("return document.querySelector('#ranks').innerText")
    window.choose("student", "gru4rec")  # which ran on one dataset
    assert not window.run("return document.querySelector('#ranks').checkVisibility()")
    assert not window.run(
        "return document.querySelector('nav a[href=\"#ranks\"]').checkVisibility()"
    )
    check_quiet(window, reference)


def test_the_page_is_used_without_a_mouse(window, reference):
    window.open(reference)
    window.press(TAB, ENTER)  # the first stop leads past links and filters
    assert window.run("return document.activeElement.id") == "board"
    window.run("document.querySelector('#entries tbody button').focus()")
    name = window.run("return document.activeElement.textContent")
    window.press(ENTER)
    window.wait("document.querySelector('dialog[open] table')")
    assert window.run("return document.activeElement.textContent") == "Close"
    for _ in range(12):
        window.press(TAB)
        behind = window.run("return document.activeElement.closest('main, form, body > header')")
        assert behind is None, "what lies behind the dialog takes no key"
    window.press(ESCAPE)
    window.wait("!document.querySelector('dialog').open")
    assert window.run("return document.activeElement.textContent") == name


def only_failures(bench):
    bench.fail("none", 0, error="Traceback\n" + "no memory " * 400)
    bench.fail("hint", 0, "lost-worker", "killed")


def no_none(bench):
    bench.done("hint", 2, skill=0.4)


def only_references(bench):
    bench.references()


def nothing_right(bench):
    for method in ("none", "hint"):
        bench.done(method, 2, skill=-50.0)


def other_devices(bench):
    bench.done("none", [0])
    gpu = {"machine": "x86_64", "device": "cuda", "device_name": "a GPU"}
    bench.done("none", [1], environment=gpu)
    bench.done("hint", [0, 1], skill=0.4, environment=gpu)


@pytest.mark.parametrize(
    "filled", [only_failures, no_none, only_references, nothing_right, other_devices]
)
def test_odd_records_have_a_page_whose_entries_open(window, page, bench, filled):
    filled(bench)
    url = page()
    window.open(url, width=400)
    window.wait("document.querySelector('#entries tbody button')")
    window.run("for (const each of document.querySelectorAll('section')) each.scrollIntoView()")
    links = "[...document.querySelectorAll('nav a')].filter((each) => each.checkVisibility())"
    parts = window.run(
        f"return {links}.map((each) => document.querySelector(each.hash).checkVisibility())"
    )
    assert parts and all(parts), "no link leads to what is not shown"
    if filled is only_failures:
        assert not window.run("return document.querySelector('#costs').checkVisibility()")
    count = window.run("return document.querySelectorAll('#entries tbody button').length")
    for number in range(count):
        window.run(
            "document.querySelectorAll('#entries tbody button')[arguments[0]].click()", number
        )
        window.wait("document.querySelector('dialog[open] table')")
        text = window.run("return document.querySelector('dialog').innerText")
        assert not {"NaN", "undefined", "null", "Infinity"} & {*re.findall(r"\w+", text)}
        window.run("document.querySelector('dialog').close()")
    assert window.run("return document.documentElement.scrollWidth") <= 400
    check_quiet(window, url)


AXE = SHIPPED / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm install --no-save axe-core")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_axe_finds_no_barrier(window, reference, width, dark):
    """Deque's rules for WCAG and best practice, of the whole page and of an entry."""
    window.open(reference, width=width, dark=dark)
    for part in ("gains", "ranks", "costs", "notes"):
        window.see(f"#{part}")
        window.wait(
            f"!document.querySelector('#{part} .plot:not(:has(svg))')"
            if part != "notes"
            else "true"
        )
    window.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert barriers(window) == []
    window.run("document.querySelectorAll('details').forEach((each) => { each.open = false })")
    window.run("[...document.querySelectorAll('#entries button')].at(-1).click()")
    window.wait("document.querySelector('dialog[open] svg')")
    window.run(
        "document.querySelectorAll('dialog details').forEach((each) => { each.open = true })"
    )
    assert barriers(window) == []


def barriers(window: Browser) -> list[str]:
    script = AXE.read_text("utf-8") + (
        "; const done = arguments[arguments.length - 1];"
        "axe.run(document, { resultTypes: ['violations'] }).then((found) => done("
        "  found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 200)}`)))"
    )
    window.driver.set_script_timeout(120)
    return window.driver.execute_async_script(script)


def test_an_empty_folder_has_a_page(window, page, bench):
    url = page()
    window.open(url)
    assert "No results." in window.run("return document.body.innerText")
    check_quiet(window, url)
