"""The command ``pbx-stir``: reads the arguments, and hands them to the module of the command.

Exit status: what the command says (0 it did what was asked, 1 it did not), 2 for wrong use or a
file that cannot be read. A command's module is imported when it is called, so that ``--help``
answers at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from pbx_stir import __version__
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError

COMMANDS: Final = {
    "run": "serve the PBXs of a configuration file: sign, store, fetch, verify",
    "cps": "serve a call placement service",
    "install": "put it on this machine's PBX: show the changes, make them, undo them",
    "check": "find what an administrator gets wrong",
    "calls": "what became of each call: the call log, filtered, counted, explained",
    "sign": "make a PASSporT, as an Identity header value or bare",
    "verify": "judge Identity header values or PASSporTs for one call",
    "store": "store a PASSporT at a call placement service",
    "fetch": "fetch what is stored for a number, and open it",
    "report": "tell a call placement service of bogus entries of a number of ours",
    "keys": "encryption keys and the records that publish them",
    "advertise": "write our advertisement of call placement services (RFC 9888)",
    "authority": "a certification authority of your own, for a closed group",
    "completion": "a script by which bash, zsh or fish completes these commands",
}


def parser(wanted: str | None) -> argparse.ArgumentParser:
    """The command line. Only the command ``wanted`` has its options: each is a module to import."""
    program = argparse.ArgumentParser(
        prog="pbx-stir",
        description="STIR out-of-band (RFC 8816, RFC 9888) for Asterisk and FreeSWITCH.",
        allow_abbrev=False,
    )
    program.add_argument("--version", action="version", version=f"pbx-stir {__version__}")
    commands = program.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        if name == wanted:
            importlib.import_module(f"pbx_stir.cli.{name}").add_arguments(command)
    return program


def _nowhere() -> io.TextIOWrapper:
    return io.TextIOWrapper(open(os.devnull, "wb"), write_through=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # closed by whoever started us: what is said goes nowhere, and breaks nothing
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a locale that lacks a character must not turn a verdict into a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    wanted = next((word for word in given if not word.startswith("-")), None)
    parsed = parser(wanted).parse_args(given)
    module = importlib.import_module(f"pbx_stir.cli.{parsed.command}")
    try:
        status: int = module.run(parsed)
        sys.stdout.flush()
    except PbxStirError as error:
        for one in error.each if isinstance(error, ConfigurationError) else (error,):
            print(f"pbx-stir {parsed.command}: {one}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has gone: nothing more to say, and no complaint at the interpreter's end
        _discard_output()
        return 1
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        print(f"pbx-stir {parsed.command}: cannot write: {error.strerror}", file=sys.stderr)
        _discard_output()
        return 1
    return status


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
