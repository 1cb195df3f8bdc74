"""An object in a process of its own, whose methods are called from here.

What is measured side by side must not share a process: RecBole switches autograd's anomaly
detection on for a whole process, reads its command line and writes into the current folder, and
a peak of memory is that of everything in a process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Served:
    """The object that `factory` makes, as seen from the process that wants it measured.

    Arguments and results of its methods must be representable in JSON.
    """

    def __init__(
        self,
        factory: str,
        folder: Path,
        threads: int,
        python: str = sys.executable,
        **arguments: Any,
    ) -> None:
        """Start the process and wait until the object is there.

        Args:
            factory: `module:name` of a callable.
            folder: current folder of the process, for whatever it leaves behind.
            threads: of torch.
            python: the interpreter, this one unless what is compared has one of its own.
            arguments: what the callable takes.

        Raises:
            click.ClickException: it failed, with the end of what the process wrote.
        """
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - this file
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=folder,
        )
        self._ask({"factory": factory, "threads": threads, "arguments": arguments})

    def call(self, method: str, **arguments: Any) -> Any:
        """What a method of the object returns.

        Raises:
            click.ClickException: it failed.
        """
        return self._ask({"method": method, "arguments": arguments})

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()
        self._said.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout  # noqa: S101 - both are pipes
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        if not reply:
            import click  # an interpreter of a peer's own may lack it

            self._process.wait()
            self._said.seek(0)
            raise click.ClickException(f"{request} failed:\n{self._said.read()[-4000:]}")
        return json.loads(reply)


def main() -> None:
    """Make the object of the first line, then call what the others ask for."""
    # A script's own folder comes first on its path, and there `methods` is another file.
    sys.path[0] = str(ROOT)
    # Replies alone go to the pipe; whatever a library prints goes where errors go.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        request = json.loads(sys.stdin.readline())
        served = _make(**request)
        print(json.dumps(None), file=replies, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            result = getattr(served, request["method"])(**request["arguments"])
            print(json.dumps(result), file=replies, flush=True)


def _make(factory: str, threads: int, arguments: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(threads)
    module, name = factory.split(":")
    return getattr(importlib.import_module(module), name)(**arguments)


if __name__ == "__main__":
    main()
