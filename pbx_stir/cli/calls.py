"""``pbx-stir calls``: what the call log says, as a table, counts, CSV or JSON; one call explained.

Exit status 0, or 1 where a call that was asked for is not in the log.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx_stir.cli.run import DEFAULT_CONFIG
from pbx_stir.errors import UsageError

if TYPE_CHECKING:
    from pbx_stir.call_log.picking import Wanted
    from pbx_stir.call_log.reading import CallLine, Reading

    Lines = Generator[tuple[CallLine, bytes]]

STDIN: Final = "-"
MOST_LAST: Final = 100_000
USUAL_LAST: Final = 50
MOST_EXPLAINED: Final = 20
FEWEST_OF_ID: Final = 4
# what of the journal is the call log, where it goes to standard output or to the journal itself
JOURNALS: Final = {"-": ("-u", "pbx-stir"), "journal": ("-t", "pbx-stir-calls")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "log",
        nargs="*",
        metavar="LOG",
        help="a call log, - for standard input; else that of the configuration. "
        "explain ID, or explain REASON: the same as --explain",
    )
    parser.add_argument(
        "--config", default=DEFAULT_CONFIG, metavar="FILE", help=f"else {DEFAULT_CONFIG}"
    )
    which = parser.add_argument_group("which calls")
    which.add_argument("--trunk", default="", help="of this trunk")
    which.add_argument("--number", help="this number called or was called, or one beginning so")
    which.add_argument("--verdict", help="passed, failed, none; stored, in-band, skipped, error")
    which.add_argument("--reason", default="", help="with this reason word")
    which.add_argument("--direction", choices=("in", "out"), default="", help="in or out")
    which.add_argument("--since", metavar="WHEN", help="2h, today, 08:30 or 2026-11-22 08:30")
    which.add_argument("--until", metavar="WHEN", help="the same")
    which.add_argument("--last", type=int, metavar="N", help="the last so many; 0: all")
    how = parser.add_argument_group("how they are shown")
    one_of = how.add_mutually_exclusive_group()
    one_of.add_argument("--counts", action="store_true", help="by hour and by reason")
    one_of.add_argument("--follow", action="store_true", help="and then each new call as it comes")
    one_of.add_argument("--explain", metavar="ID", help="one call in plain sentences, by STIR_ID")
    form = how.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="for a spreadsheet")
    form.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Read and show. Raises UsageError, ConfigurationError."""
    if args.log[:1] == ["explain"]:
        if len(args.log) < 2 or args.explain:
            raise UsageError("explain what?", hint="pbx-stir calls explain ID")
        args.explain, args.log = args.log[1], args.log[2:]
    if args.last is not None and not 0 <= args.last <= MOST_LAST:
        raise UsageError(f"--last {args.last}", hint=f"0 to {MOST_LAST}")
    if args.explain:
        return _explain(args)
    wanted = _wanted(args)
    if args.follow:
        return _follow(args, wanted)
    reading, lines = _read(args, since=wanted.since)
    chosen = ((line, octets) for line, octets in lines if wanted.has(line))
    if args.counts:
        _print_counts(chosen, args)
    else:
        _print_calls(chosen, wanted, args)
    _say_what_was_met(reading)
    _say_unknown_trunk(args)
    return 0


def _wanted(args: argparse.Namespace) -> Wanted:
    from pbx_stir.call_log import picking

    now = datetime.now(UTC).astimezone()
    number = None
    if args.reason:
        _check_reason(args.reason)
    if args.number is not None:
        number = picking.Number(args.number, lambda digits: _hash(args, digits))
    return picking.Wanted(
        trunk=args.trunk,
        number=number,
        verdict=picking.verdict(args.verdict) if args.verdict else "",
        reason=args.reason,
        direction=args.direction,
        since=picking.moment(args.since, now) if args.since else None,
        until=picking.moment(args.until, now) if args.until else None,
    )


def _check_reason(word: str) -> None:
    """Refuse a word that no call can have. Raises UsageError."""
    import difflib

    from pbx_stir.services.call import Reason

    words = [one.value for one in Reason]
    if word not in words:
        close = difflib.get_close_matches(word, words, n=1)
        hint = f"did you mean {close[0]}?" if close else "dialplan/README.md lists them"
        raise UsageError(f"no reason word: {word[:80]!r}", hint=hint)


