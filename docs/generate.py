"""Writes the pages that others would have to keep up to date by hand: `make docs`.

docs/leaderboards.md is `bench report` of the records in results/reference/, and README.md has ten
lines of it and one figure; docs/methods.md is what the methods say of themselves, and
docs/settings.md what training and protocols do. Prose is wrapped in these pages and in all others.

A method's section is the docstring of its class (reStructuredText's `.. math::` and `:math:`
become the math of GitHub), the fields of its `Config`, and its YAML with the comments in it.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import yaml
from pydantic import BaseModel

from bench import layers
from bench.config.methods import MethodFile, read_method
from bench.config.selection import Selection
from bench.data.config import ProtocolConfig
from bench.paths import SHIPPED, Workspace
from bench.records.store import ResultStore
from bench.registry import METHODS, MethodEntry
from bench.reporting.formats import FORMATS
from bench.reporting.formatting import MISSING
from bench.reporting.markdown import marked, pipe
from bench.reporting.overview import overview
from bench.reporting.render import render, selected
from bench.students.abilities import ABILITIES, ADAPTERS
from bench.training.config import TrainingConfig

sys.path.append(str(SHIPPED / "docs"))
from wrapping import pages, wrapped

LABELS = ("Takes", "Costs", "Departs")
"""Paragraphs that every method's docstring has."""

TABLE_OF_SETTINGS = ("| setting | default | values | what it is |", "|---|---|---|---|")

_TREE = Workspace(SHIPPED)

REFERENCE = ResultStore(SHIPPED / "results" / "reference")

INTRODUCTION = """\
<!-- Generated from methods/*.py and configs/methods/*.yaml by `make docs`: change those. -->

# Methods

*Takes* says what a method reads of the teacher's signals, *Costs* what it adds to a training and to
the finished student, *Departs* where it differs from the paper and from the released program. A
setting is changed with `--set method.SETTING=VALUE`; a variant is a set of settings, chosen with
`--method NAME:VARIANT`. The later of these wins: the default in the class, `settings` of the YAML,
those for the dataset, the variant, `--set`. So a variant that names no weight has the one that was
searched for the dataset. What a step of each costs is measured in [performance.md](performance.md).
Symbols, unless a section says otherwise: a row r is a history with its target y; s are the
student's logits, d its width, N the items; B rows make a batch; the teacher gives a list of items
and vectors z of width D.
"""


SETTINGS = """\
<!-- Generated from the classes that validate these settings by `make docs`: change those. -->

# Settings of a run

What `--set SECTION.SETTING=VALUE` changes beside the methods' own settings
([methods.md](methods.md)). Students have those of their RecBole model (`student.*`), teachers those
of their kind (`teacher.*`, [teachers.md](teachers.md)). Files in `configs/students/` choose other
defaults for a student, on one dataset or all. Values, there and on the command line, are those of
YAML 1.2: `0512` is 512, `9:20` and `yes` are texts, and neither a text nor `true` is a number.
"""


SUITES = """\
## A suite

A grid with a name, `configs/suites/NAME.yaml`, for `bench run --suite NAME`. Every key may be left
out, and options of the command line replace it (`set` adds up). Files of your own, suites and all
others, stand in `configs/` of the folder that `BENCH_HOME` names, and are stronger than those of
the same name here. `like: NAME` in a file puts it over another of its kind, and it says only what
differs: `like: text` and an `encoder` make a teacher of one's own.
"""


LEADERBOARDS = """\
<!-- Generated from results/reference/ by `make docs`: run trials into that folder, then that. -->

# Leaderboards

All records of [results/reference/](../results/README.md), as this prints them:

    bench report --results results/reference
    bench report --results results/reference --format svg    # this figure

![What each method gains over none, and what its training costs](leaderboards.svg)

Bars: 95 % over users and seeds. Filled: has a star in the table. Beside a name: training, all
epochs, as a multiple of `none`'s. Crosses: the same method under a shuffled teacher. Diamonds:
references. What the tables show: [findings.md](findings.md).

These commands made the records. Each runs what is missing in the folder, and the last packs it.
Two [variables](teachers.md#the-same-bits-on-another-cpu) give the same teachers, bit by bit, on
another CPU.

    bench data prepare movielens
    bench data import game path/to/games --replace-shipped   # interactions and items, with split labels
    bench run -d movielens -m all -s sasrec -s gru4rec --seeds 0-2 --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d movielens -m all --control shuffled --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d movielens -m embedding-only -t raw-text --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d game -m all --seeds 0-2 --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d game -m all --control shuffled --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d game -m dllm2rec -t text-out-of-fold --set protocol.seen=rank --threads 1 --results results/reference
    bench run -d game -m embedding-only -t raw-text --set protocol.seen=rank --threads 1 --results results/reference
    bench data import industrial path/to/industrial
    bench run -d industrial --ladder dllm2rec --seeds 0-2 --threads 1 --results results/reference
    bench run -d industrial -m ranking-only -m embedding-only -t text --seeds 0-2 --threads 1 --results results/reference
    bench run -d industrial -m ranking-only -m gated-ids -t l3ae --seeds 0-2 --threads 1 --results results/reference
    bench run -d industrial -m gated-ids --seeds 0-2 --threads 1 --results results/reference
    bench results pack --results results/reference
"""  # noqa: E501 - commands are shown on one line, as they are copied


