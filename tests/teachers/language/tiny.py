"""Language models of a few thousand parameters, and tokenizers that know the words of texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"


def make_tokenizer(folder: Path, texts: Iterable[str], ends: bool, pads: bool) -> Any:
    """Words and punctuation marks of `texts`, blanks aside; saved to the folder.

    Args:
        folder: where it is saved.
        texts: whose words it knows.
        ends: texts end with </s> (as T5) rather than begin with <s> (as LLaMA).
        pads: has a padding token.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = [PAD, UNKNOWN, BEGIN, END]
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)})
    vocabulary = {word: index for index, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, UNKNOWN))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}" if ends else f"{BEGIN} $A",
        special_tokens=[(token, vocabulary[token]) for token in (BEGIN, END)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"],
        **({"pad_token": PAD} if pads else {}),
    )
    fast.save_pretrained(folder)
    return fast


def make_causal(
    folder: Path, texts: Iterable[str], pads: bool = False, width: int = 32, layers: int = 2
) -> Path:
    """A LLaMA with random weights (without a padding token, as LLaMA's is); returns its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(folder, texts, ends=False, pads=pads)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # With the usual 0.02 a model of this width attends to everything alike, and hardly learns.
        initializer_range=0.15,
    )
    return _saved(LlamaForCausalLM, config, folder)


def make_encoder_decoder(
    folder: Path, texts: Iterable[str], width: int = 32, layers: int = 2
) -> Path:
    """A T5 with random weights; returns its folder."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = make_tokenizer(folder, texts, ends=True, pads=True)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=width // 2,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=2,
        dropout_rate=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return _saved(T5ForConditionalGeneration, config, folder)


def _saved(kind: Any, config: Any, folder: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    return folder


def make_gguf(path: Path, width: int = 16) -> dict[str, Any]:
    """A LLaMA of one layer that knows five letters, as a `.gguf` file; returns its weights."""
    import gguf
    import numpy as np

    tokens = ["<|endoftext|>", *"abcde", "Ġ", *("Ġ" + letter for letter in "abcde")]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    control, plain = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token.startswith("<") else plain for token in tokens])
    writer.add_token_merges([f"Ġ {letter}" for letter in "abcde"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    random = np.random.default_rng(0)
    block = {"attn_q": 1, "attn_k": 1, "attn_v": 1, "attn_output": 1, "ffn_gate": 2, "ffn_up": 2}
    shapes = {f"blk.0.{name}.weight": (times * width, width) for name, times in block.items()}
    shapes["blk.0.ffn_down.weight"] = (width, 2 * width)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        shapes[f"{name}.weight"] = (width,)
    shapes |= dict.fromkeys(("token_embd.weight", "output.weight"), (len(tokens), width))
    weights = {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    for name, value in weights.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
