"""How often seeds of one method differ, on the records that are committed."""

from collections import Counter

from click.testing import CliRunner

from bench.paths import SHIPPED
from bench.records.store import ResultStore
from benchmarks.seeds import main, p_values

REFERENCE = ResultStore(SHIPPED / "results" / "reference")


def test_every_pair_of_seeds_of_a_method_counts_once() -> None:
    alike = Counter(
        record.trial.model_copy(update={"seed": 0, "overrides": {}}).key
        for record in REFERENCE.records()
        if record.trial and record.is_done
    )
    found = list(p_values(REFERENCE))
    assert len(found) == sum(n * (n - 1) // 2 for n in alike.values()) > 30
    assert all(0 <= p <= 1 for p in found)


def test_the_command_counts_them() -> None:
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 0, done.output
    pairs = len(list(p_values(REFERENCE)))
    assert done.stdout.splitlines()[0].endswith(f" of {pairs} pairs")
