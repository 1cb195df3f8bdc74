"""Gain of distillation against the quality of the teacher, where that quality is known.

    python benchmarks/calibration.py --method dllm2rec

On a small synthetic dataset, students learn from teachers that are the planted truth mixed with
more or less noise (kind `planted`): from noise alone nothing can be gained, from the truth it must
be. Everything runs as `bench run` would run it, with the default settings; data, teachers and
records stay in `--home`, so that a second call trains only what is missing. The figure and the
table of `--page` are replaced.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is this folder's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import pandas as pd

from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.data.sources.synthetic_config import is_synthetic
from bench.errors import BenchError
from bench.evaluation.metrics import parse_metric
from bench.execution.run import run_grid
from bench.paths import SHIPPED, Workspace
from bench.records.comparison import NONE
from bench.records.store import ResultStore
from bench.reporting.markdown import marked, pipe
from bench.reporting.render import selected

METRIC = parse_metric("ndcg@20")


@dataclass(frozen=True)
class Point:
    """One method under one teacher.

    Attributes:
        method: its name.
        signal: of the teacher, 0..1.
        teacher: METRIC of the teacher itself.
        score: METRIC of the distilled students, mean over seeds.
        gains: percent over `none` of the same seed, one per seed.
        p: of the paired test against `none` over users, Holm-corrected over all points.
    """

    method: str
    signal: float
    teacher: float
    score: float
    gains: list[float]
    p: float | None

    @property
    def gain(self) -> float:
        return sum(self.gains) / len(self.gains)


@dataclass(frozen=True)
class Calibration:
    """What ran: the baseline's METRIC (mean over seeds) and a point for each other trial."""

    dataset: str
    student: str
    seeds: int
    baseline: float
    points: list[Point]

    def curves(self) -> dict[str, list[Point]]:
        """The points of each method, from the worst teacher to the best."""
        ordered = sorted(self.points, key=lambda point: point.teacher)
        return {
            method: [point for point in ordered if point.method == method]
            for method in dict.fromkeys(point.method for point in self.points)
        }


@click.command()
@click.option("--method", "methods", multiple=True, default=["dllm2rec"], show_default=True)
@click.option("--dataset", default="synthetic-small", show_default=True, help="A synthetic one.")
@click.option("--student", default="sasrec", show_default=True)
@click.option(
    "--signal",
    "signals",
    multiple=True,
    type=click.FloatRange(0, 1),
    default=[0, 0.1, 0.25, 0.5, 0.75, 1],
    show_default=True,
)
@click.option("--seeds", default="0-2", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=SHIPPED / "results" / "calibration",
    help="Folder of data, teachers and records.  [results/calibration]",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    default=SHIPPED / "docs" / "calibration.md",
    help="Markdown that takes the table; the figure lies beside it.  [docs/calibration.md]",
)
def main(
    methods: tuple[str, ...],
    dataset: str,
    student: str,
    signals: tuple[float, ...],
    seeds: str,
    device: str,
    threads: int,
    home: Path,
    page: Path,
) -> None:
    """Measure, and write the figure and the table."""
    workspace = Workspace(home.resolve())
    if not is_synthetic(dataset):
        raise click.ClickException(
            f"dataset {dataset}: planted teachers know the truth behind synthetic datasets only"
        )
    teachers = {f"planted-{signal:g}": signal for signal in signals}
    configure(teachers, workspace)
    selection = Selection(
        methods=["none", *methods],
        datasets=[dataset],
        students=[student],
        teachers=list(teachers),
        seeds=seeds,
    )
    store = ResultStore(workspace.results)
    try:
        grid = resolve(selection, workspace)
        records = run_grid(grid, store, workspace, device=device, threads=threads)
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    if failed := [record.key for record in records if not record.is_done]:
        raise click.ClickException(f"{len(failed)} trials failed; see {store.folder / failed[0]}")
    board, runs = selected(store, [str(METRIC)], keys=[record.key for record in records])
    # A home that is used again holds older code.
    result = calibration(board[board["is_current"]], runs, teachers)
    draw(result, page.with_suffix(".svg"))
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    text = f"![Gain against teacher quality]({page.stem}.svg)\n\n{table(result)}"
    page.write_text(marked(before, "calibration", text), encoding="utf-8")
    click.echo(table(result))


