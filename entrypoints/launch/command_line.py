"""The command line of an entry point: made of the names of its parameters, with MLproject's defaults."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click

from entrypoints.launch import places
from entrypoints.launch.commands import declared
from entrypoints.launch.ending import ended, failed_early
from entrypoints.launch.explanations import explained
from entrypoints.launch.parameters import GROUPS, TYPES
from entrypoints.launch.server import check_server
from entrypoints.launch.stopping import STOPPED, end_as_killed, tell_how_to_go_on, terminate_on_signals
from entrypoints.launch.taken import with_taken
from hands.errors import InvalidInput
from hands.processes.output import guard_output

WIDTH = 100  # characters of a line of help


class Option(click.Option):
    """An option that only MLproject can have a default for."""

    def get_help_extra(self, context: click.Context) -> dict:
        extra = super().get_help_extra(context)
        if "default" in extra:
            extra.pop("required", None)
        return extra


class EntryPoint(click.Command):
    """A command that takes MLproject's defaults for what it is not given, and lists its options in groups.

    name: its name in MLproject; where it has a parameter `recipe`, that names whose defaults they are, main's by itself.
    """

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        defaults = declared(self._recipe(context, arguments) or self.name)
        context.default_map = {name: default for name, default in defaults.items() if default is not None}
        try:
            return super().parse_args(context, arguments)
        except click.UsageError as error:
            failed_early(self.name, {}, error)
            raise

    def _recipe(self, context: click.Context, arguments: list[str]) -> str | None:
        option = next((option for option in self.params if option.name == "recipe"), None)
        if option is None:
            return None
        given = self.make_parser(context).parse_args(list(arguments))[0].get("recipe")
        return given if given in option.type.choices else "main"

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        records = {option.name: option.get_help_record(context) for option in self.get_params(context)}
        for heading, names in grouped(list(records)).items():
            with formatter.section(heading):
                formatter.write_dl([records[name] for name in names])


def grouped(names: list[str]) -> dict[str, list[str]]:
    """Parameters by the headings of GROUPS, both in the order in which they are named; what has no group comes last."""
    heading_of = {name: heading for heading, group in GROUPS.items() for name in group}
    found = {}
    for name in sorted(names, key=lambda name: name not in heading_of):
        found.setdefault(heading_of.get(name, "Help"), []).append(name)
    return found


def entry_point(*names: str, goes_on: bool = False) -> Callable[[Callable[[SimpleNamespace], None]], EntryPoint]:
    """Makes a command of a function that takes the named parameters as a namespace; it is called as its file is.

    What the user got wrong (InvalidInput) is printed as one line, and the exit code is 1.

    Args:
        goes_on: whether the same command goes on with what was stopped.
    """

    def decorate(function: Callable[[SimpleNamespace], None]) -> EntryPoint:
        name = Path(function.__code__.co_filename).stem

        def command(**values):
            terminate_on_signals()
            guard_output()
            if places.said():
                click.echo(f"== {places.said()}")
            try:
                check_server()
                with ended(values.get("recipe", name), values):
                    function(with_taken(name, SimpleNamespace(**values)))
            except InvalidInput as error:
                raise click.ClickException(str(error)) from error
            except Exception as error:
                sentence = explained(error)
                if sentence is None:
                    raise
                raise click.ClickException(sentence) from error
            except KeyboardInterrupt as interrupt:
                end_as_killed()
                tell_how_to_go_on(interrupt, goes_on)
                sys.exit(STOPPED)

        return EntryPoint(
            name,
            callback=command,
            params=[option(parameter) for parameter in names],
            help=(function.__doc__ or "").strip().split("\n")[0],
            context_settings={"max_content_width": WIDTH},
        )

    return decorate


def option(name: str) -> Option:
    kind, meaning = TYPES[name]
    return Option([f"--{name}", name], type=kind, required=True, show_default=True, help=meaning)
