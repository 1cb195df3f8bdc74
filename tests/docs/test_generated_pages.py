"""The generated pages are up to date, and methods say enough of themselves to make one."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from pydantic import Field, NonNegativeFloat, PositiveInt

from bench.distillation import MethodConfig
from bench.paths import SHIPPED
from bench.registry import METHODS, MethodEntry

OURS = [entry for entry in METHODS if entry.is_shipped]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    path = SHIPPED / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("docs_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = ["../README.md", "methods.md", "settings.md", "adding-a-student.md", "leaderboards.md"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_is_generated(docs: ModuleType, name: str) -> None:
    committed = (SHIPPED / "docs" / name).read_text(encoding="utf-8")
    if committed != docs.content(name):
        pytest.fail(f"docs/{name} is not what would be generated now: run `make docs`")


def test_prose_is_wrapped(docs: ModuleType) -> None:
    """No line of a paragraph is longer than 100 characters: `make docs` wraps what is."""
    read = {page: page.read_text(encoding="utf-8") for page in docs.pages(SHIPPED)}
    assert [page.name for page, text in read.items() if docs.wrapped(text) != text] == []


@pytest.mark.parametrize(
    "kept",
    [
        "| a table | " + "x " * 80 + "|",
        "# " + "heading " * 20,
        "```sh\n" + "command " * 20 + "\n```",
        "    " + "indented code " * 10,
        "a " * 48 + "`a code span` b",
    ],
)
def test_wrapping_leaves_what_is_no_prose(docs: ModuleType, kept: str) -> None:
    lines = docs.wrapped(f"{kept}\n").split("\n")
    assert " ".join(lines).split() == kept.split()
    assert "`a code span`" in docs.wrapped(kept) or lines == [*kept.split("\n"), ""]
    assert docs.wrapped("\n".join(lines)) == "\n".join(lines)


@pytest.mark.parametrize("name", ["leaderboards.svg", "overview.svg"])
def test_the_figure_shows_what_is_drawn_now(docs: ModuleType, name: str) -> None:
    """Its words and numbers: where they stand differs between releases of matplotlib."""

    def words(text: str) -> list[str]:
        return sorted(re.findall(r"<text[^>]*>([^<]+)</text>", text))

    committed = (SHIPPED / "docs" / name).read_text(encoding="utf-8")
    drawn = words(docs.content(name))
    assert any("dllm2rec" in word for word in drawn)
    assert words(committed) == drawn, f"docs/{name} is old: run `make docs`"


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_a_method_says_what_it_takes_costs_and_departs_in(
    docs: ModuleType, entry: MethodEntry
) -> None:
    missing = docs.missing_labels(METHODS.load(entry.name).__doc__ or "")
    assert not missing, (
        f"the docstring of '{entry.name}' ({entry.path.name}) has no paragraph that begins with "
        + ", ".join(f"'{label}:'" for label in missing)
    )


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_no_markup_of_docstrings_is_left(docs: ModuleType, entry: MethodEntry) -> None:
    section = docs.section(entry)
    assert ":math:" not in section and ".. math" not in section
    assert "operatorname" not in section  # GitHub shows an error in place of the formula
    assert section.count("```") % 2 == 0


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_every_setting_says_what_it_is(docs: ModuleType, entry: MethodEntry) -> None:
    rows = list(docs.settings_of(METHODS.load(entry.name).Config()))
    undescribed = [row for row in rows if row.endswith("|  |")]
    assert not undescribed, f"settings of '{entry.name}' without a Field(description=...)"


def test_labels_are_asked_for_at_the_beginning_of_paragraphs(docs: ModuleType) -> None:
    text = """Do it.

    It takes. Takes: no paragraph.

    Costs: nothing.

    Departs:

    """
    assert docs.missing_labels(text) == ["Takes", "Departs"]
    assert docs.missing_labels("Do it.\n\nTakes: a.\n\nCosts:\n  b.\n\nDeparts: c.") == []


def test_docstrings_become_markdown(docs: ModuleType) -> None:
    text = r"""Do it.

    Somebody, "Title", 2020, with :math:`a_i \in
    A` over ``rows``:

    .. math::
        L = \operatorname{mean}_k \ell_k, \\
        M = 1

        N = 2

    for the
    items.

    Takes: `rankings`
    alone.
    """
    assert docs.prose(text) == [
        "Do it.",
        'Somebody, "Title", 2020, with $`a_i \\in A`$ over `rows`:',
        "```math\nL = \\mathop{\\mathrm{mean}}_k \\ell_k, \\\\\nM = 1\n```",
        "```math\nN = 2\n```",
        "for the items.",
        "**Takes:** `rankings` alone.",
    ]


class _Inner(MethodConfig):
    weight: NonNegativeFloat = Field(0.5, description="of the | term")


class _Settings(MethodConfig):
    part: _Inner = _Inner(weight=0.25)
    top_k: PositiveInt | None = Field(None, description="K")
    on: bool = True
    names: tuple[str, ...] = ("a",)


def test_settings_have_dotted_names_defaults_values_and_meaning(docs: ModuleType) -> None:
    assert list(docs.settings_of(_Settings())) == [
        "| `part.weight` | `0.25` | number ≥ 0 | of the \\| term |",
        "| `top_k` | `null` | whole number > 0 or `null` | K |",
        "| `on` | `true` | `false`, `true` |  |",
        '| `names` | `["a"]` | list of text |  |',
    ]


def test_comments_describe_the_variants_below_them(docs: ModuleType) -> None:
    text = (
        "# On top,\n# twice.\nsettings: {}\nvariants:\n  # As printed:\n  # all of it.\n"
        "  paper: {a: 1}\n  other: {a: 2}\n  # Inside.\n  nested:\n    # deeper\n    a: 3\n"
    )
    assert dict(docs.comments(text)) == {
        "": "On top, twice.",
        "paper": "As printed: all of it.",
        "other": "",
        "nested": "Inside.",
    }


def test_a_method_of_the_tree_shows_its_file_settings_and_variants(docs: ModuleType) -> None:
    section = docs.section(METHODS.get("ranking-only"))
    assert "[`methods/ranking_only.py`](../methods/ranking_only.py)" in section
    assert "| `top_k` | `10` | whole number > 0 | K, teacher items used per row |" in section
    assert "- `ranking-only:paper` (needs rankings, truth-distance): " in section
    assert "`confidence: ground-truth`, `renormalise: false`" in section
    assert "As printed, for the base loss bce" in section
