"""``pbx-stir install``: shows what it would change on this machine, does it, and takes it back.

Exit status 0 where it did what was asked, 1 where a command it ran failed or a file could not be
written, 2 for wrong use.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx_stir.installing.changes import Plan
    from pbx_stir.installing.journal import JournalFile
    from pbx_stir.installing.machine import Machine
    from pbx_stir.installing.wishes import Wishes

_EPILOG = "Without --apply nothing is changed. docs/install.md has more."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = _EPILOG
    pbxs = parser.add_subparsers(dest="pbx", metavar="PBX", required=True)
    for name, etc in (("asterisk", "/etc/asterisk"), ("freeswitch", "/etc/freeswitch")):
        pbx = pbxs.add_parser(name, help=f"for the PBX of {etc}", allow_abbrev=False)
        what = pbx.add_mutually_exclusive_group()
        what.add_argument("--apply", action="store_true", help="make the changes that are shown")
        what.add_argument("--undo", action="store_true", help="take back what was applied")
        pbx.add_argument("--etc", default="", metavar="DIR", help=f"else {etc}")
        pbx.add_argument("--root", default="/", metavar="DIR", help="another root, as of an image")
        pbx.add_argument("--full", action="store_true", help="show shipped files line by line")
        pbx.add_argument(
            "--no-start", action="store_true", help="change files, and run no command but useradd"
        )
        _add_trunks(pbx)
        _add_starting(pbx)
        if name == "asterisk":
            _add_asterisk(pbx)
        else:
            pbx.add_argument("--scripts", default="", metavar="DIR", help="folder of Lua scripts")


def _add_trunks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trunk",
        action="append",
        default=[],
        metavar="NAME",
        help="a trunk of that name, to be watched at first (monitor); again for more",
    )


def _add_starting(parser: argparse.ArgumentParser) -> None:
    """What goes into a configuration that is not there yet."""
    start = parser.add_argument_group("for a configuration to start with")
    start.add_argument(
        "--numbers", action="append", default=[], help='"+12125551200-+12125551299"; or again'
    )
    start.add_argument("--country-code", default="", metavar="CC", help="of numbers without one")
    start.add_argument("--certificate", metavar="PEM", type=Path, help="that signs; it is copied")
    start.add_argument("--key", metavar="PEM", type=Path, help="its key; it is copied")
    start.add_argument("--x5u", metavar="URL", help="where the certificate is published")
    start.add_argument(
        "--trust", metavar="PEM", type=Path, action="append", default=[], help="an authority"
    )
    start.add_argument(
        "--with-cps", action="store_true", help="a call placement service on this machine as well"
    )


def _add_asterisk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trunk-context",
        action="append",
        default=[],
        metavar="CONTEXT:TRUNK",
        help="write CONTEXT-stir, which runs the hook and goes on in CONTEXT",
    )
    parser.add_argument("--freepbx", action="store_true", help="write to FreePBX's _custom files")
    parser.add_argument("--cdr", action="store_true", help="call detail records in pbx-stir.csv")
    parser.add_argument("--cel", action="store_true", help="verdicts as channel events")
    parser.add_argument(
        "--test-call", action="store_true", help="a context in which two of --numbers talk"
    )


def run(args: argparse.Namespace) -> int:
    """Show, apply or undo. Raises ConfigurationError, UsageError."""
    from pbx_stir.installing.machine import Machine

    machine = Machine(Path(args.root).absolute())
    if machine.here and os.geteuid() != 0 and (args.apply or args.undo):
        raise UsageError("only root can change this machine", hint="sudo, or su -")
    try:
        return _undo(machine, args) if args.undo else _install(machine, args)
    except (ConfigurationError, UsageError) as error:
        error.message, error.hint = _printable(error.message), _printable(error.hint)
        raise


def _wishes(args: argparse.Namespace) -> Wishes:
    from pbx_stir.installing.wishes import X5U_NOWHERE, Wishes

    split = [one.rpartition(":") for one in getattr(args, "trunk_context", [])]
    if any(not colon for _, colon, _ in split):
        raise UsageError("--trunk-context wants CONTEXT:TRUNK")
    flags = ("cdr", "cel", "freepbx", "test_call")
    return Wishes(
        etc=args.etc,
        scripts=getattr(args, "scripts", ""),
        trunks=tuple(dict.fromkeys(args.trunk)),
        wrapped=tuple((context, trunk) for context, _, trunk in split),
        numbers=tuple(one.strip() for given in args.numbers for one in given.split(",")),
        country_code=args.country_code,
        certificate=args.certificate,
        key=args.key,
        x5u=args.x5u or X5U_NOWHERE,
        trust=tuple(args.trust),
        with_cps=args.with_cps,
        **{name: getattr(args, name, False) for name in flags},
    )


def _install(machine: Machine, args: argparse.Namespace) -> int:
    from pbx_stir.installing.applying import apply, outstanding
    from pbx_stir.installing.changes import shown
    from pbx_stir.installing.machine import run as run_command

    plan = outstanding(_plan(machine, args))
    for change in plan.changes:
        print(shown(change, full=args.full), end="")
        if change.old is not None and change.path.is_symlink() and not change.target:
            _say(f"({change.path} is a link to {change.path.resolve()})")
    for folder in plan.folders:
        _say(f"new folder {folder.path} (mode {folder.mode:o})")
    if not plan.changes and not plan.folders:
        print("nothing to change")
        _print_left(plan.left)
        return 0
    after: Sequence[Sequence[str]] = () if args.no_start else plan.after
    if not args.apply:
        for command in (*plan.before, *after):
            print(f"then runs: {shlex.join(command)}")
        _print_left(plan.left)
        print("nothing was changed: --apply does it")
        return 0
    for command in plan.before:
        if wrong := run_command(command):
            raise UsageError(f"{shlex.join(command)}: {wrong}")
    apply(plan, machine, _journal(machine, args))
    print("done")
    status = _run_all(after)
    _print_left(plan.left)
    return status


def _plan(machine: Machine, args: argparse.Namespace) -> Plan:
    wishes = _wishes(args)
    if args.pbx == "asterisk":
        from pbx_stir.installing.asterisk import plan_asterisk

        return plan_asterisk(machine, wishes)
    from pbx_stir.installing.freeswitch import plan_freeswitch

    return plan_freeswitch(machine, wishes)


def _undo(machine: Machine, args: argparse.Namespace) -> int:
    from pbx_stir.installing.applying import undo
    from pbx_stir.installing.asterisk import hooks_left, reloads
    from pbx_stir.installing.commands import put_back
    from pbx_stir.installing.service import UNITS, USER

    journal_file = _journal(machine, args)
    journal = journal_file.load()
    if not journal.entries:
        print("nothing to undo")
        return 0
    left = hooks_left(machine, args.etc) if args.pbx == "asterisk" else ()
    if left:
        joined = "\n  ".join(left)
        raise UsageError(
            f"still called by your dialplan:\n  {joined}\n",
            hint="take these lines out first: without the routines they would end the calls",
        )
    units = [Path(one.path).name for one in journal.entries if one.path.startswith(f"{UNITS}/")]
    start = machine.here and not args.no_start
    status = _run_all([("systemctl", "disable", "--now", *units)] if units and start else [])
    for one in undo(journal_file):
        _say(f"{one.path}: {one.what}")
    after: list[tuple[str, ...]] = [("systemctl", "daemon-reload")] if units else []
    if args.pbx == "asterisk" and not args.etc:
        after += reloads(Path(one.path).name for one in journal.entries)
    elif args.pbx == "freeswitch" and not args.etc:
        after.append(("fs_cli", "-x", "reloadxml"))
    status = _run_all(after if start else [], put_back) or status
    print(f"left where they are: user {USER}, /var/lib/pbx-stir, /var/log/pbx-stir")
    return status


def _journal(machine: Machine, args: argparse.Namespace) -> JournalFile:
    from pbx_stir.installing.journal import JournalFile
    from pbx_stir.installing.service import JOURNALS

    return JournalFile(machine.path(JOURNALS), args.pbx)


def _run_all(
    commands: Sequence[Sequence[str]], how: Callable[[Sequence[str]], str] | None = None
) -> int:
    from pbx_stir.installing.commands import carry_out

    status = 0
    for command in commands:
        wrong = (how or carry_out)(command)
        _say(f"{shlex.join(command)}: {wrong or 'done'}")
        status = 1 if wrong else status
    return status


def _print_left(left: Sequence[str]) -> None:
    for one in left:
        _say(f"left to you: {one}")


def _say(text: str) -> None:
    """Print what files or commands may have worded, which are not root's."""
    print(_printable(text))


def _printable(text: str) -> str:
    from pbx_stir.installing.changes import printable

    return "\n".join(printable(line) for line in text.split("\n"))
