"""A language model and its tokenizer, from where `bench.teachers.weights` finds them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bench.errors import ConfigError
from bench.files import sha256_of
from bench.plan import digest
from bench.teachers.weights import Weights, quiet

_logger = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Architecture:
    """What a model must be able to do.

    Attributes:
        description: as messages call it.
        loader: name of the class of transformers that loads it.
        classes: name of transformers' mapping to the classes of models that can do it.
        padding: the side on which batches of texts are padded.
    """

    description: str
    loader: str
    classes: str
    padding: Literal["left", "right"]


CAUSAL = Architecture(
    "causal language model (such as LLaMA)",
    "AutoModelForCausalLM",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "left",
)
ENCODER_DECODER = Architecture(
    "encoder-decoder language model (such as Flan-T5)",
    "AutoModelForSeq2SeqLM",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "right",
)


@dataclass(frozen=True)
class LanguageModel:
    """A frozen model in evaluation mode, on its device.

    Attributes:
        name: what it was asked for by.
        source: the local folder or the name on the hub.
        identity: what tells its weights and its tokenizer from all others.
        model: the model of transformers.
        tokenizer: has a padding token, and pads on the side that the model needs.
    """

    name: str
    source: str
    identity: str
    model: Any
    tokenizer: Any

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def batch(
        self, rows: Sequence[ArrayLike], padding: Literal["left", "right"]
    ) -> dict[str, Tensor]:
        """Rows of tokens as `input_ids` and `attention_mask`, int64 [n, longest], on the device."""
        found = [torch.from_numpy(np.asarray(row, dtype=np.int64)) for row in rows]
        longest = max(map(len, found))
        tokens = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id))
        mask = torch.zeros_like(tokens)
        for place, row in enumerate(found):
            part = slice(len(row)) if padding == "right" else slice(longest - len(row), None)
            tokens[place, part] = row
            mask[place, part] = 1
        return {"input_ids": tokens.to(self.device), "attention_mask": mask.to(self.device)}


def load(
    weights: Weights,
    wanted: Architecture | tuple[Architecture, ...],
    device: str,
    dtype: Dtype,
    layers: int | None = None,
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        weights: as `bench.teachers.weights.find` found them.
        wanted: what the model must be, `CAUSAL` or `ENCODER_DECODER`; of several, the first that
            it is.
        device: name of the torch device to compute on.
        dtype: of the weights.
        layers: the last layer whose states are wanted, counted from 1, and none above the next
            is loaded; None: all are.

    Raises:
        ConfigError: transformers is not installed, there is no such model, it is another
            architecture, has fewer layers, or its tokenizer does not fit.
    """
    name, source, local = weights.name, weights.source, weights.is_local
    _logger.info(f"loading the language model {name}")
    with quiet():
        try:
            import transformers
            from transformers.models.auto import modeling_auto
        except ImportError as error:
            raise ConfigError(
                f"language model '{name}' needs the packages of the extra 'llm' (transformers)"
            ) from error
        try:
            config = transformers.AutoConfig.from_pretrained(source, local_files_only=local)
            architecture = _architecture(name, config, wanted, modeling_auto)
            if layers is not None:
                _cut(name, config, layers)
            revision = getattr(config, "_commit_hash", None)
            where = {"revision": revision} if revision else {"local_files_only": local}
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **where)
            model = getattr(transformers, architecture.loader).from_pretrained(
                source,
                config=config,
                use_safetensors=True,
                torch_dtype=getattr(torch, dtype),
                **where,
            )
        except (OSError, ValueError) as error:
            reason = f"{str(error).strip().splitlines()[0]}"
            raise ConfigError(
                f"language model '{name}': the folder holds no model that transformers can load: "
                f"{reason}"
                if local
                else f"language model '{name}' is neither a local folder nor a model that can be "
                f"fetched now: {reason}"
            ) from error
    _fit(name, tokenizer, model, architecture)
    identity = _identity(weights) if local else f"hub:{name}@{revision}"
    model = model.to(device).eval().requires_grad_(False)
    return LanguageModel(name, source, identity, model, tokenizer)


def _architecture(
    name: str, config: Any, wanted: Architecture | tuple[Architecture, ...], known: Any
) -> Architecture:
    """The first of what is wanted that a model is, by its configuration."""
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    found = config.architectures or [type(config).__name__]
    for one in several:
        if set(found) & set(getattr(known, one.classes).values()):
            return one
    raise ConfigError(
        f"language model '{name}' is no {' and no '.join(one.description for one in several)}: its "
        f"configuration says {', '.join(found)}"
    )


def _cut(name: str, config: Any, layers: int) -> None:
    """Let the configuration end above a layer: states of the last one would be normalised."""
    if layers > config.num_hidden_layers:
        raise ConfigError(
            f"language model '{name}' has {config.num_hidden_layers} layers; {layers} are asked for"
        )
    config.num_hidden_layers = min(layers + 1, config.num_hidden_layers)


def _fit(name: str, tokenizer: Any, model: Any, architecture: Architecture) -> None:
    """Give the tokenizer what batches need, and make sure that the model knows its tokens."""
    if tokenizer.eos_token is None:
        raise ConfigError(f"language model '{name}': its tokenizer has no token that ends a text")
    if tokenizer.pad_token is None:
        # Padding is masked wherever it is read, so any known token does.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = architecture.padding
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ConfigError(
            f"language model '{name}': its tokenizer has {len(tokenizer)} tokens, the model knows "
            f"{known}; they do not belong together"
        )


def _identity(weights: Weights) -> str:
    return digest([[file.name, sha256_of(file)] for file in weights.files])


def peft_package() -> Any:
    """The package peft.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "tuning a language model needs the packages of the extra 'llm' (peft)"
        ) from error
    return peft
