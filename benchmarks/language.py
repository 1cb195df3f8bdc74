"""What BIGRec costs a row on this machine: `python benchmarks/language.py`.

CPU seconds of one thread for tuning, the loss of a row held out, and a title that is written, on
training rows of a dataset that is prepared in this workspace. Written titles are those of the
untuned model, at the length of the longest title: an upper bound.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # the folder above in place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
import torch

from bench import layers
from bench.data import store
from bench.data.config import dataset_config
from bench.paths import Workspace
from bench.teachers.builder import resolved_options
from bench.teachers.config import TeacherConfig
from bench.teachers.kinds.bigrec.generation import Answers, GenerationOptions, with_transformers
from bench.teachers.kinds.bigrec.instructions import Instructions
from bench.teachers.kinds.bigrec.objective import Example, NextTitle
from bench.teachers.kinds.bigrec.teacher import BigRecOptions
from bench.teachers.language.loading import CAUSAL, load
from bench.teachers.language.titles import titles_of
from bench.teachers.language.tuning import adapted, parts
from bench.teachers.rows import rows_where, sampled
from bench.teachers.weights import find

WRITTEN = (
    GenerationOptions(beams=1, batch_size=32),
    GenerationOptions(beams=1, decode="catalogue", batch_size=32),
    GenerationOptions(beams=4, batch_size=8),
)


def _told(what: str, rows: int, work: Callable[[], object]) -> None:
    started = time.process_time()
    work()
    click.echo(f"| {what} | {(time.process_time() - started) / rows:.3f} |")


@click.command()
@click.option("--teacher", default="bigrec-smollm2", show_default=True)
@click.option("--dataset", default="movielens", show_default=True)
@click.option("--rows", default=32, show_default=True, help="training rows, drawn at random")
def main(teacher: str, dataset: str, rows: int) -> None:
    """Print a table of CPU seconds a row."""
    torch.set_num_threads(1)
    workspace = Workspace.current()
    raw = layers.build(TeacherConfig, layers.read("teachers", teacher, workspace), teacher)
    options = resolved_options(raw, dataset, workspace, "options")
    assert isinstance(options, BigRecOptions)  # noqa: S101 - of another kind nothing is measured
    config = dataset_config(dataset, workspace)
    data = store.prepare(dataset, config, config.protocol, workspace)
    titles = titles_of(data, options.title_end)
    weights = find(options.model, workspace.tocf / ".cache")
    language = load(weights, CAUSAL, "cpu", options.dtype)
    words = Instructions(titles, options.words, language.tokenizer, options.prompt_tokens)
    answers = Answers(titles, words.answers(np.arange(1, len(titles) + 1)))
    few = rows_where(data.train, sampled(len(data.train), rows, 0))
    prompts = words.prompts(few.history, few.length)
    pairs = zip(prompts, few.target.tolist(), strict=True)
    examples = [Example(prompt, answers.tokens[item - 1]) for prompt, item in pairs]
    click.echo(f"prompts of {np.mean([*map(len, prompts)]):.0f} tokens\n\n| | a row |\n|---|--:|")
    objective = NextTitle(language, options.tuning.whole_text)
    together = parts(sorted(examples, key=lambda one: -objective.tokens(one)), 16)
    with adapted(language, options.tuning, 0) as model:
        model.train()
        _told("tuning", rows, lambda: [objective.loss(part).backward() for part in together])
        model.eval()
        with torch.no_grad():
            _told("loss of a row held out", rows, lambda: [*map(objective.loss, together)])
    for how in WRITTEN:
        write = with_transformers(language, how, answers)
        batches = parts(prompts, how.batch_size)
        what = f"{how.beams} beam{'s' * (how.beams > 1)}, {how.decode}, {how.batch_size} at once"
        _told(what, rows, lambda write=write, batches=batches: [*map(write, batches)])  # type: ignore[misc]


if __name__ == "__main__":
    main()
