"""What least gains would have changed, on the records that are committed."""

from click.testing import CliRunner

from bench.paths import SHIPPED
from bench.records.store import ResultStore
from benchmarks.patience import LEAST_GAINS, Course, courses, main


def test_a_least_gain_ends_a_training_where_its_patience_would() -> None:
    course = Course("toy", [0.1, 0.2, 0.2004, 0.2008, 0.2009, 0.3], patience=2, min_epochs=1)
    assert course.end(0.0) == 6
    assert (course.end(0.001), course.loss(0.001)) == (4, 1 - 0.2008 / 0.3)
    assert course.end(0.0005) == 6  # two small gains are one that counts
    assert Course("toy", course.values, patience=2, min_epochs=5).end(0.001) == 5


def test_larger_gains_end_sooner_and_the_command_says_so() -> None:
    found = list(courses(ResultStore(SHIPPED / "results" / "reference")))
    assert len(found) > 100
    for course in found:
        ends = [course.end(least) for least in (0.0, *LEAST_GAINS)]
        assert ends[0] == len(course.values)
        assert all(end >= min(course.min_epochs, len(course.values)) for end in ends)
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 0, done.output
    assert sum("movielens" in line for line in done.stdout.splitlines()) == len(LEAST_GAINS)
