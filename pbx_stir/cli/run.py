"""``pbx-stir run``: serves the PBXs of a configuration file until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
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
    for number in (signal.SIGHUP, signal.SIGUSR1):
        # until they can be obeyed: SIGHUP means to read again what is just being read
        signal.signal(number, signal.SIG_IGN)
    from pbx_stir import config, configured_mistakes, running
    from pbx_stir.log_levels import LogLevels
    from pbx_stir.service_manager import ServiceManager

    loaded = config.load(Path(args.config))
    configured_mistakes.check(loaded)
    levels = LogLevels(loaded.values.log_level)
    with contextlib.closing(ServiceManager.of(os.environ)) as manager:
        _new_loop(running.serve(loaded, levels, manager))
    return 0


def _new_loop(work: object) -> None:
    """uvloop where it is installed: the same, at less than half the cost a message."""
    assert asyncio.iscoroutine(work)
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.run(work)
        return
    asyncio.run(work)
