"""What a running ``pbx-stir cps`` does on SIGHUP and SIGUSR1, and what its manager is told.

SIGHUP reads certificates, anchors and revocation lists again, and the log level; what else has
changed in the configuration is named, since it needs a restart. A configuration with a mistake
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pbx_stir.cli.cps_files import revocation
from pbx_stir.errors import ConfigurationError, Mistakes, UsageError
from pbx_stir.listen_address import parse_listen

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterator, Sequence

    from pbx_stir.config import Loaded
    from pbx_stir.log_levels import LogLevels

_READ_AGAIN: Final = "certificates, anchors and revocation lists"
_log = logging.getLogger(__name__)


class Told(Protocol):
    """Who is told how the CPS is: the service manager, or the process that started this worker."""

    def ready(self, status: str) -> None:
        """It listens, or has read its files again."""
        ...

    def reloading(self) -> None:
        """It reads its files again."""
        ...


class CpsFile:
    """The configuration file of a CPS, None where there is none, as it was when it started."""

    def __init__(self, file: str | None) -> None:
        """Read and check it. Raises ConfigurationError with every mistake."""
        self._path = None if file is None else Path(file)
        self._first = self._load()

    @property
    def log_level(self) -> str:
        """How much is logged; without a file what deserves attention."""
        return "warning" if self._first is None else self._first.values.log_level

    def again(self, levels: LogLevels) -> list[str]:
        """Read it again, and apply its log level; the keys whose changes need a restart.

        Raises ConfigurationError with every mistake: then nothing has changed.
        """
        loaded = self._load()
        if loaded is None or self._first is None:
            return []
        levels.configure(loaded.values.log_level)
        return list(_changed(self._first, loaded))

    def _load(self) -> Loaded | None:
        if self._path is None:
            return None
        from pbx_stir import config

        loaded = config.load(self._path)
        check_cps(loaded)
        return loaded


def check_cps(loaded: Loaded) -> None:
    """Return if a CPS can be made of it. Raises ConfigurationError, with every mistake."""
    from pbx_stir import configured, configured_metrics

    section, mistakes = loaded.values.cps, Mistakes()
    for key, listen in {"listen": section.listen, "bare.listen": section.bare.listen}.items():
        with mistakes.gathered():
            _check_listen(loaded, f"cps.{key}", listen)
    with mistakes.gathered():
        configured_metrics.listen_of_cps(loaded)
    with mistakes.gathered():
        anchors = configured.anchors(loaded, "cps.trust", section.trust)
        revocation(loaded, anchors)
    if section.redis is not None:
        with mistakes.gathered():
            configured.redis(loaded, "cps.redis", section.redis)
    mistakes.settle()


def _check_listen(loaded: Loaded, key: str, listen: str | None) -> None:
    try:
        if listen:
            parse_listen(listen)
    except UsageError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def _changed(before: Loaded, after: Loaded) -> Iterator[str]:
    """The keys that a CPS has read once, at its start, and that say something else now."""
    from pbx_stir.config import with_files

    old, new = before.values.cps, after.values.cps
    for name in old.__struct_fields__:
        # what is in certificates, keys and anchors is read again, and may change
        was, now = getattr(old, name), getattr(new, name)
        if name == "redis":
            was, now = with_files(before, was), with_files(after, now)
        if was != now:
            yield f"cps.{name}"
    if before.values.state_dir != after.values.state_dir:
        yield "state_dir"
    for name in ("spc", "spc_table", "revocation"):
        if getattr(before.values.verification, name) != getattr(after.values.verification, name):
            yield f"verification.{name}"


def obey(
    running: contextlib.AsyncExitStack,
    file: CpsFile,
    reloads: Sequence[Callable[[], object]],
    levels: LogLevels,
    told: Told,
    status: str,
) -> None:
    """Obey SIGHUP and SIGUSR1, as long as ``running`` lasts; ``status`` is told when it is done."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    loop.add_signal_handler(signal.SIGUSR1, levels.toggle)

    async def obeying() -> None:
        while True:
            await asked.wait()
            asked.clear()
            told.reloading()
            try:
                told.ready(status + await _again(file, reloads, levels))
            except Exception:
                _log.exception("the files could not be read again")
                told.ready(f"{status}; the files could not be read again, see the log")

    task = loop.create_task(obeying())
    running.callback(task.cancel)


async def _again(file: CpsFile, reloads: Sequence[Callable[[], object]], levels: LogLevels) -> str:
    """Read all again; what is to be added to the status."""
    from pbx_stir.reloading import read_again

    # who sends a signal waits for a word; the log's level may hide one
    say = partial(print, file=sys.stderr, flush=True)
    added = ""
    try:
        changed = file.again(levels)
        if changed:
            added = f"; restart it to take up {', '.join(changed)}"
            say(f"changed, and taken up only by a restart: {', '.join(changed)}")
    except ConfigurationError as error:
        for mistake in error.each:
            _log.error("%s", mistake)
        say("configuration refused: what it said before stays in force")
        added = "; the configuration file has mistakes, see the log"
    # files are renewed by others, at their own times
    await read_again(reloads, _READ_AGAIN, say)
    return added
