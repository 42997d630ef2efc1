"""``pbx-stir check``: everything an administrator gets wrong, as findings with stable codes.

Exit status 0 where no finding is an error, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from pbx_stir.checks.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--config", default=DEFAULT_CONFIG, metavar="FILE", help=f"else {DEFAULT_CONFIG}"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for monitoring")
    parser.add_argument(
        "--offline", action="store_true", help="look at files only, connect to nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Check and print; whatever is wrong is a finding, the configuration file itself too."""
    from pbx_stir.checks.finding import Severity

    found = asyncio.run(_check(Path(args.config), offline=args.offline))
    healthy = all(one.severity is not Severity.ERROR for one in found)
    if args.json:
        print(json.dumps({"healthy": healthy, "findings": [_as_json(one) for one in found]}))
    else:
        _print(found, healthy)
    return 0 if healthy else 1


async def _check(path: Path, *, offline: bool) -> list[Finding]:
    from pbx_stir import config
    from pbx_stir.checks.connections import check_connections
    from pbx_stir.checks.files import check_files
    from pbx_stir.checks.finding import error
    from pbx_stir.errors import ConfigurationError

    try:
        loaded = config.load(path)
    except ConfigurationError as wrong:
        return [error("configuration", one.message, str(path), one.hint) for one in wrong.each]
    found: list[Finding] = []
    try:
        found += check_files(loaded, time.time())
        if not offline:
            async for one in check_connections(loaded):
                # one by one: what was found before a failure stays
                found.append(one)
    except Exception as wrong:
        # monitoring reads one object, whatever is wrong: here, with us
        what = f"{type(wrong).__name__}: {wrong}"
        hint = "please report this"
        found.append(error("check-broken", f"a check failed itself: {what}", str(path), hint))
    return found


def _as_json(one: Finding) -> dict[str, str]:
    return {
        "code": one.code,
        "severity": one.severity.value,
        "what": one.what,
        "where": one.where,
        "hint": one.hint,
    }


def _print(found: list[Finding], healthy: bool) -> None:
    for one in found:
        print(f"{one.severity.value:8} {one.code}: {one.what}")
        if one.where:
            print(f"         {one.where}")
        if one.hint:
            print(f"         -> {one.hint}")
    print("healthy" if healthy else "calls suffer from what is wrong here")