def _say_unknown_trunk(args: argparse.Namespace) -> None:
    """Where no call was shown of a trunk that the configuration does not have: say so."""
    from pbx_stir import config
    from pbx_stir.errors import ConfigurationError

    if not args.trunk or args.log:
        return
    try:
        known = [one.name for one in config.load(Path(args.config)).values.trunk]
    except ConfigurationError:
        return
    if args.trunk not in known:
        named = ", ".join(known) or "none"
        print(f"pbx-stir calls: no trunk {args.trunk!r} is configured: {named}", file=sys.stderr)


def _hash(args: argparse.Namespace, digits: str) -> str:
    """The hash of a number in the log of this configuration."""
    from pbx_stir import config
    from pbx_stir.call_log.keys import hash_key
    from pbx_stir.call_log.numbers import style

    loaded = config.load(Path(args.config))
    key = hash_key(loaded.resolve(loaded.values.state_dir), make=False)
    return style("hash", key).number(digits)


def _log_of(args: argparse.Namespace) -> Path | tuple[str, ...]:
    """The log that the configuration names: a file, or a command that writes it out.

    Raises:
        UsageError: it is neither
    """
    from pbx_stir import config

    loaded = config.load(Path(args.config))
    file = loaded.values.call_log.file
    if file == "syslog":
        hint = "grep -h pbx-stir-calls /var/log/syslog | pbx-stir calls -"
        raise UsageError("the call log goes to syslog, not to a file", hint=hint)
    if file not in JOURNALS:
        return loaded.resolve(file)
    command = ("journalctl", *JOURNALS[file], "-o", "cat", "--no-pager")
    if shutil.which(command[0]) is None:
        where = "standard output" if file == "-" else "the journal"
        hint = "pipe it to pbx-stir calls -"
        raise UsageError(f"the call log goes to {where}, and there is no journalctl", hint=hint)
    return command


def _read(
    args: argparse.Namespace, holding: bytes = b"", since: datetime | None = None
) -> tuple[Reading, Lines]:
    """The lines of all logs that are named."""
    from pbx_stir.call_log.reading import Reading

    reading = Reading()
    named = _log_of(args) if not args.log else None

    def lines() -> Lines:
        if isinstance(named, tuple):
            more = (f"--since=@{since.timestamp():.0f}",) if since else ()
            yield from _written_out((*named, *more), reading, holding)
            return
        for name in args.log or [named]:
            if name == STDIN:
                # the file itself: what is being written to a pipe comes at once
                yield from reading.lines(sys.stdin.buffer, holding)
                continue
            path = Path(name)
            if not path.exists():
                if not args.log and path.parent.is_dir():
                    print(f"pbx-stir calls: no call yet: {path} is not there", file=sys.stderr)
                    return
                raise UsageError(f"cannot read {path}: there is no such file")
            try:
                yield from reading.files(path, holding, since.timestamp() if since else 0.0)
            except OSError as error:
                raise _unreadable(path, error) from error

    return reading, lines()


