"""The composition root of ``pbx-stir run``: wires the rooms together, and nothing else.

``build`` makes all parts from a configuration, ``serve`` runs them until it is told to stop: then
the PBXs are told that nobody listens any more, the calls in hand are finished, and all is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pbx_stir import configured, configured_callers, configured_pbxs, configured_retrieval
from pbx_stir.call_log import CallLogFile
from pbx_stir.certificates.allowed import fetching
from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.certificates.revocation import RevocationWatch
from pbx_stir.clients import Clients, clients_of, subscribing_exchange
from pbx_stir.config import Loaded
from pbx_stir.cps.bare_client import BareClient, BarePlacements, BothKinds
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.cover import Cover
from pbx_stir.cps.feeds import Feeds, sealed_to_us
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.streams import EventStreams
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.directory.publisher import Publication, Publisher
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Routes
from pbx_stir.errors import ConfigurationError, UsageError
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.pbx.freeswitch import FreeSwitchPbx
from pbx_stir.reloading import reloading
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.brought import BroughtCalls
from pbx_stir.services.judgement import Judge, VerificationPolicy
from pbx_stir.services.placement import Already
from pbx_stir.services.reception import Clocks, Reception
from pbx_stir.services.used import SingleUse
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.used_database import UsedDatabase

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0


@dataclass(slots=True)
class Daemon:
    """All parts of a running daemon; ``tasks`` run as long as it does, ``reloads`` on SIGHUP."""

    pbxs: list[AsteriskPbx | FreeSwitchPbx]
    tasks: list[Callable[[], Awaitable[None]]]
    reloads: list[Callable[[], object]] = field(default_factory=list)
    closes: list[Callable[[], Awaitable[None] | None]] = field(default_factory=list)


def build(loaded: Loaded) -> Daemon:
    """Make all parts; to be called in the event loop they will run in.

    Raises:
        ConfigurationError: naming file, key and remedy
    """
    daemon = Daemon([], [])
    try:
        _assemble(loaded, daemon)
    except UsageError as error:
        raise ConfigurationError(
            f"{loaded.path}: verification: {error.message}", hint=error.hint
        ) from error
    return daemon


def _assemble(loaded: Loaded, daemon: Daemon) -> None:
    values, monotonic = loaded.values, time.monotonic
    state = configured.state_dir(loaded)
    callers = configured_callers.callers(loaded)
    credentials = configured.credentials(loaded)
    anchors = configured.anchors(loaded, "verification.trust", values.verification.trust)
    spc = configured.spc_policy(loaded)
    keys = KeyFiles(state / "keys", lifetime_seconds=values.publish.key_days * 86_400)
    routes = configured.routes(loaded)
    clients = clients_of(
        loaded,
        credentials,
        egress=configured.egress(routes),
        holder=configured_retrieval.holder(loaded, credentials),
    )
    daemon.tasks += clients.tasks
    # closed in reverse
    daemon.closes += reversed(clients.closes)
    bare = _bare(loaded, daemon, routes, credentials)
    judge, revocation = _judge(loaded, daemon, anchors, spc)
    resolver = _resolver(loaded, daemon, routes, clients.storing, anchors, spc, revocation)
    keyring = Keyring(keys)
    daemon.closes.append(keyring.close)
    daemon.reloads.append(keyring.reload)
    used = _single_use(loaded, daemon)
    wanted = configured.published(loaded, credentials)
    retrieval = _retrieval(loaded, daemon, clients, wanted, keyring)
    both = BothKinds(retrieval, bare, routes.bare_cps)
    brought = BroughtCalls()
    verification = VerificationService(
        callers=callers,
        own_cps=resolver,
        placement=both,
        opener=keyring,
        judge=judge,
        used=used,
        monotonic=monotonic,
        breathe=lambda: asyncio.sleep(0),
        brought=brought,
    )
    authentication = AuthenticationService(
        callers=callers,
        credentials=credentials,
        directory=resolver,
        placement=clients.stores,
        never=configured.never_signed(loaded),
        new_uuid=lambda: str(uuid.uuid4()),
        bare=bare,
        brought=brought,
        already=Already(resolver, both, keyring, monotonic),
    )
    reception = Reception(
        authentication=authentication,
        verification=verification,
        used=used,
        call_log=_call_log(loaded, daemon),
        clocks=Clocks(time.time, monotonic, asyncio.timeout_at, lambda: secrets.token_hex(8)),
        brought=brought,
    )
    _publish(loaded, daemon, wanted, keys, clients)
    daemon.tasks.append(_cover(loaded, clients, resolver).run)
    daemon.pbxs += [AsteriskPbx(one, reception) for one in configured_pbxs.asterisks(loaded)]
    daemon.pbxs += [FreeSwitchPbx(one, reception) for one in configured_pbxs.freeswitches(loaded)]


def _call_log(loaded: Loaded, daemon: Daemon) -> CallLogFile:
    section = loaded.values.call_log
    path = None if section.file == "-" else loaded.resolve(section.file)
    call_log = CallLogFile(path, numbers=section.numbers)
    daemon.closes.append(call_log.close)
    return call_log


def _publish(
    loaded: Loaded,
    daemon: Daemon,
    wanted: Sequence[Publication],
    keys: KeyFiles,
    clients: Clients,
) -> None:
    """Keep our records published, where there are numbers to publish."""
    if not wanted:
        return
    lifetime = loaded.values.publish.record_days * 86_400
    publisher = Publisher(
        publications=wanted, keys=keys, sink=clients.retrieving, lifetime_seconds=lifetime
    )
    daemon.tasks.append(publisher.run)


def _retrieval(
    loaded: Loaded,
    daemon: Daemon,
    clients: Clients,
    published: Sequence[Publication],
    keyring: Keyring,
) -> SubscribedPlacement:
    """Who gets PASSporTs for calls: from subscriptions where there are some, else by asking."""
    wanted = configured_retrieval.subscriptions(loaded, published)
    if not wanted:
        return SubscribedPlacement(clients.retrievals)
    exchange = subscribing_exchange(loaded)
    daemon.closes.append(exchange.close)
    feeds = Feeds(wanted, EventStreams(exchange), keep=sealed_to_us(keyring))
    daemon.tasks.append(feeds.run)
    return SubscribedPlacement(clients.retrievals, feeds.by_cps)


def _cover(loaded: Loaded, clients: Clients, resolver: Resolver) -> Cover:
    """Who makes stores and retrievals that belong to no call, if any."""
    return Cover(
        configured_retrieval.cover(loaded),
        directory=resolver,
        stores=clients.stores,
        retrievals=clients.retrievals,
        own_cps=resolver,
        has_spare=clients.has_spare,
    )


def _bare(
    loaded: Loaded, daemon: Daemon, routes: Routes, credentials: Sequence[Credential]
) -> BarePlacements:
    """The client of CPSs with unsealed PASSporTs: nothing of it is shared with the other one."""
    client = BareClient(
        credentials=credentials,
        retrieved_from=routes.bare_cps,
        unsigned=routes.unsigned_cps(),
        tls=configured.bare_tls(loaded),
        allow_plain=loaded.values.outgoing.plain_loopback,
    )
    daemon.closes.append(client.close)
    placement = GuardedPlacement(client)
    daemon.closes.append(placement.close)
    return BarePlacements(SubscribedPlacement(placement))


def _resolver(
    loaded: Loaded,
    daemon: Daemon,
    routes: Routes,
    client: CpsClient,
    anchors: AnchorFiles,
    spc: SpcPolicy,
    revocation: RevocationWatch,
) -> Resolver:
    """Who finds a number's CPSs and keys, and what it asks."""
    advertised, close = configured.advertisements(loaded, anchors.current)
    if advertised is not None and close is not None:
        daemon.closes.append(close)
        daemon.tasks.append(advertised.run)
        daemon.reloads.append(advertised.load_all)
    enum = configured.enum(loaded)
    if enum is not None:
        daemon.closes.append(enum.close)
    resolver = Resolver(
        routes=routes,
        records=client,
        anchors=anchors.current,
        spc_policy=spc,
        advertised=advertised,
        enum=enum,
        allow_plain=loaded.values.outgoing.plain_loopback,
        revocation=None if loaded.values.verification.revocation == "off" else revocation,
    )
    daemon.closes.append(resolver.close)
    daemon.tasks.append(resolver.run)
    return resolver


