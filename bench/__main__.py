"""``python -m bench NAME [--json FILE] …``; exit status 1 where a measurement is void."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Protocol

from bench import (
    calls,
    cps,
    cps_report,
    cycles,
    cycles_report,
    freeswitch,
    growth,
    mixed,
    mixed_report,
    services,
    soak,
    soak_report,
    verify,
)
from bench.report import render
from lab.debian import LabError


def main() -> int:
    """Measure, print, and write the JSON object that was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "name",
        choices=[
            "calls",
            "cps",
            "cycles",
            "freeswitch",
            "growth",
            "mixed",
            "services",
            "soak",
            "verify",
        ],
        help="what is measured",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures to FILE")
    parser.add_argument(
        "--calls", metavar="N", type=_count, default=500, help="calls a round (default: 500)"
    )
    parser.add_argument(
        "--mixed", metavar="N", type=int, default=10_000, help="with mixed: calls (default: 10000)"
    )
    parser.add_argument(
        "--gets", metavar="N", type=int, default=1_000_000, help="with cps: distinct numbers asked"
    )
    parser.add_argument(
        "--minutes", metavar="N", type=float, default=30, help="with soak: how long (default: 30)"
    )
    arguments = parser.parse_args()
    # a SystemExit, so that it leaves nothing running either
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        report, text = _measured(arguments)
    except (LabError, OSError, ValueError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    print(text)
    if arguments.json is not None:
        arguments.json.write_bytes(report.as_json())
    return 0


class _Report(Protocol):
    def as_json(self) -> bytes: ...


def _measured(arguments: argparse.Namespace) -> tuple[_Report, str]:
    """Give what was measured, and the table of it."""
    match arguments.name:
        case "calls":
            of_sip = calls.measure(_say)
            return of_sip, calls.render(of_sip)
        case "cps":
            of_cps = cps.measure(arguments.gets, _say)
            return of_cps, cps_report.render(of_cps)
        case "cycles":
            of_cycles = cycles.measure(_say)
            return of_cycles, cycles_report.render(of_cycles)
        case "freeswitch":
            of_hooks = freeswitch.measure(arguments.calls, _say)
            return of_hooks, freeswitch.render(of_hooks)
        case "growth":
            grown = growth.measure(_say)
            return grown, growth.render(grown)
        case "mixed":
            of_mixed = mixed.measure(arguments.mixed, _say)
            return of_mixed, mixed_report.render(of_mixed)
        case "soak":
            of_soak = soak.measure(arguments.minutes, _say)
            return of_soak, soak_report.render(of_soak)
        case "verify":
            of_tokens = verify.measure(arguments.calls, _say)
            return of_tokens, verify.render(of_tokens)
    of_calls = services.measure(arguments.calls, say=_say)
    return of_calls, render(of_calls)


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
