"""Low-rank adapters of a causal language model: tuned once, kept, and switched on where wanted."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError, ConfigError
from bench.folders import locked, replaced
from bench.plan import digest, seed_of
from bench.progress import track
from bench.teachers.kinds.bigrec.instructions import Tokens, tokens_digest
from bench.teachers.language.loading import LanguageModel, peft_package
from bench.teachers.language.resume import folder_of
from bench.teachers.weights import quiet

_logger = logging.getLogger(__name__)

COURSE = "course.json"
_IGNORED = -100
_LONGEST_GRADIENT = 1.0


class TuningOptions(BaseModel):
    """How the adapters are tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = 8
    alpha: PositiveFloat = Field(16, description="the adapters' output counts alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="of the adapters' input")
    modules: tuple[str, ...] = Field(
        ("q_proj", "v_proj"), min_length=1, description="names of the linear layers with an adapter"
    )
    learning_rate: PositiveFloat = Field(1e-4, description="peak; falls linearly to 0")
    warm_up_steps: NonNegativeInt = 20
    batch_size: PositiveInt = Field(128, description="rows of a step")
    micro_batch_size: PositiveInt = Field(4, description="rows that are in memory at once")
    epochs: NonNegativeInt = Field(50, description="passes over the sample, at most; 0: no tuning")
    patience: PositiveInt = Field(5, description="epochs without a smaller held-out loss")
    rows: PositiveInt | None = Field(1024, description="sample to learn from; null takes all rows")
    whole_text: bool = Field(True, description="learn prompt and title, not the title alone")


@dataclass(frozen=True)
class Example:
    """A prompt and its right answer, as tokens."""

    prompt: Tokens
    answer: Tokens


@dataclass(frozen=True)
class Adapter:
    """Tuned adapters.

    Attributes:
        identity: what tells them from all others.
        folder: where peft finds them.
        course: how they came about, for the manifest.
    """

    identity: str
    folder: Path
    course: dict[str, Any]


def tuned(
    language: LanguageModel,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    options: TuningOptions,
    seed: int,
    inputs: dict[str, Any],
    cache: Path,
) -> Adapter:
    """Tune adapters, or take those that were tuned from the same inputs before.

    Args:
        language: the model, left as it is.
        examples: what is learned from.
        held_out: what the epoch is chosen by: that of the smallest loss.
        options: of the tuning.
        seed: of initial values, order and dropout.
        inputs: whatever else determines the result, as JSON values.
        cache: folder of what is costly and can be computed again.

    Raises:
        ConfigError: peft is not installed, or the model has no layers of these names.
        BenchError: the loss became NaN or infinite.
    """
    texts = [
        tokens_digest([text for one in part for text in (one.prompt, one.answer)])
        for part in (examples, held_out)
    ]
    inputs = {**inputs, "tuning": options.model_dump(mode="json"), "seed": seed, "texts": texts}
    folder = folder_of(cache, "adapter", inputs) / "adapter"
    with locked(folder):
        if not folder.is_dir():
            with adapted(language, options, seed) as model:
                course = _tune(model, language, examples, held_out, options, seed)
                with quiet(), replaced(folder) as temporary:
                    model.save_pretrained(str(temporary))
                    (temporary / COURSE).write_text(json.dumps(course))
    return Adapter(digest(inputs), folder, json.loads((folder / COURSE).read_text()))


@contextlib.contextmanager
def adapted(language: LanguageModel, options: TuningOptions, seed: int) -> Iterator[Any]:
    """The model with new adapters, which change nothing yet; without them again afterwards."""
    peft = peft_package()
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, "adapter", "initial values"))
        try:
            model = peft.get_peft_model(language.model, config)
        except ValueError as error:
            raise ConfigError(
                f"language model '{language.name}' has no layers called "
                f"{', '.join(options.modules)} ('tuning.modules')"
            ) from error
    with _unloaded(model):
        yield model


