"""Hear what the suite logs."""

import contextlib
import logging
from collections.abc import Callable, Iterator

from bench.progress import TaskFormatter


class _Ear(logging.Handler):
    def __init__(self, hear: Callable[[str], object]) -> None:
        super().__init__()
        self.setFormatter(TaskFormatter())
        self.hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(self.format(record))


@contextlib.contextmanager
def listening(hear: Callable[[str], object]) -> Iterator[None]:
    """Give `hear` every line that the suite logs within; what `hear` raises comes out there."""
    ear = _Ear(hear)
    logging.getLogger("bench").addHandler(ear)
    try:
        yield
    finally:
        logging.getLogger("bench").removeHandler(ear)
