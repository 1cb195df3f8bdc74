"""Adapters learn from their examples, are kept, and leave the model as it was."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bench.data.examples import PreparedData
from bench.errors import BenchError, ConfigError
from bench.teachers.kinds.bigrec.instructions import Instructions
from bench.teachers.kinds.bigrec.objective import Example, NextTitle, TitleTuningOptions
from bench.teachers.language import tuning
from bench.teachers.language.loading import CAUSAL, LanguageModel, load
from bench.teachers.language.titles import Words
from bench.teachers.language.tuning import Adapter, tuned, with_adapter
from bench.teachers.weights import find

from ....listening import listening

pytest.importorskip("peft", reason="needs the extra 'llm'")

OPTIONS = TitleTuningOptions(
    learning_rate=0.01, warm_up_steps=0, batch_size=8, micro_batch_size=3, epochs=2, dropout=0.1
)


@pytest.fixture
def language(tiny_causal: Path) -> LanguageModel:
    return load(find(str(tiny_causal), Path()), CAUSAL, "cpu", "float32")


@pytest.fixture
def examples(language: LanguageModel, toy: PreparedData) -> list[Example]:
    words = Instructions(toy.item_texts, Words(), language.tokenizer, 999)
    rows = toy.train
    prompts = words.prompts(rows.history[:24], rows.length[:24])
    answers = words.answers(rows.target[:24])
    return [Example(*pair) for pair in zip(prompts, answers, strict=True)]


def tune(
    language: LanguageModel,
    examples: list[Example],
    cache: Path,
    changes: dict[str, Any] | None = None,
    lines: list[str] | None = None,
    seed: int = 0,
) -> Adapter:
    options = OPTIONS.model_copy(update=changes or {})
    with listening([].append if lines is None else lines.append):
        objective = NextTitle(language, options.whole_text)
        return tuned(language, objective, examples[:16], examples[16:], options, seed, {}, cache)


def weights(language: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in language.model.state_dict().items()}


@torch.no_grad()
def loss_of(language: LanguageModel, examples: list[Example], whole_text: bool) -> float:
    """Mean cross entropy per learned token, one example and one token at a time."""
    losses = []
    for one in examples:
        tokens = [*one.prompt, *one.answer]
        logits = language.model(input_ids=torch.tensor([tokens])).logits[0]
        start = 1 if whole_text else len(one.prompt)
        for place in range(start, len(tokens)):
            wanted = torch.tensor(int(tokens[place]))
            losses.append(float(functional.cross_entropy(logits[place - 1], wanted)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("whole_text", [True, False])
def test_the_losses_are_those_of_the_model(
    language: LanguageModel, examples: list[Example], tmp_path: Path, whole_text: bool
) -> None:
    adapter = tune(language, examples, tmp_path, {"whole_text": whole_text})
    losses = adapter.course["held_out_loss_from_epoch_0"]
    assert losses[0] == pytest.approx(loss_of(language, examples[16:], whole_text), abs=1e-4)
    assert min(losses) < losses[0] and losses[adapter.course["best_epoch"]] == min(losses)
    with with_adapter(language, adapter.folder):
        assert not language.model.training
        after = loss_of(language, examples[16:], whole_text)
    assert after == pytest.approx(min(losses), abs=1e-4)


def test_the_model_is_left_as_it_was(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    before = weights(language)
    adapter = tune(language, examples, tmp_path)
    tokens = torch.from_numpy(examples[0].prompt)[None].long()
    with torch.no_grad():
        plain = language.model(input_ids=tokens).logits
        with with_adapter(language, adapter.folder):
            other = language.model(input_ids=tokens).logits
        again = language.model(input_ids=tokens).logits
    assert torch.equal(plain, again) and not torch.allclose(plain, other, atol=1e-3)
    after = weights(language)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in language.model.parameters())


def test_accumulated_parts_are_one_batch(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    parts = {"dropout": 0.0, "micro_batch_size": 3}
    losses = [
        tune(language, examples, tmp_path, {"dropout": 0.0, **changes}).course
        for changes in (parts, {"micro_batch_size": 8})
    ]
    first, second = (course["held_out_loss_from_epoch_0"] for course in losses)
    assert first == pytest.approx(second, abs=1e-4)


def test_tuned_once_and_the_same_every_time(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    state, lines = torch.get_rng_state(), list[str]()
    first = tune(language, examples, tmp_path / "a", lines=lines)
    assert torch.equal(torch.get_rng_state(), state)
    assert any("epoch 2" in line for line in lines)
    lines.clear()
    assert tune(language, examples, tmp_path / "a", lines=lines) == first and not lines
    torch.rand(3)
    again = tune(language, examples, tmp_path / "b")
    file = "adapter_model.safetensors"
    assert (again.folder / file).read_bytes() == (first.folder / file).read_bytes()
    for changes, seed in (({}, 1), ({"rank": 4}, 0), ({"learning_rate": 0.02}, 0)):
        other = tune(language, examples, tmp_path / "a", changes, seed=seed)
        assert other.identity != first.identity and other.folder != first.folder
    config = json.loads((first.folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.1)
    assert sorted(config["target_modules"]) == ["q_proj", "v_proj"]


class Stopped(Exception):
    """The process ends here."""


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_tuning_that_stopped_goes_on_to_the_same_bits(
    language: LanguageModel,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """Within an epoch, at its end, and behind it; with dropout, whose draws depend on the step."""
    whole = tune(language, examples, tmp_path / "whole")
    monkeypatch.setattr(tuning, "SECONDS_BETWEEN_STATES", 0.0)
    keep, kept = tuning._Run.keep, []

    def keep_and_stop(run: Any) -> None:
        keep(run)
        kept.append(run.step)
        if len(kept) == after:
            raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(tuning._Run, "keep", keep_and_stop)
        tune(language, examples, tmp_path / "parts")
    (state,) = tmp_path.glob(f"parts/adapter-*/{tuning.STATE}")
    lines: list[str] = []
    again = tune(language, examples, tmp_path / "parts", lines=lines)
    assert any(f"; {kept[-1]} steps are there from before" in line for line in lines)
    assert again.course == whole.course and not state.exists()
    file = "adapter_model.safetensors"
    assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes()


def test_a_damaged_state_is_told_and_left(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    whole = tune(language, examples, tmp_path / "whole")
    folder = tmp_path / "damaged" / whole.folder.parent.name
    folder.mkdir(parents=True)
    (folder / tuning.STATE).write_bytes(b"not a state" * 9)
    lines: list[str] = []
    assert tune(language, examples, tmp_path / "damaged", lines=lines).course == whole.course
    assert any("tuning begins anew" in line for line in lines)


def test_no_logits_are_computed_before_the_first_that_is_learned(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    shapes = []
    hook = language.model.get_output_embeddings().register_forward_hook(
        lambda module, given, logits: shapes.append(logits.shape)
    )
    tune(language, examples, tmp_path, {"whole_text": False, "epochs": 1})
    hook.remove()
    longest = max(len(one.answer) for one in examples)
    spread = max(len(one.prompt) for one in examples) - min(len(one.prompt) for one in examples)
    assert max(shape[1] for shape in shapes) <= longest + spread
    assert min(shape[1] for shape in shapes) <= longest


def test_tuning_stops_when_it_no_longer_gets_better(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    changes = {"epochs": 40, "patience": 2, "learning_rate": 1.0}
    course = tune(language, examples, tmp_path, changes).course
    losses = course["held_out_loss_from_epoch_0"]
    assert len(losses) < 41 and len(losses) == 1 + course["best_epoch"] + 2


def test_no_epoch_is_no_tuning(
    language: LanguageModel, examples: list[Example], tmp_path: Path
) -> None:
    adapter = tune(language, examples, tmp_path, {"epochs": 0})
    tokens = torch.from_numpy(examples[0].prompt)[None].long()
    with torch.no_grad():
        plain = language.model(input_ids=tokens).logits
        with with_adapter(language, adapter.folder):
            torch.testing.assert_close(language.model(input_ids=tokens).logits, plain)


def test_mistakes(
    language: LanguageModel,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=r"has no layers called query \('tuning.modules'\)"):
        tune(language, examples, tmp_path, {"modules": ("query",)})
    broken = copy.deepcopy(language)
    broken.model.get_input_embeddings().weight[:] = torch.nan
    with pytest.raises(BenchError, match=r"the loss became nan in epoch 1; lower"):
        tune(broken, examples, tmp_path)
    assert not list(tmp_path.glob("*/adapter"))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"the packages of the extra 'llm' \(peft\)"):
        tune(language, examples, tmp_path)
