"""``pbx-stir run``: serves the PBXs of a configuration file until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

DEFAULT_CONFIG = "/etc/pbx-stir/pbx-stir.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--config", default=DEFAULT_CONFIG, metavar="FILE", help=f"else {DEFAULT_CONFIG}"
    )


def run(args: argparse.Namespace) -> int:
    """Serve; SIGTERM finishes the calls in hand. Raises ConfigurationError."""
    # until it can be obeyed: it means to read again what is just being read
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from pbx_stir import config, daemon

    loaded = config.load(Path(args.config))
    logging.basicConfig(
        level=loaded.values.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    _new_loop(daemon.serve(loaded))
    return 0


def _new_loop(work: object) -> None:
    """uvloop where it is installed: the same, at less than half the cost a message."""
    assert asyncio.iscoroutine(work)
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(work)
        return
    asyncio.run(work)
