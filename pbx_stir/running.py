"""Runs a daemon until it is told to stop, and gives it a new configuration while it goes on.

SIGHUP: all parts are made from the file as it is now, those that have not changed are kept, and the
PBXs' calls go to the new ones from one moment on; calls in hand finish where they are. A
configuration with a mistake changes nothing, and each mistake in it is said. A connection to a PBX
ends only when the one that takes its place is logged in.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from pbx_stir import config, daemon, loop_errors
from pbx_stir.config import Loaded
from pbx_stir.configured_mistakes import check
from pbx_stir.daemon import Daemon, Pbx
from pbx_stir.errors import ConfigurationError
from pbx_stir.log_levels import LogLevels
from pbx_stir.parts import Part
from pbx_stir.reloading import read_again
from pbx_stir.service_manager import ServiceManager

log = logging.getLogger(__name__)

# no dialplan holds a call for longer
LONGEST_HOLD_SECONDS = 10.0
# after which it is said that a new connection to a PBX does not come about
REPLACED_SECONDS = 5.0
# how long a thread may compute before the event loop has its turn, where both have something to do
TURN_SECONDS = 0.0005
# a heartbeat goes out each second, and every wait on its way is shorter than this
SILENT_SECONDS = 30.0


class Service:
    """A daemon that runs; ``daemon`` is the one in force."""

    def __init__(self, loaded: Loaded) -> None:
        """Make all parts; to be called in the event loop. Raises ConfigurationError."""
        self.daemon = daemon.build(loaded)
        self._retiring: set[asyncio.Task[None]] = set()
        self._switched = asyncio.Event()
        self._is_ending = False
        # who changes the parts: a reload, or the end
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Begin all. Raises ConfigurationError where something cannot be listened on."""
        try:
            await self.daemon.parts.begin()
        except BaseException:
            await self.daemon.parts.discard()
            raise
        self.daemon.parts.switch()
        log.info("serving %d PBXs", len(self.daemon.pbxs))

    async def reload(self) -> bool:
        """Take up the configuration file as it is now; False where it is refused."""
        async with self._changing:
            return not self._is_ending and await self._reload()

    async def _reload(self) -> bool:
        before = self.daemon
        last = before.last_reload
        try:
            with _short_turns():
                loaded = await asyncio.to_thread(_read, before.loaded.path)
            new = daemon.build(loaded, before)
            try:
                await new.parts.begin()
            except BaseException:
                await new.parts.discard()
                raise
        except ConfigurationError as error:
            for mistake in error.each:
                log.error("%s", mistake)
            # files that are not the configuration's own are renewed by others, at their own times
            await read_again(self._rereads(before.parts), "anchors, keys and revocation lists")
            log.error("configuration refused: the one before stays in force")
            last.is_refused = True
            return False
        except Exception:
            last.is_refused = True
            raise
        last.is_refused = False
        kept = [one for one in new.parts if one not in new.parts.new]
        self._switch(before, new)
        await read_again(self._rereads(kept), "anchors, keys and revocation lists")
        return True

    async def stop(self) -> None:
        """Finish the calls in hand, then end all parts."""
        async with self._changing:
            self._is_ending = True
        self._switched.set()
        # each PBX first learns that nobody listens, then what is held is answered
        await asyncio.gather(*(part.stop() for part in self.daemon.parts))
        await asyncio.gather(*self._retiring)
        for part in reversed([*self.daemon.parts]):
            await part.close()

    def status(self) -> str:
        """How it is, in a line for people."""
        pbxs, leaving = self.daemon.pbxs, self.daemon.last_reload.leaving
        away = [pbx.name for pbx in pbxs if not pbx.connected.is_set()]
        before = {pbx.name for pbx in leaving if pbx.connected.is_set()}
        said = f"serving {len(pbxs)} PBX{'' if len(pbxs) == 1 else 's'}"
        if unserved := [name for name in away if name not in before]:
            said += f"; not logged in at {', '.join(unserved)}"
        if by_the_old := [name for name in away if name in before]:
            names = ", ".join(by_the_old)
            said += f"; not logged in with the new settings at {names}: the old connection serves"
        if held := sum(len(pbx.in_hand) for pbx in {*pbxs, *leaving}):
            said += f"; {held} call{'' if held == 1 else 's'} in hand"
        if self.daemon.last_reload.is_refused:
            said += "; the configuration file has mistakes, see the log: the one before is in force"
        return said

    def is_alive(self) -> bool:
        """Whether every listener works: runs, and where it is connected has beaten of late."""
        if self._is_ending:
            # what is left of its work has an end
            return True
        ages = [pbx.heartbeat_age() for pbx in self.daemon.pbxs]
        is_heard = all(age is None or age < SILENT_SECONDS for age in ages)
        return is_heard and all(part.is_alive for part in self.daemon.parts)

    def _rereads(self, parts: Iterable[Part]) -> list[Callable[[], object]]:
        return [again for part in parts for again in part.reloads]

    def _switch(self, before: Daemon, new: Daemon) -> None:
        """From here on calls go to the new parts. Nothing is awaited: no call comes between."""
        serving = {*before.pbxs, *before.last_reload.leaving}
        in_hand = {task for pbx in serving for task in pbx.in_hand}
        new.parts.switch()
        for pbx in {*serving, *new.pbxs}:
            pbx.serve_by(new.reception)
        self.daemon = new
        gone = new.parts.gone
        said = ", ".join(one.name for one in new.parts.new) or "nothing"
        ended = [one.name for one in gone if one.name not in new.parts.by_name]
        said += f"; ended: {', '.join(ended)}" if ended else ""
        log.info("configuration read again: made anew: %s", said)
        # those that wait for one that is now replaced itself have another to wait for
        self._switched.set()
        self._switched = asyncio.Event()
        listeners = {f"PBX {pbx.name}": pbx for pbx in before.pbxs}
        for part in gone:
            if part.name in listeners:
                self._retire(self._hand_over(part, listeners[part.name]))
        self._retire(_end([part for part in gone if part.name not in listeners], in_hand))

    def _retire(self, work: Coroutine[None, None, None]) -> None:
        retiring = asyncio.create_task(work)
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _hand_over(self, part: Part, old: Pbx) -> None:
        """End a PBX's old listener once another is logged in there, or its own login is over."""
        leaving = self.daemon.last_reload.leaving
        leaving.add(old)
        waits: float | None = REPLACED_SECONDS
        while not self._is_ending and not old.away.is_set():
            switched = self._switched
            heir = next((pbx for pbx in self.daemon.pbxs if pbx.name == old.name), None)
            if heir is None or heir.connected.is_set():
                break
            if not await _any_of((heir.connected, old.away, switched), waits):
                waits = None
                said = "%s: not logged in with the new settings: the old connection goes on"
                log.warning(said, old.name)
        await part.stop()
        leaving.discard(old)
        await part.close()


