"""The composition root of ``pbx-stir run``: wires the rooms together, and nothing else.

``build`` makes all parts from a configuration, those that have not changed being kept from the
daemon before; ``running`` begins and ends them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pbx_stir import (
    configured,
    configured_board,
    configured_call_log,
    configured_callers,
    configured_metrics,
    configured_pbxs,
)
from pbx_stir.call_log import CallLogFile
from pbx_stir.config import Loaded, with_files
from pbx_stir.errors import ConfigurationError, UsageError
from pbx_stir.metrics.service import ServiceMetrics, Watched
from pbx_stir.parts import Part, Parts
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.freeswitch import FreeSwitchPbx
from pbx_stir.reach import Reach, made_reach
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.brought import BroughtCalls
from pbx_stir.services.known_since import KnownSince
from pbx_stir.services.outside import Outside
from pbx_stir.services.placement import Already
from pbx_stir.services.reception import Clocks, Reception
from pbx_stir.services.used import SingleUse
from pbx_stir.services.verification import VerificationService
from pbx_stir.used_database import UsedDatabase

DRAIN_SECONDS = 10.0
# how long after a reload has begun a call in hand may still use what is remembered elsewhere
UNSURE_SECONDS = DRAIN_SECONDS + 5.0
Pbx = AsteriskPbx | FreeSwitchPbx
Line = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A configuration, and all that was made of it; ``reception`` is whom the PBXs' calls go to."""

    loaded: Loaded
    parts: Parts
    reception: Reception
    pbxs: tuple[Pbx, ...]
    last_reload: LastReload


@dataclass(slots=True)
class LastReload:
    """What became of the last one; metrics watch it.

    ``leaving`` are listeners that others replace, as long as those are not logged in.
    """

    is_refused: bool = False
    leaving: set[Pbx] = field(default_factory=set)


class _Readers:
    """Who is told of each line of the call log; others may take their place."""

    def __init__(self) -> None:
        self.each: tuple[Callable[[Line], None], ...] = ()

    def __call__(self, line: Line) -> None:
        for told in self.each:
            told(line)


def build(loaded: Loaded, before: Daemon | None = None) -> Daemon:
    """Make all parts, or keep those of ``before``; to be called in the event loop they run in.

    Nothing is begun, and ``before`` goes on, until ``parts.switch`` is called.

    Raises:
        ConfigurationError: naming file, key and remedy
    """
    parts = Parts(None if before is None else before.parts)
    try:
        return _assemble(loaded, parts, before)
    except BaseException as error:
        # what was made is closed, in a task: this is no coroutine
        parts.abandon()
        if isinstance(error, UsageError):
            what = f"{loaded.path}: verification: {error.message}"
            raise ConfigurationError(what, hint=error.hint) from error
        raise
    finally:
        loaded.made.clear()


def _assemble(loaded: Loaded, parts: Parts, before: Daemon | None) -> Daemon:
    told: list[Callable[[Line], None]] = []
    used = _single_use(loaded, parts, before)
    call_log = _call_log(loaded, parts, told)
    reach = _reach(loaded, parts)
    brought = parts.keep("calls that came in", None, lambda _: BroughtCalls())
    outside = parts.keep("endpoints that calls came in from", None, lambda _: Outside())
    callers = loaded.once(configured_callers.callers)
    monotonic = time.monotonic
    verification = VerificationService(
        callers=callers,
        own_cps=reach.resolver,
        placement=reach.both,
        opener=reach.keyring,
        judge=reach.judge,
        used=used,
        monotonic=monotonic,
        breathe=lambda: asyncio.sleep(0),
        brought=brought,
    )
    authentication = AuthenticationService(
        callers=callers,
        credentials=reach.credentials,
        directory=reach.resolver,
        placement=reach.clients.stores,
        never=loaded.once(configured.never_signed),
        new_uuid=lambda: str(uuid.uuid4()),
        bare=reach.bare,
        brought=brought,
        already=Already(reach.resolver, reach.both, reach.keyring, monotonic),
        outside=outside,
    )
    reception = Reception(
        authentication=authentication,
        verification=verification,
        used=used,
        call_log=call_log,
        clocks=Clocks(time.time, monotonic, asyncio.timeout_at, lambda: secrets.token_hex(8)),
        brought=brought,
        outside=outside,
        after=None if before is None else before.reception,
    )
    last = parts.keep("last reload", None, lambda _: LastReload())
    daemon = Daemon(loaded, parts, reception, _pbxs(loaded, parts, reception), last)
    _metrics(daemon, reach, used, call_log, told)
    _board(loaded, parts, told)
    return daemon


def _board(loaded: Loaded, parts: Parts, told: list[Callable[[Line], None]]) -> None:
    """Show calls on a web page, where one is wanted; it keeps them through a new configuration."""
    section, settings = loaded.values.board, configured_board.settings(loaded)
    if settings is None:
        return
    # a service without a page need not load a server
    from pbx_stir.board.feed import Feed
    from pbx_stir.board.server import serving
    from pbx_stir.listening import Listener

    feed = parts.keep("calls of the board", section.calls, lambda _: Feed(section.calls))
    told.append(feed.put)

    def bind(part: Part) -> Listener:
        listener = Listener(settings.host, settings.port, "the board")
        part.closes.append(listener.close)
        return listener

    # by itself, since a board with a new token begins before the one it replaces ends
    listener = parts.keep("socket of the board", section.listen, bind)

    # who has logged out stays out
    ended: dict[str, float] = parts.keep("ended sessions of the board", None, lambda _: {})

    def serve(part: Part) -> None:
        part.hold(serving(settings, feed, listener, ended))

    parts.keep("board", with_files(loaded, section), serve)


