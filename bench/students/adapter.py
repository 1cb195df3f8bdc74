"""The adapter through which the suite uses a RecBole model as a student."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.distillation import Fusion
from bench.errors import ConfigError
from bench.students import properties
from bench.students.abilities import ADAPTERS
from bench.students.config import StudentConfig
from bench.students.dropout import replace_dropout
from bench.students.items import ItemTable
from bench.students.recbole import build_model
from bench.training.objectives import OBJECTIVES


class Adapter(nn.Module):
    """An untouched RecBole sequential model behind the suite's interface.

    This one runs RecBole's own forward. Subclasses in `bench/students/models/` encode faster, or
    have methods beyond these, which are abilities (`bench.students.abilities`).

    Attributes:
        n_items: N, size of the catalogue without padding.
        width: d, size of item embeddings and encoded histories.
        objective: the base objective it is trained with.
    """

    table: ClassVar[type[ItemTable]] = ItemTable
    """What takes the place of the model's own item embeddings."""

    @staticmethod
    def of(config: StudentConfig, **world: Any) -> Adapter:
        """The student of a model, by the adapter that is registered for it.

        Args:
            config: the model and its hyper-parameters.
            world: the other arguments of the constructor.

        Raises:
            ConfigError: RecBole is missing, the model cannot be a student, or a parameter is
                unknown to it.
        """
        properties.check(config)
        return ADAPTERS.load(config.model)(config, **world)

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
            prompt_length: k, vectors that a method will put before every history.

        Raises:
            ConfigError: prompts are wanted, and the adapter has no method `prompt`.
        """
        super().__init__()
        if prompt_length and not hasattr(self, "prompt"):
            raise ConfigError(f"student model {config.model} takes no prompts")
        self.n_items = n_items
        self.objective = OBJECTIVES[objective]
        self._user_ids: Tensor
        users = torch.where(known_users, torch.arange(1, len(known_users) + 1), 0)
        self.register_buffer("_user_ids", users, persistent=False)
        places = self.places(history, prompt_length)
        self.model = build_model(config, places, n_items, len(known_users))
        replace_dropout(self.model)
        self.items = self.model.item_embedding = self.table(
            self.model.item_embedding.weight, reads_all=self.objective.reads_whole_table
        )
        self.width = self.items.offset.shape[1]
        self._zero_padding_user()
        self._arguments = list(inspect.signature(self.model.forward).parameters)

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

    def begin_step(self) -> None:
        """Forget what was computed from the parameters of the step before."""
        self.items.forget()

    def encode(self, history: Tensor, length: Tensor, user: Tensor | None) -> Tensor:
        """Encode histories: int64 [B, L'], [B] and [B] to float32 [B, d], L' <= L.

        Without a `user` everybody is the padding user.
        """
        known = {
            "item_seq": F.pad(history, (0, self.model.max_seq_length - history.shape[1])),
            "item_seq_len": length,
            "user": self._known(user, length),
        }
        return self.items.hidden(self.model(*(known[name] for name in self._arguments)))

    def item_table(self) -> Tensor:
        """float32 [N + 1, d], the scoring table of this step."""
        return self.items.weight

    def queries(self, hidden: Tensor) -> Tensor:
        """What scores of encoded histories [B, d] are inner products of, with keys: [B, d']."""
        return hidden

    def keys(self) -> Tensor:
        """float32 [N + 1, d'] of this step: the scoring table, and a bias where there is one."""
        return self.items.weight

    def keys_of(self, ids: Tensor) -> Tensor:
        """Keys of items `ids` [...], differentiable float32 [..., d']."""
        return self.items.scoring(ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [B, N + 1] of encoded histories [B, d]; column 0 (padding) is -inf."""
        scores = self.queries(hidden) @ self.keys().T
        scores[:, 0] = -torch.inf
        return scores

    def penalty(self) -> Tensor | None:
        """The regulariser that RecBole adds inside a model's own loss, or None."""
        return None

    def export_state(self) -> dict[str, Tensor]:
        """The folded student under RecBole's own parameter names.

        A student that scores by another table than it reads has one more tensor, `head`.
        """
        state = dict(self.model.state_dict())
        state["item_embedding.weight"] = state.pop("item_embedding.offset")
        if "item_embedding.head" in state:
            state["head"] = state.pop("item_embedding.head")
        return state

    def import_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `export_state`, into a student built with the same settings."""
        state = dict(state)
        state["item_embedding.offset"] = state.pop("item_embedding.weight")
        if "head" in state:
            head = state["item_embedding.head"] = state.pop("head")
            self.items.head = nn.Parameter(torch.empty_like(head))
        self.model.load_state_dict(state)
        self.items.forget()

    @staticmethod
    def places(history: int, prompt_length: int) -> int:
        """How many places a model needs for L items, and k prompts before them."""
        return history

    def _known(self, user: Tensor | None, length: Tensor) -> Tensor:
        """RecBole's user ids [B]; 0 for those without training rows, and for all without `user`."""
        return torch.zeros_like(length) if user is None else self._user_ids[user]

    @torch.no_grad()
    def _zero_padding_user(self) -> None:
        if hasattr(self.model, "user_embedding"):
            self.model.user_embedding.weight[0] = 0.0


@lru_cache
def has_recurrent_layers(config_json: str, objective: str) -> bool:
    """Whether a model has some; builds it for a catalogue of a few items.

    Args:
        config_json: a `StudentConfig` as JSON.
        objective: name of the base objective.

    Raises:
        ConfigError: it cannot be built; RecBole checks values only then.
    """
    config = StudentConfig.model_validate_json(config_json)
    users = torch.ones(1, dtype=torch.bool)
    try:
        student = Adapter.of(config, n_items=4, history=10, known_users=users, objective=objective)
    except ConfigError:
        raise
    except Exception as error:  # RecBole checks values with whatever is at hand
        raise ConfigError(
            f"student model {config.model} cannot be built with {config.parameters}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return any(isinstance(module, nn.RNNBase) for module in student.modules())