def _written_out(command: Sequence[str], reading: Reading, holding: bytes = b"") -> Lines:
    """What a command writes. Other lines of a unit stand between those of its calls."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        try:
            yield from reading.lines(running.stdout, holding)
        finally:
            running.terminate()
    reading.broken = 0


def _print_counts(lines: Lines, args: argparse.Namespace) -> None:
    from pbx_stir.call_log.counting import Counts

    counts = Counts()
    for line, _ in lines:
        counts.add(line)
    if args.json:
        import json

        print(json.dumps(counts.as_json()))
    elif args.csv:
        for row in counts.csv():
            print(row)
    else:
        for row in counts.table(colours=_colours()):
            print(row)


def _print_calls(lines: Lines, wanted: Wanted, args: argparse.Namespace) -> None:
    is_table = not args.json and not args.csv
    last = args.last
    if last is None and is_table and wanted.anything:
        last = USUAL_LAST
    rows = iter(deque(lines, maxlen=last)) if last else lines
    # what cannot be read is said instead of a heading
    first = next(rows, None)
    show = _shower(args)
    for line, octets in rows if first is None else chain([first], rows):
        show(line, octets)


def _follow(args: argparse.Namespace, wanted: Wanted) -> int:
    """The last calls, and then each new one, until somebody interrupts."""
    from pbx_stir.call_log.following import LOOK_SECONDS, Follower
    from pbx_stir.call_log.reading import Reading

    if len(args.log) > 1:
        raise UsageError("--follow follows one log", hint="name one")
    path = Path(args.log[0]) if args.log else _log_of(args)
    last = USUAL_LAST if args.last is None else args.last
    if isinstance(path, tuple) or args.log == [STDIN]:
        return _follow_stream(path, last, wanted, args)
    since = wanted.since.timestamp() if wanted.since else 0.0
    try:
        follower = Follower(path)
    except OSError as error:
        raise _unreadable(path, error) from error

    def more() -> Lines:
        try:
            yield from follower.more()
        except OSError as error:
            raise _unreadable(path, error) from error

    with contextlib.closing(follower), contextlib.suppress(KeyboardInterrupt):
        # the file is read on from where this has read to: no call is missed, none shown twice
        lines = chain(Reading().older(path, since=since), more())
        kept = deque((one for one in lines if wanted.has(one[0])), maxlen=last or None)
        show = _shower(args)
        while True:
            for line, octets in kept:
                show(line, octets)
            sys.stdout.flush()
            time.sleep(LOOK_SECONDS)
            kept = deque(one for one in more() if wanted.has(one[0]))
    return 0


def _follow_stream(
    command: Path | tuple[str, ...], last: int, wanted: Wanted, args: argparse.Namespace
) -> int:
    """Each call as a command or standard input brings it."""
    from pbx_stir.call_log.reading import Reading

    show, reading = _shower(args), Reading()
    lines = reading.lines(sys.stdin.buffer)
    if isinstance(command, tuple):
        lines = _written_out((*command, "-f", "-n", str(last or "all")), reading)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(lines):
        for line, octets in lines:
            if wanted.has(line):
                show(line, octets)
                sys.stdout.flush()
    return 0


def _unreadable(path: Path, error: OSError) -> UsageError:
    hint = ""
    if isinstance(error, PermissionError):
        hint = "as root, or as the service's user (pbx-stir), or in the log's group"
    return UsageError(f"cannot read {path}: {error.strerror or error}", hint=hint)


def _shower(args: argparse.Namespace) -> Callable[[CallLine, bytes], None]:
    """What prints a call in the form that is wanted; its heading is printed at once."""
    from pbx_stir.call_log import table

    if args.json:
        return lambda _, octets: print(table.json_row(octets))
    if args.csv:
        print(table.csv_row(None))
        return lambda line, _: print(table.csv_row(line))
    width = shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None
    rows = table.Table(width, colours=_colours())
    print(rows.heading())

    def show(line: CallLine, octets: bytes) -> None:
        for row in rows.rows(line):
            print(row)

    return show


def _explain(args: argparse.Namespace) -> int:
    from pbx_stir.call_log import explaining
    from pbx_stir.call_log.reading import as_object
    from pbx_stir.reasons import of_word

    wanted = args.explain
    if meanings := of_word(wanted):
        for row in explaining.of_word(wanted, meanings):
            print(row)
        return 0
    if len(wanted) < FEWEST_OF_ID or not wanted.isascii() or not wanted.isprintable():
        raise UsageError(f"no id: {wanted!r}", hint="STIR_ID, its beginning, or the PBX's own id")
    reading, lines = _read(args, holding=wanted.encode())
    found = [(line, octets) for line, octets in lines if _is_of(line, wanted)]
    contested = {line.id for line, _ in found if line.event == "contested"}
    for line, octets in found[:MOST_EXPLAINED]:
        if line.event == "contested":
            told = explaining.of_contest(line)
        else:
            told = explaining.told(
                line,
                as_object(octets) or {},
                contested=line.id in contested,
                colours=_colours(),
            )
        for row in told:
            print(row)
        print()
    if len(found) > MOST_EXPLAINED:
        print(f"{len(found) - MOST_EXPLAINED} more: say more of the id", file=sys.stderr)
    _say_what_was_met(reading)
    if not found:
        print(f"pbx-stir calls: {wanted} is not in the log", file=sys.stderr)
        print(
            "  hint: a call that the dialplan did not announce has no line: pbx-stir calls explain "
            "REASON says what its STIR_REASON means",
            file=sys.stderr,
        )
    return 0 if found else 1


def _is_of(line: CallLine, wanted: str) -> bool:
    ids = (line.uniqueid, line.linkedid, line.claimed_by)
    return line.id.startswith(wanted) or wanted in ids


def _colours() -> bool:
    """On a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    is_dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not is_dumb


def _say_what_was_met(reading: Reading) -> None:
    """What could not be read, where people see it and programs do not."""
    from pbx_stir.call_log.table import safe

    sys.stdout.flush()
    for one in reading.unreadable:
        print(f"pbx-stir calls: not read to its end: {safe(one)}", file=sys.stderr)
    if reading.broken:
        what = "line is no call" if reading.broken == 1 else "lines are no calls"
        print(f"pbx-stir calls: {reading.broken} {what}", file=sys.stderr)