def _metrics(
    daemon: Daemon,
    reach: Reach,
    used: KnownSince,
    call_log: CallLogFile,
    told: list[Callable[[Line], None]],
) -> None:
    """Give metrics, where somebody wants any; what was counted outlives a new configuration."""
    loaded, parts = daemon.loaded, daemon.parts
    where = configured_metrics.listen(loaded)
    if where is None:
        return
    # a service without metrics need not load a server
    from pbx_stir.metrics.exposing import serving

    metrics = parts.keep("metrics", None, lambda _: ServiceMetrics())
    told.append(metrics.calls.told)
    watched = Watched(
        trunks=configured_metrics.trunks(loaded),
        pbxs=daemon.pbxs,
        leaving=daemon.last_reload.leaving,
        cps=configured_metrics.cps(loaded),
        guards=reach.guards,
        credentials=configured_metrics.certificates(loaded, reach.credentials),
        anchors=reach.anchors.current,
        tokens=configured_metrics.tokens(loaded, reach.clients.supply),
        feeds=reach.feeds,
        under_way=lambda: daemon.reception.under_way,
        lines_lost=lambda: call_log.lines_lost,
        refused=lambda: daemon.last_reload.is_refused,
        redis_up=configured_metrics.redis_up(loaded, used.memory),
    )
    parts.at_switch.append(lambda: metrics.watch(watched))
    parts.keep(
        "metrics' address",
        loaded.values.metrics,
        lambda part: part.hold(serving(*where, metrics)),
    )


def _pbxs(loaded: Loaded, parts: Parts, reception: Reception) -> tuple[Pbx, ...]:
    """A listener at each PBX; one whose settings are as before keeps its connection."""
    found: list[Pbx] = []
    values = loaded.values
    asterisks = zip(configured_pbxs.asterisks(loaded), values.asterisk, strict=True)
    for settings, section in asterisks:
        found.append(_kept(loaded, parts, AsteriskPbx(settings, reception), section))
    freeswitches = zip(configured_pbxs.freeswitches(loaded), values.freeswitch, strict=True)
    for at, of_it in freeswitches:
        found.append(_kept(loaded, parts, FreeSwitchPbx(at, reception), of_it))
    return tuple(found)


def _kept(loaded: Loaded, parts: Parts, pbx: Pbx, section: object) -> Pbx:
    def make(part: Part) -> Pbx:
        part.is_vital = True
        part.tasks.append(pbx.run)
        part.stops.append(lambda: pbx.stop(DRAIN_SECONDS))
        return pbx

    return parts.keep(f"PBX {pbx.name}", with_files(loaded, section), make)


def _call_log(loaded: Loaded, parts: Parts, told: list[Callable[[Line], None]]) -> CallLogFile:
    """Where calls are logged; ``told`` hear of each line, from the switch on."""
    readers = parts.keep("readers of the call log", None, lambda _: _Readers())
    parts.at_switch.append(lambda: setattr(readers, "each", tuple(told)))
    section = loaded.values.call_log

    def make(part: Part) -> CallLogFile:
        call_log = configured_call_log.call_log(loaded, told=(readers,))
        part.closes.append(call_log.close)
        return call_log

    return parts.keep("call log", with_files(loaded, section), make)


def _reach(loaded: Loaded, parts: Parts) -> Reach:
    """All of it is made anew where any of these sections, or a file that it names, has changed."""
    values = loaded.values
    made_of = with_files(
        loaded,
        values.state_dir,
        values.credential,
        values.verification,
        values.route,
        values.advertisement,
        values.enum,
        values.publish,
        values.cover,
        values.outgoing,
        values.wallet,
    )
    return parts.keep("CPSs, keys and trust", made_of, lambda part: made_reach(loaded, part))


def _single_use(loaded: Loaded, parts: Parts, before: Daemon | None) -> KnownSince:
    """What knows which PASSporTs were used: a file of this machine, or Redis for several."""
    section, values = loaded.values.verification, loaded.values
    redis = section.redis or values.cps.redis
    is_file = section.single_use == "file"
    place = configured.state_dir(loaded).resolve() if is_file else redis and redis.url
    # another place knows nothing of the uses that are remembered at the one before
    since = 0.0 if before is None else time.time() + UNSURE_SECONDS
    since = parts.keep("place of used PASSporTs", place, lambda _: since)
    make = _used_file if is_file else _used_redis
    return parts.keep(
        "single use",
        (place, with_files(loaded, None if is_file else redis)),
        lambda part: KnownSince(make(loaded, part), since),
    )


def _used_file(loaded: Loaded, part: Part) -> SingleUse:
    used = UsedDatabase(configured.state_dir(loaded) / "used.sqlite")
    part.closes.append(used.close)
    return used


def _used_redis(loaded: Loaded, part: Part) -> SingleUse:
    where = configured.used_redis(loaded)
    # they need an extra, which is there now
    from pbx_stir.redis_backend.connection import Connection
    from pbx_stir.redis_backend.used import RedisUsed

    connection = Connection(where)
    part.closes.append(connection.close)
    used_on_redis = RedisUsed(connection)
    part.tasks.append(used_on_redis.run)
    return used_on_redis