SHOWN = [
    *[(name, MISSING) for name in ("none", "item-knn", "ease")],
    *[(name, "text") for name in ("teacher", "dllm2rec", "ranking-only", "cd", "rrd")],
    *[("embedding-only", "text"), ("hetcomp", "ensemble"), ("learn", "text")],
    *[("dllm2rec", "counting-ease"), ("dllm2rec", "l3ae"), ("ranking-only", "text (shuffled)")],
]
"""Lines of the overview that README.md shows, by method and teacher."""


def leaderboards() -> str:
    """docs/leaderboards.md."""
    return f"{LEADERBOARDS}\n{render(REFERENCE)}\n"


def readme() -> str:
    """README.md, of which ten lines of the overview alone are written here."""
    board, _ = selected(REFERENCE, ["ndcg@20"])
    section = overview(board)
    assert section is not None  # noqa: S101 - the records are of several settings
    lines = pd.concat([table.frame for table in section.tables])
    lines = lines.set_index(["Method", "Teacher"]).loc[SHOWN].reset_index()
    page = (SHIPPED / "README.md").read_text(encoding="utf-8")
    text = pipe(list(lines.columns), lines.to_numpy().tolist(), text_columns=2)
    return marked(page, "leaderboard", text)


def students() -> str:
    """docs/adding-a-student.md, of which the table of abilities alone is written here."""
    models = ADAPTERS.names()
    lines = [
        [ability.asked_by, *("yes" if model in ability.models() else "" for model in models)]
        for ability in ABILITIES
    ]
    page = (SHIPPED / "docs" / "adding-a-student.md").read_text(encoding="utf-8")
    head = ["", *(f"`{model}`" for model in models)]
    return marked(page, "abilities", pipe(head, lines, len(head)))


def figure() -> str:
    """docs/leaderboards.svg."""
    return f"{render(REFERENCE, 'svg')}\n"


def first_figure() -> str:
    """docs/overview.svg, which README.md shows: one setting."""
    board, runs = selected(REFERENCE, datasets=["movielens"])
    one = board["student"].isna() | (board["student"] == "sasrec")
    formatter = FORMATS.load("svg")
    return f"{formatter(board[one], runs)}\n"


def methods() -> str:
    """docs/methods.md."""
    entries = [entry for entry in METHODS if entry.is_shipped]
    rows = [
        f"| [`{entry.name}`](#{entry.name}) | {_signals(entry)} | {_cell(entry.summary)} |"
        for entry in entries
    ]
    contents = "\n".join(["| method | distils | in one line |", "|---|---|---|", *rows])
    return "\n\n".join([INTRODUCTION.strip(), contents, *map(section, entries)]) + "\n"


def run_settings() -> str:
    """docs/settings.md."""
    parts = [SETTINGS.strip()]
    for name, config, page in (
        ("training", TrainingConfig(), "training.md"),
        ("protocol", ProtocolConfig(name="temporal"), "protocol.md"),
    ):
        rows = [row for row in settings_of(config, f"{name}.") if "`protocol.name`" not in row]
        parts += [f"## {name}", f"See [{page}]({page}).", "\n".join([*TABLE_OF_SETTINGS, *rows])]
    keys = [
        f"| `{field.alias or name}` | {_cell(field.description or '')} |"
        for name, field in Selection.model_fields.items()
    ]
    parts += [SUITES.strip(), "\n".join(["| key | what it is |", "|---|---|", *keys])]
    return "\n\n".join(parts) + "\n"


def section(entry: MethodEntry) -> str:
    """All about one method."""
    method, config = METHODS.load(entry.name), read_method(entry, _TREE)
    path = entry.path.relative_to(SHIPPED).as_posix()
    facts = [f"**Signals:** {_signals(entry)}.", f"**File:** [`{path}`](../{path})."]
    if config.teacher != MethodFile().teacher:
        facts.insert(1, f"**Teacher** if none is named: `{config.teacher}`.")
    parts = [
        f"## {entry.name}",
        *prose(inspect.getdoc(method) or ""),
        " ".join(facts),
    ]
    settings = list(settings_of(method.Config.model_validate(config.settings)))
    if settings:
        parts.append("\n".join([*TABLE_OF_SETTINGS, *settings]))
    for dataset, changes in config.datasets.items():
        parts.append(f"On the dataset `{dataset}`: {_flat(changes)}.")
    if config.search:
        parts.append(f"**Compared by `bench tune`:** {'; '.join(map(_flat, config.search))}.")
    if config.variants:
        text = layers.locate("methods", entry.name, _TREE).read_text(encoding="utf-8")
        parts += _variants(entry, config, dict(comments(text)))
    return "\n\n".join(parts)


