"""The interface of a distillation method.

A method is a file in `methods/` (or a plug-in) with one registered class. It sees tensors that are
already on the right device; it never opens a file, names a device or owns an optimiser.
Shapes use B rows in a batch, L history length, N items (ids 1..N, 0 pads), d student width, D
teacher width, R training rows, K_T stored teacher items per row, M models of an ensemble with C
saved states each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from bench.signals import Signals


class MethodConfig(BaseModel):
    """Base of every method's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingRows(Protocol):
    """All R training rows, in the order that `Batch.row_id` counts.

    Tensors are int64: history [R, L] (ids 1..N, padded with 0 on the right), length [R] in 1..L,
    target [R], user [R], and ordinal [R], the place of the target in the whole history of its
    user: the row before (same user, ordinal - 1) has this row's last item as its target.
    """

    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor
    ordinal: Tensor


@dataclass(frozen=True)
class Knowledge(Signals[Tensor]):
    """What is known beside the batch: the arrays of a teacher, and the training split.

    `Signals` says what each array holds. One that the teacher does not offer is None; a method only
    reads those it `needs`.

    Attributes:
        target_counts: float32 [N + 1], how often each item is a training target; entry 0 is 0.
        rows: the training rows.
        trajectory_names: names of the M models of the trajectories.
    """

    target_counts: Tensor
    rows: TrainingRows | None = None
    trajectory_names: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Knowledge:
        """The same knowledge with every tensor on `device`; `rows` are left where they are."""
        tensors = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **tensors)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """B training rows.

    Attributes:
        row_id: int64 [B], index of each row in the training table (addresses the teacher).
        history: int64 [B, L], ids 1..N, padded with 0 on the right.
        length: int64 [B], 1..L.
        target: int64 [B], 1..N.
        user: int64 [B].
        negative: int64 [B], one uniform item outside history and target, where the objective
            samples one; else None.
        generator: source of every random number that a method draws in this step.
        shared: int64 [K], ids 1..N in any order, repetitions included: negatives of all rows at
            once, where the objective samples such; else None.
    """

    row_id: Tensor
    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor
    negative: Tensor | None
    generator: torch.Generator
    shared: Tensor | None = None

    @classmethod
    def of(cls, rows: TrainingRows, row_id: Tensor, generator: torch.Generator) -> Batch:
        """The rows `row_id` [B] of a table, without negatives."""
        return cls(
            row_id=row_id,
            history=rows.history[row_id],
            length=rows.length[row_id],
            target=rows.target[row_id],
            user=rows.user[row_id],
            negative=None,
            generator=generator,
        )