def configure(teachers: dict[str, float], workspace: Workspace) -> None:
    """Give every signal a teacher of its own name in the workspace."""
    folder = workspace.home / "configs" / "teachers"
    folder.mkdir(parents=True, exist_ok=True)
    for name, signal in teachers.items():
        summary = f"the planted truth, signal {signal:g}"
        text = f"summary: {summary}\nkind: planted\noptions: {{signal: {signal:g}}}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def calibration(board: pd.DataFrame, runs: pd.DataFrame, teachers: dict[str, float]) -> Calibration:
    """The points of a leaderboard that holds `none` once and its teachers' own rankings."""
    quality = board[board["kind"] == "teacher"].set_index("teacher")["mean"]
    (baseline,) = board[board["method"] == NONE].itertuples()
    scores = runs.set_index(["entry", "seed"])[str(METRIC)]
    return Calibration(
        dataset=baseline.dataset,
        student=baseline.student,
        seeds=baseline.n,
        baseline=baseline.mean,
        points=[
            Point(
                method=entry.method,
                signal=teachers[entry.teacher],
                teacher=quality[entry.teacher],
                score=entry.mean,
                gains=[
                    100 * (scores[entry.entry, seed] / scores[baseline.entry, seed] - 1)
                    for seed in map(int, entry.compared_seeds.split())
                ],
                p=None if pd.isna(entry.p_holm) else entry.p_holm,
            )
            for entry in board[(board["kind"] == "trial") & (board["method"] != NONE)].itertuples()
        ],
    )


def table(result: Calibration) -> str:
    """The points in markdown."""
    head = ["Method", "Signal", f"Teacher's {METRIC.label}", METRIC.label]
    lines = [
        [
            method,
            f"{point.signal:g}",
            f"{point.teacher:.4f}",
            f"{point.score:.4f}",
            f"{point.gain:+.1f} %",
            ", ".join(f"{gain:+.1f}" for gain in point.gains),
            "" if point.p is None else "<0.001" if point.p < 0.001 else f"{point.p:.3f}",
        ]
        for method, curve in result.curves().items()
        for point in curve
    ]
    return (
        f"{result.dataset} (synthetic), {result.student}, {result.seeds} seeds; "
        f"`none` has {METRIC.label} {result.baseline:.4f}.\n\n"
        f"{pipe([*head, 'vs none', 'by seed', 'p'], lines)}"
    )


def draw(result: Calibration, path: Path) -> None:
    """The figure: a curve for each method, a small point for each seed."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise click.ClickException(
            "the figure needs matplotlib: pip install -e '.[plots]'"
        ) from error
    # The same numbers give the same file.
    mpl.rcParams["svg.hashsalt"] = "calibration"
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.axvline(result.baseline, color="0.6", linewidth=0.8, linestyle="--")
    for method, curve in result.curves().items():
        quality = [point.teacher for point in curve]
        (line,) = axes.plot(quality, [point.gain for point in curve], marker="o", label=method)
        for point in curve:
            x = [point.teacher] * len(point.gains)
            axes.plot(x, point.gains, "o", color=line.get_color(), markersize=3, alpha=0.4)
    axes.annotate(
        "teacher as good as none",
        (result.baseline, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color="0.4",
        fontsize=9,
    )
    # Teachers of several methods are the same: their signals are written once, along the top.
    ticks = {point.teacher: f"{point.signal:g}" for point in result.points}
    top = axes.secondary_xaxis("top")
    top.set_xticks(list(ticks), list(ticks.values()), fontsize=8, rotation=90)
    top.set_xlabel("signal of the teacher", fontsize=9)
    axes.set_xlabel(f"{METRIC.label} of the teacher itself")
    axes.set_ylabel(f"gain in {METRIC.label} over none, %")
    axes.set_title(
        f"{result.dataset} (synthetic), {result.student}, {result.seeds} seeds", fontsize=10
    )
    axes.spines["right"].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