def missing_labels(docstring: str) -> list[str]:
    """Those of `LABELS` that no paragraph of a docstring begins with."""
    text = inspect.cleandoc(docstring)
    return [label for label in LABELS if not re.search(rf"(^|\n\n){label}:\s+\S", text)]


def prose(docstring: str) -> list[str]:
    """A docstring's paragraphs in Markdown; every equation of a `.. math::` block is one."""
    result = []
    for part in re.split(
        r"^(\.\. math::.*(?:\n(?: .*)?)*)", inspect.cleandoc(docstring), flags=re.M
    ):
        formula = part.removeprefix(".. math::")
        paragraphs = re.split(r"\n\s*\n", textwrap.dedent(formula.strip("\n")).strip())
        if part != formula:
            result += [f"```math\n{_macros(equation)}\n```" for equation in paragraphs]
        else:
            result += [inline(paragraph) for paragraph in paragraphs if paragraph]
    return result


def inline(text: str) -> str:
    """One paragraph with its formulas; GitHub leaves what is between dollar and backtick alone."""
    text = re.sub(r":math:`([^`]+)`", lambda found: f"$`{_macros(found[1])}`$", text)
    text = re.sub(rf"^({'|'.join(LABELS)}):", r"**\1:**", text.replace("``", "`"))
    return text if text.startswith(("- ", "* ")) else " ".join(text.split())


def _macros(formula: str) -> str:
    """A formula without the macro that GitHub refuses."""
    return re.sub(r"\\operatorname\*?\{([^}]*)\}", r"\\mathop{\\mathrm{\1}}", formula)


def _signals(entry: MethodEntry) -> str:
    method, config = METHODS.load(entry.name), read_method(entry, _TREE)
    names = sorted(method.signals(method.Config.model_validate(config.settings)))
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def settings_of(config: BaseModel, prefix: str = "") -> Iterator[str]:
    """Rows of the table of settings, nested ones by their dotted names."""
    schema = type(config).model_json_schema()["properties"] if type(config).model_fields else {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{prefix}{name}.")
            continue
        meaning = _cell(field.description or "")
        yield f"| `{prefix}{name}` | `{_yaml(value)}` | {_values(schema[name])} | {meaning} |"


def _values(schema: Mapping[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_values(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return f"`{_yaml(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_yaml(choice)}`" for choice in schema["enum"])
    kind = schema.get("type", "")
    if kind == "boolean":
        return "`false`, `true`"
    if kind == "null":
        return "`null`"
    if kind == "array":
        return f"list of {_values(schema.get('items', {}))}".removesuffix(" of ")
    name = {"number": "number", "integer": "whole number", "string": "text"}.get(kind, kind)
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f"{name} {', '.join(bounds)}".strip()


def _variants(entry: MethodEntry, config: MethodFile, above: Mapping[str, str]) -> list[str]:
    """The variants in the order of the file, each under the comment that precedes it."""
    method = METHODS.load(entry.name)
    default = method.signals(method.Config.model_validate(config.settings))
    parts = [f"**Variants:** {above.get('', '')}".strip()]
    for name, changes in config.variants.items():
        settings = layers.merge(config.settings, changes)
        signals = method.signals(method.Config.model_validate(settings))
        needs = "" if signals == default else f" (needs {', '.join(sorted(signals))})"
        line = f"- `{entry.name}:{name}`{needs}: {_flat(changes)}"
        if above.get(name):
            parts += [above[name], line]
        elif parts[-1].startswith("- "):
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return parts


def comments(text: str) -> Iterator[tuple[str, str]]:
    """The comment on top of a YAML file (under the name ""), and the one above each variant."""
    lines = text.splitlines()
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return
    yield "", _comment_above(lines, root.value[0][0].start_mark.line)
    for key, value in root.value:
        if key.value == "variants" and isinstance(value, yaml.MappingNode):
            for variant, _ in value.value:
                yield variant.value, _comment_above(lines, variant.start_mark.line)


def _comment_above(lines: list[str], line: int) -> str:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(comment.lstrip().lstrip("#").strip() for comment in lines[first:line])


def _flat(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {_yaml(value)}`" for key, value in layers.flat(settings).items())


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


PAGES = {
    "../README.md": readme,
    "methods.md": methods,
    "settings.md": run_settings,
    "adding-a-student.md": students,
    "leaderboards.md": leaderboards,
    "leaderboards.svg": figure,
    "overview.svg": first_figure,
}


def content(name: str) -> str:
    """A page of `PAGES` as it is written."""
    text = PAGES[name]()
    return wrapped(text) if name.endswith(".md") else text


if __name__ == "__main__":
    for name in PAGES:
        (SHIPPED / "docs" / name).write_text(content(name), encoding="utf-8")
    for page in pages(SHIPPED):
        page.write_text(wrapped(page.read_text(encoding="utf-8")), encoding="utf-8")
