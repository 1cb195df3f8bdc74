"""The figure: a point for each method where its gain is, filled where a table has a star."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from bench.paths import SHIPPED
from bench.reporting.figure import figure
from bench.reporting.render import render, selected


def drawn(bench):
    """The axes of the panels, and the entries that they show."""
    board, _ = selected(bench.store, ["ndcg@20"])
    entries = board[board["control"].isna()].itertuples()
    return figure(board).axes, {entry.method: entry for entry in entries}


def points(axes, marker="o"):
    """(x, height, filled) of the points with a marker."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return [
        (line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor() != "white")
        for line in lines
    ]


def test_points_stand_at_the_gains_best_on_top_filled_where_sure(bench):
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("hint", skill=0.3001)
    bench.references(teacher_skill=0.4)
    (axes,), entries = drawn(bench)
    names = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
    assert sorted(names) == ["dllm2rec", "hint", "popularity", "teacher text"]
    for (gain, height, filled), method, sure in zip(
        sorted(points(axes), key=lambda point: point[1]),
        ("hint", "dllm2rec"),
        (False, True),
        strict=True,
    ):
        assert gain == pytest.approx(entries[method].gain)
        assert names[int(height)] == method and filled is sure
    for gain, height, _ in points(axes, "D"):
        found = entries[names[int(height)].partition(" ")[0]]
        means = [entry.mean for entry in (found, entries["none"])]
        assert gain == pytest.approx(100 * (means[0] / means[1] - 1))
    in_order = sorted(points(axes) + points(axes, "D"), key=lambda point: point[1])
    assert in_order == sorted(in_order)
    bars = [line for line in axes.get_lines() if line.get_marker() == "None"]
    spans = [tuple(line.get_xdata()) for line in bars if len(set(line.get_ydata())) == 1]
    ours, none = entries["dllm2rec"], entries["none"]
    percent = 100 / none.mean
    assert any(span == pytest.approx((ours.low * percent, ours.high * percent)) for span in spans)


def test_without_users_the_points_stay_and_have_no_interval(bench):
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    (bench.store.folder / "users" / f"{bench.data.fingerprint}.npy").unlink()
    (axes,), entries = drawn(bench)
    assert points(axes) == [(entries["dllm2rec"].gain, 0, False)]
    spans = [tuple(line.get_xdata()) for line in axes.get_lines() if line.get_marker() == "None"]
    assert all(low == high for low, high in spans)


def test_a_control_is_a_cross_in_the_line_of_what_it_is_made_of(bench):
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.2, seeds=1, control="shuffled")
    (axes,), _ = drawn(bench)
    ((gain, height, _),) = points(axes, "x")
    assert gain < 0 and height == points(axes)[0][1]


def test_every_student_has_a_panel(bench):
    for student in ("sasrec", "gru4rec"):
        bench.done("none", student=student, skill=0.3)
        bench.done("dllm2rec", student=student, skill=0.4)
    panels, _ = drawn(bench)
    titles = [axes.get_title(loc="left") for axes in panels]
    assert [title.split(" · ")[2] for title in titles] == [
        "gru4rec (ce), seeds: 3",
        "sasrec (ce), seeds: 3",
    ]


def test_it_is_an_image_whatever_names_there_are_and_the_same_every_time(bench):
    ElementTree.fromstring(render(bench.store, "svg"))  # noqa: S314 - our own; no entries
    bench.done("none", skill=0.3)
    bench.done("<script>$x_1^$", skill=0.4)
    text = render(bench.store, "svg")
    root = ElementTree.fromstring(text)  # noqa: S314
    words = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(word.startswith("<script>$x_1^$") for word in words)
    assert render(bench.store, "svg") == text


def test_every_colour_is_of_the_data_or_has_another_in_dark_mode():
    """Of the committed figure, which has all that can be drawn, average ranks included."""
    text = (SHIPPED / "docs" / "leaderboards.svg").read_text(encoding="utf-8")
    styles, drawn = text.split("</style>", 1)
    assert "@media (prefers-color-scheme: dark)" in styles
    used = set(re.findall(r"(?:fill|stroke): #\w{6}", drawn))
    data = {f"{what}: {color}" for what in ("fill", "stroke") for color in DATA_COLORS}
    assert used - data <= set(re.findall(r'style\*="(.+?)"', styles))


DATA_COLORS = ("#1f77b4", "#ff7f0e", "#737373")
"""Seen on white and on near black."""
