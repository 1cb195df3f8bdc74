"""A distilled student as a checkpoint that RecBole itself loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import limits
from bench.data.examples import PreparedData
from bench.errors import ConfigError, DataError, UnknownNameError
from bench.files import write_output, writing_to
from bench.records.archive import Place
from bench.records.arrays import STUDENT, state_hash
from bench.records.checks import refuse_another
from bench.records.record import Record
from bench.records.store import ResultStore

if TYPE_CHECKING:
    from torch import Tensor

_NO_PLACE = {
    "head": "left the student with a scoring table beside its item table",
    "prompts": "left the student with prompts, which it reads before every history",
}
"""Tensors of a student that RecBole's model does not have, and how they came about."""


def find_trial(prefix: str, store: ResultStore) -> Record:
    """The one finished trial whose key starts with `prefix`.

    Raises:
        UnknownNameError: there is none, or several.
    """
    trials = [r for r in store.records() if r.kind == "trial" and r.is_done]
    found = [record for record in trials if record.key.startswith(prefix)]
    if len(found) != 1:
        kind = "key of a finished trial" if not found else "key (several begin like that)"
        raise UnknownNameError(kind, prefix, [record.key[:12] for record in found or trials])
    return found[0]


def student_file(record: Record, store: ResultStore) -> Place:
    """The file of the finished student of a record.

    Raises:
        ConfigError: the record holds none.
    """
    weights = store.place(record.key, STUDENT)
    if record.trial is None or weights is None:
        raise ConfigError(
            f"{store.folder / record.key}: this record holds no student; those of your own runs do"
        )
    return weights


def load_weights(record: Record, store: ResultStore, data: PreparedData) -> dict[str, Tensor]:
    """The tensors of the finished student of a record, by RecBole's names (imports torch).

    Raises:
        ConfigError: the record holds no student, or the data are not those that it was trained
            on, so that its item ids would mean other items.
        DataError: the student is damaged, or not the one that the record was written with.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    weights = student_file(record, store)
    assert record.trial is not None  # noqa: S101 - what has a student is a trial
    if record.trial.data_fingerprint != data.fingerprint:
        raise ConfigError(
            f"{record.trial.label}: it was trained on other data than dataset '{data.dataset}' "
            f"holds now under {data.protocol} (fingerprint {record.trial.data_fingerprint}, now "
            f"{data.fingerprint}): its item ids mean other items"
        )
    try:
        state = load(limits.read_whole(weights, limits.STUDENT))
        if STUDENT in record.arrays:
            found = state_hash({name: tensor.numpy() for name, tensor in state.items()})
            refuse_another(STUDENT, found, record)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{weights}: cannot be read: {error}") from error
    except DataError as error:
        raise DataError(
            f"{weights.parent}: {error}; remove this folder, and run it again"
        ) from error
    return state


def export_checkpoint(record: Record, store: ResultStore, data: PreparedData, output: Path) -> Path:
    """Write the student of a record as RecBole keeps models: whole or not at all.

    The file holds `state_dict` under RecBole's own names (`model.load_state_dict` takes it),
    `config` with all that the model's constructor reads, `other_parameter` (None, which RecBole's
    trainer asks for), and `item_tokens` and `user_tokens`, of which number i is the item or user
    with id i. It holds tensors and plain values only, so that
    `torch.load(..., weights_only=True)` reads it. docs/serving.md shows how to use it.

    Users without training rows have the zero vector with which the student was evaluated, in place
    of the random one that RecBole's constructor drew and no step ever changed (Caser).

    Raises:
        ConfigError: the record holds no student, or one that no RecBole model can hold, or the
            data are not those that it was trained on, or `output` cannot be written to.
    """
    import torch

    from bench.students.abilities import ADAPTERS
    from bench.students.recbole import model_settings

    state = load_weights(record, store, data)
    assert record.trial is not None  # noqa: S101 - what has weights is a trial
    for tensor, made in _NO_PLACE.items():
        if tensor in state:
            raise ConfigError(
                f"{record.trial.label}: its method {made}; RecBole's model has no place "
                "for it (`bench.load_student` gives the suite's own)"
            )
    if (users := state.get("user_embedding.weight")) is not None:  # [U + 1, d], padding first
        users[torch.from_numpy(np.bincount(data.train.user + 1, minlength=len(users)) == 0)] = 0.0
    student = record.trial.student_config
    places = ADAPTERS.load(student.model).places(data.train.history.shape[1], prompt_length=0)
    checkpoint = {
        "state_dict": state,
        "other_parameter": None,
        "config": {"model": student.model, **model_settings(student, places)},
        "epoch": record.best_epoch,
        "item_tokens": ["[PAD]", *data.item_tokens],
        "user_tokens": ["[PAD]", *data.user_tokens],
    }
    with writing_to(f"--output {output}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_output(
            output,
            lambda stream: torch.save(checkpoint, stream),
            lambda written: _check_written(written, checkpoint),
        )
    return output


def _check_written(path: Path, checkpoint: dict[str, Any]) -> None:
    """Read a checkpoint back.

    Raises:
        OSError: it is not what was to be written.
    """
    import torch

    found = torch.load(path, weights_only=True)
    there, wanted = found.pop("state_dict"), dict(checkpoint)
    state = wanted.pop("state_dict")
    same = found == wanted and there.keys() == state.keys()
    if not (same and all(there[name].equal(state[name]) for name in state)):
        raise OSError("what was written reads back as something else")
