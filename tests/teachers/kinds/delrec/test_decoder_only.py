"""Scores of candidates by a causal model, against a loop over candidates and tokens."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import ConfigError
from bench.teachers.kinds.delrec.decoder_only import DecoderOnly, prompted_model
from bench.teachers.kinds.delrec.questions import Question
from bench.teachers.kinds.delrec.soft_prompts import EncoderDecoder
from bench.teachers.kinds.delrec.titles import Titles
from bench.teachers.language.loading import CAUSAL, load
from bench.teachers.weights import find

from . import colours

pytest.importorskip("transformers", reason="needs the extra 'llm'")


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> DecoderOnly:
    folder = colours.make_causal_folder(tmp_path_factory.mktemp("llama"))
    language = load(find(str(folder), Path()), CAUSAL, "cpu", "float32")
    titles = Titles(["red ball", *colours.LONG], language.tokenizer, 8, ends=False)
    return DecoderOnly(language, titles, vectors=3, seed=0)


def vectors_of(prompted: DecoderOnly, tokens: list[int]) -> torch.Tensor:
    words = prompted.model.get_input_embeddings()(torch.tensor([tokens]))
    return torch.cat([prompted.soft[None], words], dim=1)


@torch.no_grad()
def by_hand(prompted: DecoderOnly, question: Question) -> list[float]:
    """Mean log-likelihood of every candidate, token by token and without any padding."""
    found = []
    for item in question.candidates.tolist():
        written = list(question.prompt)
        answer = prompted.titles.answer(item)
        total = 0.0
        for token in answer:
            logits = prompted.model(inputs_embeds=vectors_of(prompted, written)).logits
            total += float(functional.log_softmax(logits[0, -1], dim=0)[token])
            written.append(token)
        found.append(total / len(answer))
    return found


@torch.no_grad()
def test_scores_do_not_depend_on_padding_and_company(
    prompted: DecoderOnly, questions: list[Question]
) -> None:
    together = prompted.eval().scores(questions).numpy()
    for place, question in enumerate(questions):
        np.testing.assert_allclose(together[place], by_hand(prompted, question), rtol=1e-4)
        np.testing.assert_allclose(prompted.scores([question])[0], together[place], rtol=1e-4)
    assert (together < 0).all() and len(np.unique(together)) == together.size


def test_a_prompt_does_not_end_the_text(prompted: DecoderOnly, questions: list[Question]) -> None:
    assert all(question.prompt[-1] != prompted.titles.end for question in questions)
    assert prompted.titles.answer(1)[-1] == prompted.titles.end


def test_all_soft_prompts_are_read(prompted: DecoderOnly, questions: list[Question]) -> None:
    (gradient,) = torch.autograd.grad(prompted.eval().loss(questions), prompted.soft)
    assert bool((gradient.norm(dim=1) > 0).all())


@torch.no_grad()
def test_vectors_of_titles_do_not_depend_on_the_company(prompted: DecoderOnly) -> None:
    found = prompted.eval().title_vectors(3)
    for item in range(1, 5):
        read = vectors_of(prompted, prompted.titles.answer(item))
        states = prompted.model.base_model(inputs_embeds=read).last_hidden_state[0, 3:]
        np.testing.assert_allclose(found[item - 1], states.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_the_form_is_the_models(prompted: DecoderOnly, colours_folder: Path) -> None:
    again = prompted_model(prompted.language, prompted.titles, 3, 0)
    assert isinstance(again, DecoderOnly) and torch.equal(again.soft, prompted.soft)
    language, titles = colours.read(colours_folder)
    assert isinstance(prompted_model(language, titles, 3, 0), EncoderDecoder)


def test_a_model_that_takes_no_positions(prompted: DecoderOnly) -> None:
    class Bare(torch.nn.Module):
        config: Any = prompted.model.config

        def forward(self, input_ids: Any) -> None:
            """Nothing else is taken."""

    language = dataclasses.replace(prompted.language, model=Bare())
    with pytest.raises(ConfigError, match=r"\(llama\): .* take positions"):
        DecoderOnly(language, prompted.titles, vectors=3, seed=0)
