"""Runs a daemon until it is told to stop, and gives it a new configuration while it goes on.

SIGHUP: all parts are made from the file as it is now, those that have not changed are kept, and the
PBXs' calls go to the new ones from one moment on; calls in hand finish where they are. A
configuration with a mistake changes nothing, and each mistake in it is said.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from pbx_stir import config, daemon
from pbx_stir.config import Loaded
from pbx_stir.configured_mistakes import check
from pbx_stir.daemon import Daemon
from pbx_stir.errors import ConfigurationError
from pbx_stir.log_levels import LogLevels
from pbx_stir.parts import Part
from pbx_stir.reloading import read_again
from pbx_stir.service_manager import ServiceManager

log = logging.getLogger(__name__)

# no dialplan holds a call for longer
LONGEST_HOLD_SECONDS = 10.0
# how long a new connection to a PBX may take before the one that it replaces is closed
REPLACED_SECONDS = 5.0
# a heartbeat goes out each second, and every wait on its way is shorter than this
SILENT_SECONDS = 30.0


class Service:
    """A daemon that runs; ``daemon`` is the one in force."""

    def __init__(self, loaded: Loaded) -> None:
        """Make all parts; to be called in the event loop. Raises ConfigurationError."""
        self.daemon = daemon.build(loaded)
        self._retiring: set[asyncio.Task[None]] = set()
        self._is_refused = False
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
        try:
            loaded = config.load(before.loaded.path)
            check(loaded)
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
            self._is_refused = True
            return False
        self._is_refused = False
        kept = [one for one in new.parts if one not in new.parts.new]
        self._switch(before, new)
        await read_again(self._rereads(kept), "anchors, keys and revocation lists")
        return True

    async def stop(self) -> None:
        """Finish the calls in hand, then end all parts."""
        async with self._changing:
            self._is_ending = True
        # each PBX first learns that nobody listens, then what is held is answered
        await asyncio.gather(*(part.stop() for part in self.daemon.parts))
        await asyncio.gather(*self._retiring)
        for part in reversed([*self.daemon.parts]):
            await part.close()

    def status(self) -> str:
        """How it is, in a line for people."""
        pbxs = self.daemon.pbxs
        away = [pbx.name for pbx in pbxs if not pbx.connected.is_set()]
        said = f"serving {len(pbxs)} PBX{'' if len(pbxs) == 1 else 's'}"
        if away:
            said += f"; not logged in at {', '.join(away)}"
        if held := sum(len(pbx.in_hand) for pbx in pbxs):
            said += f"; {held} call{'' if held == 1 else 's'} in hand"
        if self._is_refused:
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
        in_hand = {task for pbx in before.pbxs for task in pbx.in_hand}
        new.parts.switch()
        for pbx in {*before.pbxs, *new.pbxs}:
            pbx.serve_by(new.reception)
        self.daemon = new
        gone = new.parts.gone
        said = ", ".join(one.name for one in new.parts.new) or "nothing"
        ended = [one.name for one in gone if one.name not in new.parts.by_name]
        said += f"; ended: {', '.join(ended)}" if ended else ""
        log.info("configuration read again: made anew: %s", said)
        retiring = asyncio.create_task(self._retire(gone, in_hand, new))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _retire(
        self, gone: list[Part], in_hand: set[asyncio.Task[None]], new: Daemon
    ) -> None:
        """End parts that were replaced, once nothing uses them any more."""
        await asyncio.gather(*(self._replaced(part, new) for part in gone))
        if in_hand:
            await asyncio.wait(in_hand, timeout=LONGEST_HOLD_SECONDS)
        for part in gone:
            await part.close()

    async def _replaced(self, part: Part, new: Daemon) -> None:
        """Have a PBX's new listener take over before its old one falls silent."""
        place = next((pbx for pbx in new.pbxs if f"PBX {pbx.name}" == part.name), None)
        if place is not None:
            try:
                async with asyncio.timeout(REPLACED_SECONDS):
                    await place.connected.wait()
            except TimeoutError:
                log.warning("%s: not logged in with the new settings", place.name)
        await part.stop()


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
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    loop.add_signal_handler(signal.SIGUSR1, levels.toggle)
    async with running(loaded) as service:
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
