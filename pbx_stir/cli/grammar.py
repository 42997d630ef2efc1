"""What every command takes, as plain values: the manual page and the shells' completion use it.

Read from the commands' own argparse parsers. Reading all of them imports every command's module,
so nothing that a call waits for does.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# names of values that are files
FILES: Final = ("FILE", "PEM", "DIR", "LOG", "PREFIX", "PASSPORT_FILE", "MAP.json")


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its names, its value's name ("" for a flag), what may be given, what it does."""

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str
    required: bool
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Operand:
    """What stands without an option: its name as usage shows it, what may be given, what it is."""

    name: str
    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its words after ``pbx-stir``; ``below`` are its actions."""

    words: tuple[str, ...]
    summary: str
    epilog: str
    options: tuple[Option, ...]
    operands: tuple[Operand, ...]
    below: tuple[Command, ...]


def grammar(
    parser: argparse.ArgumentParser, words: Sequence[str] = (), summary: str = ""
) -> Command:
    """What a parser takes, with the parsers below it."""
    options, operands, below = [], [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = [grammar(one, (*words, name), told) for name, told, one in _subparsers(action)]
        elif action.option_strings:
            options.append(_option(action))
        else:
            more = {"*": "[{} ...]", "?": "[{}]", "+": "{} ..."}.get(str(action.nargs), "{}")
            operands.append(Operand(more.format(_value(action)), _choices(action), _help(action)))
    return Command(
        tuple(words),
        summary,
        parser.epilog or "",
        tuple(options),
        tuple(operands),
        tuple(below),
    )


def every(command: Command) -> Iterator[Command]:
    """A command and all below it."""
    yield command
    for one in command.below:
        yield from every(one)


def _subparsers(
    action: argparse._SubParsersAction[argparse.ArgumentParser],
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    summaries = {one.dest: one.help or "" for one in action._choices_actions}
    for name, parser in action.choices.items():
        yield name, summaries.get(name, ""), parser


def _option(action: argparse.Action) -> Option:
    return Option(
        tuple(action.option_strings),
        "" if action.nargs == 0 else _value(action),
        _choices(action),
        _help(action),
        action.required,
        isinstance(action, argparse._AppendAction),
    )


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(map(str, action.choices or ()))


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _value(action: argparse.Action) -> str:
    """The name that usage has for a value."""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def whole() -> Command:
    """``pbx-stir`` with all its commands."""
    from pbx_stir.cli import main

    parser = main.parser(None)
    for name, command in _of(parser).choices.items():
        importlib.import_module(f"pbx_stir.cli.{name}").add_arguments(command)
    return grammar(parser, (), parser.description or "")


def _of(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
