"""Scores of candidates against a loop over questions, candidates and tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import ConfigError
from bench.teachers.kinds.delrec.questions import Question
from bench.teachers.kinds.delrec.soft_prompts import EncoderDecoder, PromptedModel
from bench.teachers.kinds.delrec.titles import Titles

from . import colours


@pytest.fixture(scope="module")
def prompted(colours_folder: Path) -> PromptedModel:
    language, _ = colours.read(colours_folder)
    titles = Titles(["red ball", *colours.LONG], language.tokenizer, 8)
    return EncoderDecoder(language, titles, vectors=3, seed=0)


@torch.no_grad()
def by_hand(prompted: PromptedModel, question: Question) -> list[float]:
    """Mean log-likelihood of every candidate, token by token and without any padding."""
    model = prompted.model
    words = model.get_input_embeddings()(torch.tensor([question.prompt]))
    vectors = torch.cat([prompted.soft[None], words], dim=1)
    found = []
    for item in question.candidates.tolist():
        written = [model.config.decoder_start_token_id]
        total = 0.0
        for token in prompted.titles.answer(item):
            logits = model(inputs_embeds=vectors, decoder_input_ids=torch.tensor([written])).logits
            total += float(functional.log_softmax(logits[0, -1], dim=0)[token])
            written.append(token)
        found.append(total / (len(written) - 1))
    return found


@torch.no_grad()
def test_scores_do_not_depend_on_padding_and_company(
    prompted: PromptedModel, questions: list[Question]
) -> None:
    together = prompted.eval().scores(questions).numpy()
    for place, question in enumerate(questions):
        np.testing.assert_allclose(together[place], by_hand(prompted, question), rtol=1e-4)
        np.testing.assert_allclose(prompted.scores([question])[0], together[place], rtol=1e-4)
    assert (together < 0).all() and len(np.unique(together)) == together.size


@torch.no_grad()
def test_the_loss_is_that_of_the_answers(
    prompted: PromptedModel, questions: list[Question]
) -> None:
    scores = prompted.eval().scores(questions).double().numpy()
    expected = sum(
        np.log(np.exp(row).sum()) - row[question.answer]
        for row, question in zip(scores, questions, strict=True)
    )
    assert float(prompted.loss(questions)) == pytest.approx(expected, rel=1e-5)


def test_soft_prompts_begin_as_tokens_and_are_read(
    prompted: PromptedModel, questions: list[Question]
) -> None:
    table = prompted.model.get_input_embeddings().weight
    assert all(bool((table == vector).all(dim=1).any()) for vector in prompted.soft)
    (gradient,) = torch.autograd.grad(prompted.eval().loss(questions), prompted.soft)
    assert bool((gradient.norm(dim=1) > 0).all())


@torch.no_grad()
def test_vectors_of_titles_do_not_depend_on_the_company(prompted: PromptedModel) -> None:
    found = prompted.eval().title_vectors(3)
    assert found.shape == (4, prompted.soft.shape[1]) and found.dtype == np.float32
    for item in range(1, 5):
        words = prompted.model.get_input_embeddings()(torch.tensor([prompted.titles.answer(item)]))
        read = torch.cat([prompted.soft[None], words], dim=1)
        states = prompted.model.get_encoder()(inputs_embeds=read).last_hidden_state[0, 3:]
        np.testing.assert_allclose(found[item - 1], states.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_a_model_with_absolute_positions(prompted: PromptedModel) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=9, d_model=4, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=1, decoder_attention_heads=1,
    )  # fmt: skip
    language = dataclasses.replace(prompted.language, model=BartForConditionalGeneration(config))
    with pytest.raises(
        ConfigError, match=r"\(bart\): .* relative positions, as those of the T5 family"
    ):
        EncoderDecoder(language, prompted.titles, vectors=3, seed=0)
