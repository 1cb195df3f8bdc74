"""A declarative benchmark of distillation methods for sequential recommendation.

    import bench

    runs = bench.run(methods=["none", "dllm2rec"], datasets=["movielens"], seeds=range(3))
    bench.leaderboard(runs)

docs/python.md shows more. Nothing heavy is imported before one of the functions is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import leaderboard as leaderboard
    from bench.api import load_data as load_data
    from bench.api import load_student as load_student
    from bench.api import results as results
    from bench.api import run as run

__version__ = "0.1.0"

_OFFERED = ("leaderboard", "load_data", "load_student", "results", "run")


def __getattr__(name: str) -> object:
    if name in _OFFERED:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *_OFFERED]
