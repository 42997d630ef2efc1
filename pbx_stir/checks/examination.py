"""Everything that is looked at for one configuration file, and what was found, in bounded time.

Takes the file's path, gives an ``Examination``. It never raises and never hangs: what hangs is left
behind in a thread, and is a finding.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pbx_stir import config
from pbx_stir.checks import plan
from pbx_stir.checks.finding import Finding, Severity, error
from pbx_stir.checks.places import findings_of
from pbx_stir.checks.running import Looked, carry_out, cut_off, found_by
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError

FILES_SECONDS: Final = 4.0
CONNECTIONS_SECONDS: Final = 13.0
OVERALL_SECONDS: Final = 18.0
# what is left to close when all has been looked at
_CLOSING_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it. ``about`` names what was looked at, findings come with the worst first.

    ``hangs``: a thread of ours is stuck in the system, and would hold the process's end up.
    """

    path: Path
    about: tuple[str, ...]
    findings: tuple[Finding, ...]
    hangs: bool = False

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do: notes may be there."""
        return all(one.severity is Severity.NOTE for one in self.findings)

    def count(self, severity: Severity) -> int:
        """How many findings are of one severity."""
        return sum(one.severity is severity for one in self.findings)


@dataclass(slots=True)
class _Progress:
    """What a thread has come to, to be looked at while it works or hangs."""

    first: list[Finding] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def examine(path: Path, *, offline: bool, seconds: float = OVERALL_SECONDS) -> Examination:
    """Look at ``path`` and, unless ``offline``, at what it names on the network."""
    progress = _Progress()
    thread = threading.Thread(target=_work, args=(path, offline, progress), daemon=True)
    thread.start()
    if progress.ended.wait(seconds):
        thread.join(_CLOSING_SECONDS)
    first, looked = list(progress.first), list(progress.looked)
    if not progress.ended.is_set():
        first += [cut_off(one.check) for one in looked if not one.done]
        if not looked:
            what = "reading the configuration comes to no end"
            first.append(error("check-timeout", what, str(path), "is it a plain file?"))
    findings = sorted((*first, *found_by(looked)), key=lambda one: _ORDER[one.severity])
    about = tuple(one.check.about for one in looked)
    return Examination(path, about, tuple(findings), hangs=thread.is_alive())


_ORDER: Final = {one: order for order, one in enumerate(Severity)}


def _work(path: Path, offline: bool, progress: _Progress) -> None:
    """Look at everything; a fault of ours is a finding too, whatever it is."""
    try:
        loaded = config.load(path)
        asyncio.run(_examine(loaded, offline, progress))
    except ConfigurationError as wrong:
        code = "config-missing" if wrong.message.startswith("cannot read") else "config-wrong"
        progress.first += findings_of(code, path, wrong)
    except Exception as wrong:
        progress.first.append(_broken(path, wrong))
    finally:
        progress.ended.set()


def _broken(path: Path, wrong: Exception) -> Finding:
    what = f"the checks failed: {type(wrong).__name__}: {wrong}"[:500]
    return error("check-broken", what, str(path), "please report this")


async def _examine(loaded: Loaded, offline: bool, progress: _Progress) -> None:
    files = [Looked(one) for one in plan.files(loaded, time.time())]
    progress.looked += files
    await carry_out(files, FILES_SECONDS)
    if not offline:
        connections = [Looked(one) for one in plan.connections(loaded)]
        progress.looked += connections
        await carry_out(connections, CONNECTIONS_SECONDS)
    # not only when the loop is closed: that waits for threads
    progress.ended.set()
