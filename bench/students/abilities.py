"""Which RecBole models can be students, and what each can do (imports no torch by itself).

An ability is a method that an adapter has. A model that can do more is a class in
`bench/students/models/`, registered here; a new ability is its method and an entry of `ABILITIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.registry import Entry, Registry

if TYPE_CHECKING:
    from bench.students.adapter import Adapter
    from bench.students.config import StudentConfig
    from bench.training.config import TrainingConfig

ADAPTERS: Registry[type[Adapter], Entry] = Registry(
    "student model", Entry, "bench.students.adapter:Adapter"
)
"""Adapters by the class name of their RecBole model. A student scores items by the inner product of
an encoded history with one item table, which is where methods distil into, and runs on any device.
RecBole's other models score in another way, read features of items, or name a device."""

for _generic in ("LightSANs", "NARM", "STAMP"):
    ADAPTERS.register(_generic, "bench.students.adapter:Adapter")
for _own in ("BERT4Rec", "Caser", "GRU4Rec", "NextItNet", "SASRec"):
    ADAPTERS.register(_own, f"bench.students.models.{_own.lower()}:{_own}")


@dataclass(frozen=True)
class Ability:
    """What an adapter can do if it has a method.

    Attributes:
        method: name of the method.
        asked_by: what asks for it.
        without: what is so of a model that lacks it.
        is_asked: whether a training asks for it, under a method that puts k prompts before
            every history.
    """

    method: str
    asked_by: str
    without: str
    is_asked: Callable[[TrainingConfig, int], bool]

    def models(self) -> list[str]:
        """The models that have it (imports torch)."""
        return [name for name in ADAPTERS.names() if hasattr(ADAPTERS.load(name), self.method)]


ABILITIES = (
    Ability(
        "prompt",
        "a method that puts prompts before histories",
        "takes none",
        lambda training, prompts: prompts > 0,
    ),
    Ability(
        "encode_in_parts",
        "training.checkpointing",
        "reads items alone, not vectors that are looked up once and encoded part by part",
        lambda training, prompts: training.checkpointing,
    ),
    Ability(
        "encode_at",
        "training.positions other than `last`",
        "is read at the end of a history only",
        lambda training, prompts: training.positions != "last",
    ),
    Ability(
        "cloze",
        "training.objective=cloze",
        "has no mask to stand in the place of an item",
        lambda training, prompts: training.objective == "cloze",
    ),
)


def problems(config: StudentConfig, training: TrainingConfig, prompts: int = 0) -> list[str]:
    """Why a student cannot be trained like that; empty if it can (imports torch and RecBole).

    Args:
        config: the model and its hyper-parameters.
        training: how it is trained.
        prompts: k, vectors that the method puts before every history (`Method.prompt_length`).

    Raises:
        ConfigError: the model cannot be a student, or cannot be built with its hyper-parameters.
    """
    from bench.students.adapter import has_recurrent_layers

    recurrent = has_recurrent_layers(config.model_dump_json(), training.objective)
    found = [
        f"{ability.asked_by}: student model {config.model} {ability.without}. "
        f"Allowed: {', '.join(ability.models())}"
        for ability in ABILITIES
        if ability.is_asked(training, prompts) and config.model not in ability.models()
    ]
    if training.precision == "bf16" and recurrent:
        found.append(
            f"training.precision=bf16: student model {config.model} has recurrent layers, which "
            "autocast computes in float16 on a CUDA device. Allowed: float32, tf32"
        )
    return found
