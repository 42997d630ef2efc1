"""``python -m bench NAME [--json FILE] …``; exit status 1 where a measurement is void."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import cps, cps_report, freeswitch, services, verify
from bench.report import render
from lab.debian import LabError


def main() -> int:
    """Measure, print, and write the JSON object that was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "name", choices=["cps", "freeswitch", "services", "verify"], help="what is measured"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures to FILE")
    parser.add_argument(
        "--calls", metavar="N", type=_count, default=500, help="calls a round (default: 500)"
    )
    parser.add_argument(
        "--gets", metavar="N", type=int, default=1_000_000, help="with cps: distinct numbers asked"
    )
    arguments = parser.parse_args()
    if arguments.name == "cps":
        return _cps(arguments.gets, arguments.json)
    if arguments.name == "freeswitch":
        return _freeswitch(arguments.calls, arguments.json)
    if arguments.name == "verify":
        return _verify(arguments.calls, arguments.json)
    try:
        report = services.measure(arguments.calls, say=_say)
    except LabError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    print(render(report))
    if arguments.json is not None:
        arguments.json.write_bytes(report.as_json())
    return 0


def _cps(gets: int, path: Path | None) -> int:
    try:
        report = cps.measure(gets, _say)
    except (LabError, OSError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    print(cps_report.render(report))
    if path is not None:
        path.write_bytes(report.as_json())
    return 0


def _freeswitch(calls: int, path: Path | None) -> int:
    try:
        report = freeswitch.measure(calls, _say)
    except (LabError, OSError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    print(freeswitch.render(report))
    if path is not None:
        path.write_bytes(report.as_json())
    return 0


def _verify(calls: int, path: Path | None) -> int:
    try:
        report = verify.measure(calls, _say)
    except ValueError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    print(verify.render(report))
    if path is not None:
        path.write_bytes(report.as_json())
    return 0


def _count(text: str) -> int:
    count = int(text)
    if not services.FEWEST_CALLS <= count <= services.MOST_CALLS:
        raise argparse.ArgumentTypeError(
            f"{text} is not from {services.FEWEST_CALLS} to {services.MOST_CALLS}"
        )
    return count


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