class Output(Protocol):
    """What the student says about a batch; the catalogue block [B, N + 1] is made at most once."""

    hidden: Tensor
    """float32 [B, d], the encoded histories."""

    @property
    def table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table of this step.

        Logits are `hidden @ table.T`, plus a bias per item where the student has one (BERT4Rec).
        """

    def scores(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of chosen items `ids` [B, K]."""

    def scores_of_all(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of the same items `ids` [K] for every row."""

    def mean_score(self, shares: Tensor) -> Tensor:
        """Differentiable mean [B] of the logits, weighted by the `shares` of items.

        Args:
            shares: float32 [N + 1] without gradient, sums to 1; entry 0 is 0.
        """

    def log_probs(self, ids: Tensor) -> Tensor:
        """Differentiable log-softmax over the real items, [B, K], at `ids` [B, K]."""

    def log_rest(self, ids: Tensor) -> Tensor:
        """Differentiable log-sum-exp [B] of the logits of all real items that are not in `ids`.

        Args:
            ids: int64 [B, K], at most N - 1 different items a row; 0 and repetitions are ignored.
        """

    def robust(self, targets: Tensor, exponents: Tensor, temperature: float = 1.0) -> Tensor:
        r"""Distributionally robust term of every row for each of K targets, [B, K].

        .. math::
            \log \Big( \sum_{i \ne y} e^{ps_i s_i^2 / \beta} + e^{ps_y (s_y - 1)^2 / \beta} \Big)

        over the real items i, for the target y and logits s (DROS, Yang et al., SIGIR 2023, as
        used by DLLM2Rec, Cui et al., RecSys 2024). Its exponentials, taken literally, overflow
        float32 once a logit exceeds about 12; here they cannot.

        Args:
            targets: int64 [B, K], different ids 1..N in a row.
            exponents: float32 [N + 1], ps; entry 0 is not read.
            temperature: beta > 0; in a trial, left out, it is the objective's
                (`training.dros_temperature`).
        """

    def top_k(self, k: int) -> Tensor:
        """Ids [B, min(k, N)] of the student's best items now, best first; no gradient."""

    @property
    def logits(self) -> Tensor:
        """Differentiable logits [B, N + 1]; column 0 (padding) is -inf."""


Fusion = Callable[["Tensor | slice"], Tensor]
"""What is added to the embeddings of some items, [U, d], or of the whole table, [N + 1, d].

Its argument indexes a table [N + 1, ...]: different ids [U], or a slice of everything. What it says
of the id 0 is not used.
"""


class Objective(Protocol):
    """What a method may know of the base objective."""

    @property
    def name(self) -> str:
        """Value of `training.objective`."""

    @property
    def samples_negatives(self) -> bool:
        """Whether batches have a `negative`."""

    @property
    def is_shift_invariant(self) -> bool:
        """Whether adding a number to all scores of an example changes nothing."""

    @property
    def is_robust(self) -> bool:
        """Whether it has a distributionally robust term (`Output.robust`)."""


class Student(Protocol):
    """A RecBole model behind the suite's adapter, as a method sees it (an `nn.Module`)."""

    n_items: int
    width: int

    @property
    def objective(self) -> Objective:
        """The base objective that it is trained with."""

    @property
    def item_offset(self) -> nn.Parameter:
        """float32 [N + 1, d], the student's own item embeddings; row 0 is zero."""

    def parameters(self) -> Any:
        """The student's parameters; its fusions and prompts belong to the method."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on or off, as in `nn.Module`."""

    def eval(self) -> Any:
        """Switch dropout off."""

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """Encode histories: int64 [B, L'], [B] and [B] to float32 [B, d], L' <= L.

        Without a `user`, students that know users see one of whom nothing is known.
        """

    def item_table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table of this step."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [B, N + 1] of encoded histories [B, d]; column 0 (padding) is -inf."""

    def fuse(self, fusion: Fusion, *, output: bool = True) -> None:
        """Add `fusion` to the item table that the encoder reads.

        With `output` the tied scoring table gets it too. A step asks for the items that it reads,
        or for all. When training ends the sum is folded into the student, which is then a plain
        model of the usual size.
        """

    def replace_items(
        self, items: Callable[[], Tensor], scoring: Callable[[], Tensor] | None = None
    ) -> None:
        """Let `items()` [N + 1, d] be the item table, in place of the student's own embeddings.

        `item_offset` is no longer trained, unless `items` reads it and switches that on again.
        `scoring()` [N + 1, d], where given, is the scoring table; it may call `encode`. Both are
        computed once a step and folded into the student when training ends.
        """

    def score_by_cosine(self, scale: float) -> None:
        """Make logits scale * cos(h, e_i) from now on; folding keeps every row's order of items."""


class PromptedStudent(Student, Protocol):
    """A student of a method whose `prompt_length` is above 0; only some models can be one."""

    def encode_vectors(self, vectors: Tensor, length: Tensor) -> Tensor:
        """Encode sequences of vectors in place of items: [B, L', d] and [B] to [B, d].

        Vectors at and beyond `length` are padding.
        """

    def lookup(self, ids: Tensor) -> Tensor:
        """What the encoder reads for item `ids` [...]: differentiable float32 [..., d]."""

    def prompt(self, prompts: Callable[[], Tensor] | None) -> None:
        """Put `prompts()` [k, d] before every history from now on; None takes them away.

        At the end they become a tensor of the student, which then reads k vectors more.
        k is `Method.prompt_length`.
        """


@dataclass(frozen=True, eq=False)
class Stage:
    """One part of a training; most methods have a single one with these defaults.

    What is None is as the trial's training settings say.

    Attributes:
        trained: parameters that this stage changes; None is everything of student and method.
        base: whether the base objective (and the student's own penalty) is part of the loss.
        rows: int64 [R'], the training rows that it passes over; None is all of them.
        monitor: measures the state after an epoch, larger is better, without gradients; None is
            the validation metric. Epochs are chosen by it.
        max_epochs: upper bound of passes.
        min_epochs: passes before early stopping may act.
        patience: passes without a better value.
        learning_rate: step size.
        weight_decay: L2 coefficient.
    """

    trained: Sequence[nn.Parameter] | None = None
    base: bool = True
    rows: Tensor | None = None
    monitor: Callable[[], float] | None = None
    max_epochs: int | None = None
    min_epochs: int | None = None
    patience: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None


class Method(nn.Module):
    """Base of all methods: no terms, nothing attached, one stage.

    Parameters that a subclass registers as a module (projectors, prompts) are trained together
    with the student and are dropped afterwards.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    needs: ClassVar[frozenset[str]] = frozenset()
    """Signals without which the method cannot run; set by `register_method`."""

    needs_where: ClassVar[frozenset[tuple[str, str, str]]] = frozenset()
    """Settings, values and the signals that they need besides; set by `register_method`."""

    curriculum_finished: bool = True
    """False while a curriculum is under way: early stopping counts its patience from the end."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.derived: dict[str, Any] = {}
        """What `attach` derived from the teacher; kept in the record beside the settings."""

    @classmethod
    def signals(cls, config: Any) -> frozenset[str]:
        """Teacher signals that the method needs under `config`: some of `bench.signals.SIGNALS`."""
        besides = {
            signal for name, value, signal in cls.needs_where if getattr(config, name) == value
        }
        return cls.needs | besides

    @classmethod
    def prompt_length(cls, config: Any) -> int:
        """Vectors k that the method puts before every history; the student is made for them."""
        return 0

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        """Build what the method adds to the student; called once, after initialisation.

        Parameters and modules assigned to the method are brought to the device afterwards.
        """

    def stages(self) -> Sequence[Stage]:
        """The parts of the training, in order; asked for once, after `attach`."""
        return (Stage(),)

    def on_stage_start(self, stage: int) -> None:
        """Called before stage number `stage` (0-based) of `stages()`."""

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        """Called before each pass, `epoch` counted from 1 within its stage.

        Returns:
            Numbers for the curve of the record, by name.
        """
        return {}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Named, already weighted terms (scalars) that the loop adds to the base loss."""
        return {}
