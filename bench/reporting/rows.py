"""What one line of a leaderboard says, as data; the JSON report is a list of these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BASELINE = "none"
"""The method without a teacher, which others are compared with unless told otherwise."""


SIGNIFICANT = 0.05
"""The corrected p below which a difference has a star."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Frozen):
    """Mean and sample standard deviation over seeds; `std` is None for a single value."""

    mean: float
    std: float | None


class Significance(_Frozen):
    """Paired test of one metric against another method, on the seeds that both ran.

    Attributes:
        difference: mean difference, in units of the metric.
        low: lower end of its 95 % interval over users and seeds.
        high: upper end.
        p: two-sided p-value, rows clustered by user, the spread between seeds added; uncorrected.
        p_holm: the same, Holm-corrected over the methods of the student, or over their controls.
        p_users: without the spread between seeds: would other users show it, of these trials?
        p_seeds: p-value of the paired t-test over seeds alone, uncorrected.
        users: number of users the test rests on.
        knows_seeds: whether the spread between seeds is known; without, `p` is `p_users`.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_users: float
    p_seeds: float | None
    users: int
    knows_seeds: bool

    @property
    def has_star(self) -> bool:
        """Whether other users and other seeds would show the difference."""
        return self.knows_seeds and self.p_holm < SIGNIFICANT


class Segment(_Frozen):
    """Metrics on a part of the test rows; no metrics where the part is empty."""

    rows: int
    metrics: dict[str, Spread]


class Failure(_Frozen):
    """A trial that ended without a result."""

    key: str
    seed: int | None
    status: str
    error: str | None


class Row(_Frozen):
    """One method (or reference) of one cell, over its seeds.

    Attributes:
        selection: split that chose the epochs: `validation`, or `oracle` for the test split.
        method: as named on the command line, with its variant: `dllm2rec:paper`. References are
            `popularity`, `item-knn` and `teacher`.
        teacher: name and control: `text`, `text (shuffled)`; None where none is used.
        tag: tells apart rows that would otherwise read the same (other code, teacher or YAML), and
            marks what is `outdated`.
        seeds: the seeds with a result, of which `metrics` are mean and deviation.
        against: method that `gain` and `significance` compare with, in the same cell.
        gain: difference to it in percent, over `compared_seeds`.
        gap_closed: share of the teacher's lead over `none` that the method gains, in percent;
            absent where the teacher's lead is not far from nothing.
        train_seconds: of all epochs, evaluation apart; on a CPU those of the processor.
        epoch_seconds: the same by epoch.
        time_vs_none: seconds of training divided by those of `none` of the same cell, by `epoch`
            and in `total`, over the seeds that both ran on one machine; empty where there are none.
        machine: where times and latency were measured: the one that most of its trials ran on.
        current: whether the suite and the method's code are today's, as far as can be told, and no
            newer row reads the same.
        outdated: whether another version of the suite made it, whose numbers are other ones.
        cell: identity of what methods are compared on within a table: version of the suite,
            student and training; empty for references.
        uncontrolled: identity of the row without its control: what a method under a teacher and
            under controls of that teacher have in common.
        keys: the records behind the numbers.
    """

    dataset: str
    protocol: str
    kind: Literal["reference", "trial"]
    selection: str
    student: str | None = None
    objective: str | None = None
    method: str
    variant: str | None = None
    teacher: str | None
    control: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    tag: str | None = None
    seeds: list[int]
    metrics: dict[str, Spread]
    against: str = BASELINE
    gain: dict[str, float] = Field(default_factory=dict)
    significance: dict[str, Significance] = Field(default_factory=dict)
    compared_seeds: list[int] = Field(default_factory=list)
    gap_closed: dict[str, float] = Field(default_factory=dict)
    segments: dict[str, Segment]
    train_seconds: Spread | None
    epoch_seconds: Spread | None
    epochs: Spread | None
    time_vs_none: dict[str, float] = Field(default_factory=dict)
    parameters: dict[str, int]
    latency: dict[str, float]
    machine: str | None
    test_rows: int | None
    failures: list[Failure]
    data_fingerprint: str | None
    teacher_fingerprint: str | None
    current: bool
    outdated: bool
    cell: str
    uncontrolled: str
    created: str
    keys: list[str]

    @property
    def table(self) -> tuple[str, str, str, str]:
        """Rows are comparable only within one of these."""
        return (self.dataset, self.protocol, self.data_fingerprint or "", self.selection)

    @property
    def is_baseline(self) -> bool:
        return self.kind == "trial" and self.method == BASELINE

    @property
    def method_label(self) -> str:
        """The method with everything that makes this row differ from its neighbours."""
        changes = ", ".join(
            f"{key.removeprefix('method.')}={value}"
            for key, value in sorted(self.overrides.items())
        )
        label = f"{self.method} [{changes}]" if changes else self.method
        return f"{label} #{self.tag}" if self.tag else label