def _single_use(loaded: Loaded, daemon: Daemon) -> SingleUse:
    """What knows which PASSporTs were used: a file of this machine, or Redis for several."""
    section = loaded.values.verification
    if section.single_use == "file":
        used = UsedDatabase(configured.state_dir(loaded) / "used.sqlite")
        daemon.closes.append(used.close)
        return used
    key, redis = "verification.redis", section.redis
    if redis is None:
        key, redis = "cps.redis", loaded.values.cps.redis
    if redis is None:
        hint = "add a table [verification.redis] with a url"
        raise loaded.wrong("verification.single_use", "no redis is named", hint)
    where = configured.redis(loaded, key, redis)
    try:
        from pbx_stir.redis_backend.connection import Connection
        from pbx_stir.redis_backend.used import RedisUsed
    except ImportError as error:
        hint = "pip install 'pbx-stir[redis]'"
        raise loaded.wrong("verification.single_use", f"needs a package: {error}", hint) from error
    connection = Connection(where)
    daemon.closes.append(connection.close)
    used_on_redis = RedisUsed(connection)
    daemon.tasks.append(used_on_redis.run)
    return used_on_redis


def _judge(
    loaded: Loaded, daemon: Daemon, anchors: AnchorFiles, spc: SpcPolicy
) -> tuple[Judge, RevocationWatch]:
    """Who judges PASSporTs, and what both it and the look-up of keys know of revocation."""
    section = loaded.values.verification
    hosts = None if section.x5u_hosts == "any" else frozenset(map(str.lower, section.x5u_hosts))
    tls_ca = None if section.x5u_tls_ca is None else loaded.resolve(section.x5u_tls_ca)
    source, close = fetching(section.x5u_allow, tls_ca, hosts)
    daemon.closes.append(close)
    revocation, close_revocation = configured.revocation(loaded, anchors)
    daemon.closes.append(close_revocation)
    daemon.tasks.append(revocation.run)
    daemon.reloads += [anchors.reload, revocation.reload]
    policy = VerificationPolicy(anchors.current, spc, frozenset(section.passed_attest))
    return Judge(policy, source, revocation), revocation


async def serve(loaded: Loaded) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads anchors, keys and revocation lists again.

    Raises:
        ConfigurationError: before anything is started
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = build(loaded)
    reload = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    tasks = [asyncio.ensure_future(_kept_up(work)) for work in daemon.tasks]
    what = "anchors, keys and revocation lists"
    tasks.append(asyncio.ensure_future(reloading(daemon.reloads, reload, what)))
    serving = [asyncio.ensure_future(_kept_up(pbx.run)) for pbx in daemon.pbxs]
    log.info("serving %d PBXs", len(daemon.pbxs))
    await stop.wait()
    log.info("stopping: finishing the calls in hand")
    # each PBX first learns that nobody listens, then what is held is answered
    await asyncio.gather(*(pbx.stop(DRAIN_SECONDS) for pbx in daemon.pbxs), return_exceptions=True)
    for task in (*tasks, *serving):
        task.cancel()
    await asyncio.gather(*tasks, *serving, return_exceptions=True)
    for close in reversed(daemon.closes):
        with contextlib.suppress(Exception):
            waiting = close()
            if waiting is not None:
                await waiting
    log.info("stopped")


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Work off the call path is begun again when it fails: calls go on meanwhile."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("background work failed")
        await asyncio.sleep(5)
