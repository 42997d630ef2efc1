"""The manual page pbx-stir(1), from what the commands' parsers take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pbx_stir import __version__
from pbx_stir.cli.grammar import Command, Option, every, whole

DESCRIPTION: Final = """\
Before a call leaves, the service signs who calls whom, and stores it, sealed to the called party,
at the call placement service of the called number. When a call comes in, it fetches what is stored
for it, verifies it, and tells the dialplan. A call never depends on it: it is held for
milliseconds, within a limit that the dialplan keeps."""
TAIL: Final = r"""
.SH FILES
.TP
.I /etc/pbx-stir/pbx-stir.toml
The configuration, unless
.B \-\-config
names another.
.TP
.I /var/lib/pbx-stir
Keys, storage tokens and the memory of what was used
.RB ( state_dir ).
.SH ENVIRONMENT
.TP
.B CREDENTIALS_DIRECTORY
A secret that the configuration names is read from the file of its name there, if there is one.
.TP
.BR NOTIFY_SOCKET ", " WATCHDOG_USEC
Where
.B run
and
.B cps
tell the service manager how they are: sd_notify(3).
.TP
.B NO_COLOR
.B calls
prints no colours.
.SH SIGNALS
To
.B run
and
.BR cps .
.TP
.B SIGHUP
Read the configuration, certificates and lists again, while calls go on. A broken configuration is
refused, and the one before stays in force.
.TP
.B SIGUSR1
Say more in the log; once more: as before.
.TP
.BR SIGTERM ", " SIGINT
Answer the calls in hand, and end.
.SH EXIT STATUS
0: done, or, of a command that judges, good. 1: not done, or not good. 2: wrong use, or a file that
cannot be read.
.SH EXAMPLES
.EX
pbx\-stir check
pbx\-stir calls \-\-since today \-\-verdict none
pbx\-stir calls explain 1f0c3b7a9e2d4c58
pbx\-stir install asterisk \-\-trunk carrier\-1 \-\-apply
pbx\-stir completion bash > /etc/bash_completion.d/pbx\-stir
.EE
.SH SEE ALSO
asterisk(8), freeswitch(1), systemd.service(5)
.PP
RFC 8816 (STIR out-of-band), RFC 8224, RFC 8225, RFC 8226, RFC 9888
"""


def written() -> str:
    """The page in man(7)'s language."""
    program = whole()
    return "\n".join([*_head(program), *_commands(program)]) + TAIL


def _head(program: Command) -> Iterator[str]:
    yield '.\\" made by scripts/docs'
    yield f'.TH PBX-STIR 1 "" "pbx-stir {__version__}" "User Commands"'
    yield ".nh\n.ad l"
    yield ".SH NAME"
    yield f"pbx\\-stir \\- {_text(program.summary.rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield "\n.br\n".join(
        f".B pbx\\-stir {' '.join(map(_text, command.words))}\n{_arguments(command)}"
        for command in every(program)
        if not command.below
    )
    yield ".SH DESCRIPTION"
    yield DESCRIPTION
    yield ".SH OPTIONS"
    yield from map(_option, program.options)
    yield "Each command has \\fB\\-h\\fR as well."
    yield ".SH COMMANDS"


def _commands(program: Command) -> Iterator[str]:
    for command in every(program):
        if command.words:
            yield f'.SS "{" ".join(map(_text, command.words))}"'
            yield _text(f"{command.summary[:1].upper()}{command.summary[1:]}.")
            for operand in command.operands:
                yield f".TP\n.I {_text(operand.name)}\n{_text(operand.help)}"
            for option in command.options:
                if "--help" not in option.names:
                    yield _option(option)
            if command.epilog:
                yield f".PP\n{_text(command.epilog)}"


def _option(option: Option) -> str:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.names)
    value = f" \\fI{_text(option.value)}\\fR" if option.value else ""
    notes = [option.help] if option.help else []
    notes += ["required"] if option.required else []
    notes += ["may be given several times"] if option.repeatable else []
    return f".TP\n{names}{value}\n{_text('; '.join(notes))}"


def _arguments(command: Command) -> str:
    told = []
    for option in command.options:
        if "--help" not in option.names:
            value = f" \\fI{_text(option.value)}\\fR" if option.value else ""
            one = f"\\fB{_text(option.names[-1])}\\fR{value}"
            told.append(one if option.required else f"[{one}]")
    told += [f"\\fI{_text(operand.name)}\\fR" for operand in command.operands]
    return " ".join(told)


def _text(text: str) -> str:
    """Text that troff takes as it is."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return f"\\&{safe}" if safe.startswith(".") else safe
