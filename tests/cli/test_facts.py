"""Facts as a person reads them."""

from bench.cli.facts import listed


def test_facts_are_lines_and_nested_ones_are_indented() -> None:
    facts = {
        "list_length": 100,
        "signals": ["embeddings", "rankings"],
        "metrics": {"test": {"ndcg@20": 0.04321}, "valid": {}},
        "notes": ["made by hand", "short"],
        "protocol": None,
    }
    assert listed(facts).splitlines() == [
        "list length  100",
        "signals      embeddings, rankings",
        "metrics",
        "  test",
        "    ndcg@20  0.0432",
        "  valid  -",
        "notes",
        "  - made by hand",
        "  - short",
        "protocol     -",
    ]
