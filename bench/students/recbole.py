"""RecBole models as students; the only file that imports recbole.

A model is built by composition: RecBole's class is instantiated with a plain mapping of its own
defaults and a stand-in for its dataset. RecBole's `Config` is not used, since it reads
`sys.argv`, sets NumPy globals and keeps unknown keys; neither are its loaders and trainer.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.distillation import Fusion
from bench.students import all_positions, last_position, prompted, properties
from bench.students.checkpointing import in_parts
from bench.students.config import StudentConfig
from bench.students.dropout import replace_dropout
from bench.students.items import ItemTable
from bench.students.penalties import PENALTIES


class RecBoleStudent(nn.Module):
    """An untouched RecBole sequential model behind the suite's interface.

    Attributes:
        n_items: N, size of the catalogue without padding.
        width: d, size of item embeddings and encoded histories.
        objective: name of the base objective it is trained with.
    """

    models: tuple[str, ...] = properties.STUDENTS
    """Names of the RecBole models that this adapter serves."""

    def __init__(
        self,
        config: StudentConfig,
        *,
        n_items: int,
        history: int,
        known_users: Tensor,
        objective: str,
        prompt_length: int = 0,
    ) -> None:
        """Build the model; parameters are drawn from torch's global generator.

        Args:
            config: the model and its hyper-parameters.
            n_items: N.
            history: L, the longest history.
            known_users: bool [U], True for users with training rows. The others share the
                padding user (a zero vector), since RecBole would give them untrained noise.
            objective: name of the base objective.
            prompt_length: k, vectors that a method will put before every history. A model that
                is made for one length gets room for them, and reads zeros there until then.

        Raises:
            ConfigError: RecBole is missing, the model is none of `models`, or a parameter is
                unknown to it.
        """
        super().__init__()
        properties.check(config, self.models)
        self.n_items = n_items
        self.objective = objective
        room = prompt_length if config.model in prompted.FIXED_LENGTH else 0
        settings = model_settings(config, history + room)
        self._user_ids: Tensor
        self._blank: Tensor | None
        users = torch.where(known_users, torch.arange(1, len(known_users) + 1), 0)
        self.register_buffer("_user_ids", users, persistent=False)
        counts = {"item_id": n_items + 1, "user_id": len(known_users) + 1}
        self.model: Any = _model_class(config.model)(settings, _Catalogue(counts))
        replace_dropout(self.model)
        self.items = self.model.item_embedding = ItemTable(
            self.model.item_embedding.weight, reads_all=objective in READ_ALL
        )
        self.width = self.items.offset.shape[1]
        self._zero_padding_user()
        self._encode = _encoder(config.model, self.model)
        self._name = config.model
        self._prompting: Callable[[], Tensor] | None = None
        self.prompts: nn.Parameter | None = None
        blank = torch.zeros(room, self.width) if room else None
        self.register_buffer("_blank", blank, persistent=False)

    @property
    def item_offset(self) -> nn.Parameter:
        """float32 [N + 1, d], the student's own item embeddings."""
        return self.items.offset

    def fuse(self, fusion: Fusion, *, output: bool = True) -> None:
        """See `bench.distillation.Student.fuse`."""
        self.items.fuse(fusion, output=output)

    def replace_items(
        self, items: Callable[[], Tensor], scoring: Callable[[], Tensor] | None = None
    ) -> None:
        """See `bench.distillation.Student.replace_items`."""
        self.items.replace(items, scoring)

    def score_by_cosine(self, scale: float) -> None:
        """See `bench.distillation.Student.score_by_cosine`."""
        self.items.score_by_cosine(scale)

    def fold(self) -> None:
        """Make whatever a method added the student's own; nothing of the method is read again."""
        self.items.fold()
        if self._prompting is not None:
            self.prompts = nn.Parameter(self._prompting().detach().clone())
            self._prompting = None

    def begin_step(self) -> None:
        """Forget what was computed from the parameters of the step before."""
        self.items.forget()

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """Encode histories: int64 [B, L'], [B] and [B] to float32 [B, d], L' <= L.

        Without a `user` everybody is the padding user.
        """
        users = torch.zeros_like(length) if user is None else self._user_ids[user]
        prompts = self._prompts()
        if prompts is None:
            return self.items.hidden(self._encode(history, length, users))
        return self._read(self.items(history), length, users, prompts)

    def encode_in_parts(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        """What `encode` returns, from less memory and in more time; students that read vectors can.

        See `bench.students.checkpointing`.
        """
        # Made once: parts are run twice.
        prompts, vectors = self._prompts(), self.items(history)

        def encode(vectors: Tensor, length: Tensor, users: Tensor) -> Tensor:
            return self._read(vectors, length, users, prompts)

        return in_parts(encode, vectors, length, self._user_ids[user])

    def encode_at(self, history: Tensor, place: Tensor) -> Tensor:
        """Encode many prefixes of each history in one pass.

        Args:
            history: int64 [W, L'], L' <= L.
            place: int64 [B], the positions where the prefixes end, counted through all W * L'.

        Returns:
            float32 [B, d], what `encode` makes of the prefixes.

        Raises:
            ConfigError: this student cannot.
        """
        encode = all_positions.encoder(self._name)
        hidden = encode(self.model, self.items(history), place, self._prompts())
        return self.items.hidden(hidden)

    def encode_vectors(self, vectors: Tensor, length: Tensor) -> Tensor:
        """Encode sequences of vectors, [B, L', d] and [B] to [B, d], for the padding user."""
        return self._read(vectors, length, torch.zeros_like(length), self._prompts())

    def lookup(self, ids: Tensor) -> Tensor:
        """What the encoder reads for item `ids` [...]: differentiable float32 [..., d]."""
        embeddings: Tensor = self.items(ids)
        return embeddings

    def prompt(self, prompts: Callable[[], Tensor] | None) -> None:
        """See `bench.distillation.Student.prompt`."""
        self._reader()
        self._prompting = prompts

    def item_table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table of this step."""
        return self.items.weight

    def item_vectors(self, ids: Tensor) -> Tensor:
        """Rows `ids` [...] of the scoring table, differentiable float32 [..., d]."""
        return self.items.scoring(ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [B, N + 1] of encoded histories [B, d]; column 0 (padding) is -inf."""
        scores = hidden @ self.item_table().T
        scores[:, 0] = -torch.inf
        return scores

    def penalty(self) -> Tensor | None:
        """The regulariser that RecBole adds inside a model's own loss, or None."""
        penalty = PENALTIES.get(self._name)
        return None if penalty is None else penalty(self.model)

    def export_state(self) -> dict[str, Tensor]:
        """The folded student under RecBole's own parameter names.

        A student that scores by another table than it reads has one more tensor, `head`; one that
        reads prompts has `prompts` [k, d].
        """
        state = dict(self.model.state_dict())
        if self.prompts is not None:
            state["prompts"] = self.prompts.detach()
        state["item_embedding.weight"] = state.pop("item_embedding.offset")
        if "item_embedding.head" in state:
            state["head"] = state.pop("item_embedding.head")
        return state

    def import_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `export_state`, into a student built with the same settings."""
        state = dict(state)
        if "prompts" in state:
            self.prompts = nn.Parameter(state.pop("prompts").clone())
        state["item_embedding.offset"] = state.pop("item_embedding.weight")
        if "head" in state:
            head = state["item_embedding.head"] = state.pop("head")
            self.items.head = nn.Parameter(torch.empty_like(head))
        self.model.load_state_dict(state)
        self.items.forget()

    def _prompts(self) -> Tensor | None:
        """What precedes a history now: prompts [k, d], zeros where there is room for them."""
        if self._prompting is not None:
            return self._prompting()
        blank: Tensor | None = self._blank
        return blank if self.prompts is None else self.prompts

    def _reader(self) -> prompted.Reader:
        if self._name not in prompted.READERS:
            able = ", ".join(prompted.READERS)
            raise ValueError(f"student {self._name} takes no prompts; {able} do")
        return prompted.READERS[self._name]

    def _read(
        self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None
    ) -> Tensor:
        return self.items.hidden(self._reader()(self.model, vectors, length, user, prompts))

    @torch.no_grad()
    def _zero_padding_user(self) -> None:
        if hasattr(self.model, "user_embedding"):
            self.model.user_embedding.weight[0] = 0.0


READ_ALL = frozenset({"ce", "dros"})
"""Objectives whose every step reads the whole scoring table."""

_ANY_LENGTH = ("GRU4Rec",)
"""Models whose own forward takes histories shorter than the longest."""

_FIELDS = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    # Read by BERT4Rec alone, for a loss that the suite does not use.
    **dict.fromkeys(("MASK_ITEM_SEQ", "POS_ITEMS", "NEG_ITEMS", "MASK_INDEX"), ""),
    # RecBole's models insist on one of their own losses; the suite's objectives replace it.
    "loss_type": "CE",
}


@dataclass(frozen=True)
class _Catalogue:
    """All that a sequential RecBole model asks of a dataset."""

    counts: dict[str, int]

    def num(self, field: str) -> int:
        return self.counts[field]

    @property
    def user_num(self) -> int:
        return self.counts["user_id"]

    @property
    def item_num(self) -> int:
        return self.counts["item_id"]


def model_settings(config: StudentConfig, history: int) -> dict[str, Any]:
    """All that a RecBole model reads of its configuration, in plain values.

    Args:
        config: which model, and its hyper-parameters.
        history: how many items it reads at most.
    """
    known = properties.environment() | properties.defaults(config.model) | config.parameters
    return known | _FIELDS | {"MAX_ITEM_LIST_LENGTH": history, "device": "cpu"}


def _model_class(name: str) -> type:
    # Importing RecBole's models switches autograd's anomaly detection on for the whole process,
    # which checks every gradient for NaN and costs a sixth of each step.
    before = torch.is_anomaly_enabled()
    try:
        module = importlib.import_module(f"recbole.model.sequential_recommender.{name.lower()}")
    finally:
        torch.autograd.set_detect_anomaly(before)
    return getattr(module, name)


def _encoder(name: str, model: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """How to call the model's forward: by the names of its arguments, or faster where known."""
    if name in last_position.ENCODERS:
        fast = last_position.ENCODERS[name]
        return lambda history, length, user: fast(model, model.item_embedding(history), length)
    wanted = list(inspect.signature(model.forward).parameters)

    def encode(history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        if name not in _ANY_LENGTH:
            history = F.pad(history, (0, model.max_seq_length - history.shape[1]))
        known = {"item_seq": history, "item_seq_len": length, "user": user}
        return model.forward(*(known[argument] for argument in wanted))

    return encode
