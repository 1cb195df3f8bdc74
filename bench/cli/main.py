"""`bench`: finds the command that is meant and says what went wrong (imports nothing heavy)."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import sys
import traceback
from typing import Any, NoReturn

import click

from bench import __version__
from bench.cli import streams
from bench.cli.printing import tell
from bench.display import shown
from bench.errors import BenchError, nearest
from bench.printable import for_screen, for_terminal, is_text

USAGE = 2
DEFECT = 70
"""`EX_SOFTWARE`: an error of the suite, neither of its user (2) nor of a trial (1)."""
INTERRUPTED = 130

# The help stands here so that `bench --help` imports none of them.
COMMANDS = {
    "run": "Train students under distillation methods; only what is missing runs.",
    "work": "One worker on a grid, for any scheduler: runs what nobody else runs, and ends.",
    "tune": "Compare settings of methods on validation, the same number for each.",
    "report": "Leaderboards from the records.",
    "results": "Merge records of several machines, pack them into one file per dataset.",
    "list": "What there is: methods, datasets, students, teachers, suites, results.",
    "data": "Prepare, import and inspect datasets.",
    "teacher": "Build, check and inspect teachers.",
    "export": "A distilled student as a checkpoint that RecBole loads.",
    "doctor": "Versions, devices, what is installed and what is missing.",
}


class Commands(click.Group):
    """Commands that are imported when they are called, with errors as one clear message.

    `--debug` may stand anywhere on the line.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"bench.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            hint = nearest(args[0], COMMANDS)
            ctx.fail(f"no command '{args[0]}'.{hint} Commands: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            if "\0" in arg:
                ctx.fail("an argument holds the character 0, which no name and no path can have")
            if not is_text(arg) and not os.path.lexists(arg):
                ctx.fail(f"the argument {arg} is no text in UTF-8, and no file either")
            if not arg or re.fullmatch("--[a-z-]+=", arg):
                ctx.fail(f"the argument '{arg}' is empty: leave it out, or give it a value")
        debug = [arg for arg in args if arg == "--debug"]
        return super().parse_args(ctx, [*debug[:1], *(arg for arg in args if arg != "--debug")])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command; see `click.Group.main`."""
        streams.widen()
        # Importing makes hundreds of thousands of objects that stay: to look for garbage among them
        # again and again takes a tenth of a short command.
        gc.set_threshold(100_000, *gc.get_threshold()[1:])
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if not streams.is_of_the_machine(error):
                raise
            streams.silence()
            place = f"{error.filename}: " if error.filename else ""
            with contextlib.suppress(OSError):
                tell(f"Error: {place}{error.strerror}")
            sys.exit(USAGE)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            self._stop(ctx, f"Error: {error}", error.exit_code)
        except KeyboardInterrupt:
            self._stop(
                ctx, "Interrupted. What is finished stays; the same command goes on.", INTERRUPTED
            )
        except click.ClickException as error:
            message = for_screen(error.format_message())
            error.format_message = lambda: message  # type: ignore[method-assign]
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and streams.is_of_the_machine(error):
                raise
            what = f"{type(error).__name__}: {error}"
            self._stop(ctx, f"Error in the suite: {what} (--debug shows where)", DEFECT)

    def _stop(self, ctx: click.Context, message: str, code: int) -> NoReturn:
        if ctx.params.get("debug"):
            click.echo(for_terminal(traceback.format_exc()), err=True, nl=False)
        tell(message)
        ctx.exit(code)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(context: click.Context, debug: bool) -> None:
    """Which way of distilling a large teacher into a small recommender is worth its cost?

    \b
    First steps:
      bench run --method none --method dllm2rec --dataset movielens
      bench report

    Exit codes: 0 all done, 1 some trials failed, 2 wrong usage or a full disk.
    """
    context.with_resource(shown())
