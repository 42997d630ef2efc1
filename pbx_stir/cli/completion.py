"""``pbx-stir completion``: what a shell completes ``pbx-stir`` by, as a script for it.

The script has all commands, options and choices in it, so that a shell need not start Python at
each key. It is made anew after an upgrade.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbx_stir.cli.grammar import Command, Option

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
# completion of pbx-stir for bash, made by: pbx-stir completion bash
_pbx_stir() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local at='' word words='' values='' index
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case "$at $word" in
%(commands)s
        esac
    done
    case "$at" in
%(words)s
    esac
    case "$at $previous" in
%(values)s
    esac
    COMPREPLY=()
    case "$values" in
        '') COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
        '<any>') ;;
        '<file>') COMPREPLY=($(compgen -f -- "$current")) ;;
        *) COMPREPLY=($(compgen -W "$values" -- "$current")) ;;
    esac
    if [[ -z $values && ${#COMPREPLY[@]} -eq 0 ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -F _pbx_stir pbx-stir
"""
_ZSH = "autoload -Uz bashcompinit && bashcompinit\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's operand."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from pbx_stir.cli.grammar import whole

    print(script(args.shell, whole()), end="")
    return 0


def script(shell: str, program: Command) -> str:
    """The script for one of SHELLS."""
    if shell == "fish":
        return "\n".join(_fish(program)) + "\n"
    return (_ZSH if shell == "zsh" else "") + _bash(program)


def _bash(program: Command) -> str:
    from pbx_stir.cli.grammar import every

    commands, words, values = [], [], []
    for command in every(program):
        at = "".join(f" {word}" for word in command.words)
        if command.words:
            commands.append(f"            '{at}') at='{at}' ;;")
        known = [one.words[-1] for one in command.below]
        known += [one for operand in command.operands for one in operand.choices]
        known += [name for option in command.options for name in option.names]
        words.append(f"        '{at}') words='{' '.join(known)}' ;;")
        for option in command.options:
            if option.value:
                names = "|".join(f"'{at} {name}'" for name in option.names)
                values.append(f"        {names}) values='{_given(option)}' ;;")
    parts = {"commands": commands, "words": words, "values": values}
    return _BASH % {name: "\n".join(lines) for name, lines in parts.items()}


def _given(option: Option) -> str:
    from pbx_stir.cli.grammar import FILES

    if option.choices:
        return " ".join(option.choices)
    return "<file>" if option.value in FILES else "<any>"


def _fish(program: Command) -> Iterator[str]:
    from pbx_stir.cli.grammar import every

    yield "# completion of pbx-stir for fish, made by: pbx-stir completion fish"
    for command in every(program):
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words)
        below = " ".join(one.words[-1] for one in command.below)
        unless = f"not __fish_seen_subcommand_from {below}" if below else ""
        for one in command.below:
            when = "; and ".join(filter(None, (seen, unless)))
            yield _fish_line(when, f"-f -a {one.words[-1]}", one.summary)
        for operand in command.operands:
            if operand.choices:
                yield _fish_line(seen, f"-f -a '{' '.join(operand.choices)}'", operand.help)
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            if option.value:
                given = _given(option)
                names += " -r" if given == "<file>" else " -x"
                names += f" -a '{given}'" if option.choices else ""
            yield _fish_line(seen or unless, names, option.help)


def _fish_line(when: str, what: str, told: str) -> str:
    quoted = told.replace("\\", "\\\\").replace("'", "\\'")
    return f"complete -c pbx-stir -n '{when}' {what} -d '{quoted}'"