@contextlib.contextmanager
def with_adapter(language: LanguageModel, folder: Path) -> Iterator[None]:
    """The model is the tuned one inside, and the one that was loaded before and after."""
    with quiet():
        model = peft_package().PeftModel.from_pretrained(language.model, str(folder))
    with _unloaded(model):
        model.eval()
        yield


@contextlib.contextmanager
def _unloaded(model: Any) -> Iterator[None]:
    try:
        yield
    finally:
        model.unload().eval().requires_grad_(False)


def _tune(
    model: Any,
    language: LanguageModel,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    options: TuningOptions,
    seed: int,
) -> dict[str, Any]:
    """Tune the adapters of `model` and leave them as they were after the best epoch."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.0)
    steps = -(-len(examples) // options.batch_size) * options.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _warm_up_and_decay(options.warm_up_steps, steps)
    )
    order = np.random.default_rng(seed_of(seed, "adapter", "order"))
    size = options.micro_batch_size
    losses, best = [_mean_loss(model, language, held_out, options)], _copy(parameters)
    _logger.info(
        f"tuning on {len(examples):,} rows; loss of {len(held_out):,} others {losses[0]:.4f}"
    )
    with torch.random.fork_rng(), track("tuning", steps, "steps") as advance:
        torch.manual_seed(seed_of(seed, "adapter", "dropout"))
        for epoch in range(1, options.epochs + 1):
            model.train()
            for batch in _parts(order.permutation(len(examples)).tolist(), options.batch_size):
                chosen = [examples[row] for row in batch]
                count = sum(_learned(one, options) for one in chosen)
                for part in _parts(chosen, size):
                    (_loss(model, language, part, options) / count).backward()
                torch.nn.utils.clip_grad_norm_(parameters, _LONGEST_GRADIENT)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad()
                advance(1)
            losses.append(_mean_loss(model, language, held_out, options))
            if not np.isfinite(losses[-1]):
                raise BenchError(
                    f"language model '{language.name}': the loss became {losses[-1]} in epoch "
                    f"{epoch}; lower 'tuning.learning_rate'"
                )
            if losses[-1] == min(losses):
                best = _copy(parameters)
            _logger.info(f"tuning epoch {epoch}: held-out loss {losses[-1]:.4f}")
            if epoch - int(np.argmin(losses)) >= options.patience:
                break
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    return {
        "rows_learned_from": len(examples),
        "rows_held_out": len(held_out),
        "best_epoch": int(np.argmin(losses)),
        "held_out_loss_from_epoch_0": [round(value, 5) for value in losses],
    }


@torch.no_grad()
def _mean_loss(
    model: Any, language: LanguageModel, examples: Sequence[Example], options: TuningOptions
) -> float:
    """Mean cross entropy of the learned tokens."""
    model.eval()
    parts = _parts(examples, options.micro_batch_size)
    total = sum(float(_loss(model, language, part, options)) for part in parts)
    return total / sum(_learned(one, options) for one in examples)


def _loss(
    model: Any, language: LanguageModel, examples: Sequence[Example], options: TuningOptions
) -> Tensor:
    """Summed cross entropy of the learned tokens."""
    batch = language.batch([np.append(one.prompt, one.answer) for one in examples], "right")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _IGNORED)
    if not options.whole_text:
        for row, one in enumerate(examples):
            labels[row, : len(one.prompt)] = _IGNORED
    logits = model(**batch).logits[:, :-1].float()
    return functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED, reduction="sum"
    )


def _learned(example: Example, options: TuningOptions) -> int:
    """Tokens of an example that are learned: the first one is never predicted."""
    prompt = len(example.prompt) - 1 if options.whole_text else 0
    return prompt + len(example.answer)


def _parts(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _copy(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _warm_up_and_decay(warm_up: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return max(0.0, (steps - step) / max(1, steps - warm_up))

    return factor
