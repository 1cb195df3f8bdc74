"""A tiny model that knows the words of coloured things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.teachers.kinds.delrec.questions import Question
from bench.teachers.kinds.delrec.soft_prompts import PromptedModel

from . import colours


@pytest.fixture(scope="session")
def colours_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny T5; nothing in it is changed."""
    pytest.importorskip("transformers", reason="needs the extra 'llm'")
    return colours.make_folder(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def questions(prompted: PromptedModel) -> list[Question]:
    """Questions with different lengths of prompts and answers, put to a module's model."""

    def ask(history: list[int], candidates: list[int], answer: int) -> Question:
        prompt = prompted.titles.prompt(
            "items {history} candidates {candidates}", history=history, candidates=candidates
        )
        return Question(prompt, np.array(candidates, dtype=np.int32), answer)

    return [ask([1], [1, 2, 3], 2), ask([4, 3, 4, 1, 4], [4, 3, 1], 0), ask([], [2, 4, 1], 1)]