async def _end(gone: list[Part], in_hand: set[asyncio.Task[None]]) -> None:
    """End parts that were replaced, once nothing uses them any more."""
    await asyncio.gather(*(part.stop() for part in gone))
    if in_hand:
        await asyncio.wait(in_hand, timeout=LONGEST_HOLD_SECONDS)
    for part in gone:
        await part.close()


async def _any_of(events: Iterable[asyncio.Event], seconds: float | None) -> bool:
    """Wait until one of them is set; False where none is within ``seconds``."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return bool(done)


def _read(path: Path) -> Loaded:
    """A configuration that a service can be made of; in a thread, since a long one takes seconds.

    Raises ConfigurationError.
    """
    loaded = config.load(path)
    check(loaded)
    return loaded


@contextmanager
def _short_turns() -> Iterator[None]:
    """Have the event loop wait for a thread that computes no longer than ``TURN_SECONDS``."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@asynccontextmanager
async def running(loaded: Loaded) -> AsyncIterator[Service]:
    """A service as long as the context lasts. Raises ConfigurationError before it begins."""
    service = Service(loaded)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def serve(loaded: Loaded, levels: LogLevels, manager: ServiceManager) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again, SIGUSR1 turns debug on.

    Raises:
        ConfigurationError: before anything is started
    """
    stop, asked = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_errors.handle)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    loop.add_signal_handler(signal.SIGUSR1, levels.toggle)
    async with running(loaded) as service:
        # modules and the like need not be gone through for what is garbage, calls waiting, again
        gc.collect()
        gc.freeze()
        manager.ready(service.status())
        attending = asyncio.create_task(manager.attend(service.status, service.is_alive))
        reloading = asyncio.create_task(_reloading(service, asked, levels, manager))
        await stop.wait()
        log.info("stopping: finishing the calls in hand")
        manager.stopping("finishing the calls in hand")
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)
    # while calls are finished, the watchdog still wants a word
    attending.cancel()
    await asyncio.gather(attending, return_exceptions=True)
    log.info("stopped")


async def _reloading(
    service: Service, asked: asyncio.Event, levels: LogLevels, manager: ServiceManager
) -> None:
    """Take up the configuration whenever it is asked for; for ever, whatever becomes of it."""
    while True:
        await asked.wait()
        asked.clear()
        manager.reloading()
        try:
            # not to be cut in two by the end of the service
            if await asyncio.shield(service.reload()):
                levels.configure(service.daemon.loaded.values.log_level)
        except Exception:
            log.exception("the configuration could not be read again")
        manager.ready(service.status())
