"""``pbx-stir check``: everything an administrator gets wrong, as findings with stable codes.

Exit status 0 where there is nothing to do (notes may be there), 1 where something was found, 2 for
wrong use.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from pbx_stir.cli.run import DEFAULT_CONFIG


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
    from pbx_stir.checks.examination import examine
    from pbx_stir.checks.report import as_json, as_text

    # what our parts log of what they meet is said by findings
    logging.getLogger().addHandler(logging.NullHandler())
    examination = examine(Path(args.config), offline=args.offline)
    print(as_json(examination) if args.json else as_text(examination))
    status = 0 if examination.healthy else 1
    if examination.hangs:
        sys.stdout.flush()
        leave(status)
    return status


def leave(status: int) -> None:
    """End the process at once: a thread that hangs in the system would hold its end up."""
    os._exit(status)
