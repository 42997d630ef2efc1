"""``pbx-stir cps``: run a call placement service until SIGTERM or SIGINT.

Takes parsed arguments; gives an exit status: 0 after a graceful end. Settings that cannot be
carried out raise ``ConfigurationError`` or ``UsageError`` for the caller to print.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pbx_stir import loop_errors
from pbx_stir.cli.bare import bare_settings
from pbx_stir.cli.cps_files import revocation, with_records
from pbx_stir.cli.cps_signals import CpsFile, obey
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from pbx_stir.listen_address import parse_listen
from pbx_stir.log_levels import LogLevels
from pbx_stir.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx_stir.cli.workers import Desk
    from pbx_stir.config import Loaded
    from pbx_stir.cps.bare import BareSettings
    from pbx_stir.cps.settings import CpsSettings
    from pbx_stir.cps.store import EntryStore
    from pbx_stir.cps.tally import Tally
    from pbx_stir.redis_backend.settings import RedisSettings

DEFAULT_LISTEN = "127.0.0.1:8480"
MOST_WORKERS = 128
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--config", metavar="FILE", help="take the settings of [cps] in this configuration file"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help=f"else {DEFAULT_LISTEN}")
    parser.add_argument(
        "--no-tls", action="store_true", help="plain http; only where HOST is loopback"
    )
    parser.add_argument(
        "--no-tokens", action="store_true", help="let anybody store; for closed networks and tests"
    )
    parser.add_argument("--certificate", metavar="FILE", default="", help="PEM, leaf first")
    parser.add_argument("--key", metavar="FILE", default="", help="PEM, unencrypted")
    parser.add_argument(
        "--workers", metavar="N", type=int, help="processes on the one port; needs [cps.redis]"
    )


def settings_from(args: argparse.Namespace) -> CpsSettings:
    """Build settings from arguments alone. Raises ``UsageError``."""
    from pbx_stir.cps.settings import CpsSettings

    if args.config:
        return _configured(args)
    host, port = parse_listen(args.listen or DEFAULT_LISTEN)
    return CpsSettings(
        host=host,
        port=port,
        tls=not args.no_tls,
        certificate=args.certificate,
        key=args.key,
        tokens=not args.no_tokens,
    )


def _configured(args: argparse.Namespace) -> CpsSettings:
    """Build settings from ``[cps]`` of a configuration file; arguments come before it."""
    from pathlib import Path

    from pbx_stir import config, configured
    from pbx_stir.cps.settings import CpsSettings

    loaded = config.load(Path(args.config))
    section = loaded.values.cps
    host, port = parse_listen(args.listen or section.listen)
    anchors = configured.anchors(loaded, "cps.trust", section.trust)
    revoked = revocation(loaded, anchors)
    return CpsSettings(
        host=host,
        port=port,
        tls=section.tls and not args.no_tls,
        certificate=args.certificate or _path(loaded, section.certificate),
        key=args.key or _path(loaded, section.key),
        tokens=section.tokens and not args.no_tokens,
        state_dir=_path(loaded, loaded.values.state_dir),
        stores_per_token=section.stores_per_token,
        stores_per_token_and_number=section.stores_per_token_and_number,
        tokens_per_leaf=section.tokens_per_leaf,
        tokens_per_issuer=section.tokens_per_issuer,
        tokens_per_spc=section.tokens_per_spc,
        lifetime_seconds=section.lifetime_seconds,
        max_entries_of_a_number=section.most_per_number,
        max_octets=section.most_mebibytes << 20,
        retrieval_rate=float(section.retrievals_per_second),
        max_connections=section.most_connections,
        max_connections_of_a_peer=section.most_connections_of_a_peer,
        handshakes_of_a_peer=float(section.most_handshakes_of_a_peer),
        metrics=section.metrics,
        names=section.names,
        retrieval=section.retrieval,
        client_certificates=section.client_certificates,
        push_subscribers=section.push_subscribers,
        push_subscribers_of_a_leaf=section.push_subscribers_of_a_leaf,
        push_heartbeat_seconds=section.push_heartbeat_seconds,
        anchors=anchors.current if section.trust else None,
        spc_policy=configured.spc_policy(loaded),
        revocation=revoked,
        reloads=(anchors.reload, *([revoked.reload] if revoked is not None else [])),
    )


def _path(loaded: Loaded, name: str | None) -> str:
    return str(loaded.resolve(name)) if name else ""


def run(args: argparse.Namespace) -> int:
    """Run until a signal; one line on standard error says when it listens, and where."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        # until they can be obeyed: SIGHUP means to read again what is just being read
        signal.signal(number, signal.SIG_IGN)
    file = CpsFile(args.config)
    levels = LogLevels(file.log_level)
    shared = sharing_from(args)
    if shared.workers > 1:
        return _run_workers(args, shared, file, levels)
    settings = settings_from(args)
    bare = bare_settings(args.config, settings, parse_listen)
    with contextlib.closing(ServiceManager.of(os.environ)) as manager:
        return serve(settings, shared.redis, bare=bare, file=file, levels=levels, told=manager)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many processes serve on ``host`` and ``port``, and the Redis that they share."""

    workers: int
    redis: RedisSettings | None
    host: str
    port: int


def sharing_from(args: argparse.Namespace) -> Sharing:
    """Read what must be known before there are processes.

    Raises ``UsageError``, and ``ConfigurationError`` where several workers share nothing.
    """
    workers, redis, listen = args.workers, None, args.listen or DEFAULT_LISTEN
    if args.config:
        from pathlib import Path

        from pbx_stir import config, configured

        loaded = config.load(Path(args.config))
        section = loaded.values.cps
        workers = section.workers if workers is None else workers
        listen = args.listen or section.listen
        if section.redis is not None:
            redis = configured.redis(loaded, "cps.redis", section.redis)
    workers = 1 if workers is None else workers
    if not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"{workers} workers", hint=f"1 to {MOST_WORKERS}; one a processor core")
    if workers > 1 and redis is None:
        raise ConfigurationError(
            f"{workers} workers cannot share a store in memory",
            hint="name a Redis server in [cps.redis] url, or run one worker",
        )
    return Sharing(workers, redis, *parse_listen(listen))


def _run_workers(
    args: argparse.Namespace, shared: Sharing, file: CpsFile, levels: LogLevels
) -> int:
    """Run several processes; each reads the configuration for itself."""
    from pbx_stir.cli.workers import held_port, run_workers

    with held_port(shared.host, shared.port) as port, contextlib.ExitStack() as held:
        bare_port = _held_bare_port(args, held)

        def work(desk: Desk) -> int:
            try:
                settings = replace(settings_from(args), port=port, shared_port=True)
                bare = bare_settings(args.config, settings, parse_listen)
                if bare is not None:
                    common = replace(bare.common, port=bare_port, shared_port=True)
                    bare = replace(bare, common=common)
                if settings.metrics:
                    host, first = parse_listen(settings.metrics)
                    settings = replace(settings, metrics=f"{_bracketed(host)}:{first + desk.index}")
                return serve(settings, shared.redis, desk, bare, file=file, levels=levels)
            except PbxStirError as error:
                for one in error.each if isinstance(error, ConfigurationError) else (error,):
                    print(f"pbx-stir cps: {one}", file=sys.stderr)
                return 2 if isinstance(error, UsageError) else 1

        with contextlib.closing(ServiceManager.of(os.environ)) as manager:
            return run_workers(shared.workers, work, manager)


def _held_bare_port(args: argparse.Namespace, held: contextlib.ExitStack) -> int:
    """Hold the port for unsealed PASSporTs too; 0 where there is none."""
    from pathlib import Path

    from pbx_stir import config
    from pbx_stir.cli.workers import held_port

    listen = config.load(Path(args.config)).values.cps.bare.listen if args.config else None
    return held.enter_context(held_port(*parse_listen(listen))) if listen else 0


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def serve(
    settings: CpsSettings,
    redis: RedisSettings | None = None,
    desk: Desk | None = None,
    bare: BareSettings | None = None,
    *,
    file: CpsFile,
    levels: LogLevels,
    told: ServiceManager | None = None,
) -> int:
    """Run a CPS with these settings until SIGTERM or SIGINT, on uvloop where that is installed.

    ``desk`` is for one of several workers, ``bare`` the listener for unsealed PASSporTs, ``told``
    the service manager. Raises ``ConfigurationError``.
    """
    manager = told or ServiceManager()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, redis, desk, bare, (file, levels, manager)))
    return 0


async def _shared(
    running: contextlib.AsyncExitStack,
    settings: CpsSettings,
    redis: RedisSettings,
    tally: Tally | None,
    *,
    bare_lifetime_seconds: int,
) -> tuple[CpsSettings, EntryStore, EntryStore]:
    """Have on Redis what else were in memory: settings, and the stores of both listeners."""
    from pbx_stir.redis_backend.sharing import sharing

    shared = await running.enter_async_context(
        sharing(
            redis,
            lifetime_seconds=settings.lifetime_seconds,
            max_entries_of_a_number=settings.max_entries_of_a_number,
            bare_lifetime_seconds=bare_lifetime_seconds,
        )
    )
    if tally is not None:
        tally.gauges["redis_up"] = lambda: float(not shared.connection.is_lost)
    settings = replace(settings, ledger=shared.ledger, secrets=shared.secrets)
    return settings, shared.store, shared.bare_store


async def _serve(
    settings: CpsSettings,
    redis: RedisSettings | None,
    desk: Desk | None,
    bare: BareSettings | None,
    obeyed: tuple[CpsFile, LogLevels, ServiceManager],
) -> None:
    """Listen, say so, wait for a signal, end gracefully; SIGHUP reads files again."""
    from pbx_stir.cps.listening import listening, listening_bare
    from pbx_stir.cps.server_tls import ServerTls

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_errors.handle)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if desk is not None:
        # Readable where the process that started this one is gone.
        loop.add_reader(desk.lifeline, stop.set)
    async with contextlib.AsyncExitStack() as running:
        tally = await _counting(running, settings)
        settings, store, bare_store = await _backed(running, settings, redis, bare, tally)
        settings = with_records(running, settings)
        tls = ServerTls(settings)
        reloads = [*settings.reloads, tls.reload]
        alive: list[Callable[[], bool]] = []
        url = await running.enter_async_context(
            listening(settings, store, tally=tally, tls=tls, alive=alive)
        )
        speaks = desk is None or desk.index == 0
        if speaks and not settings.tokens:
            _log.warning("storing needs no token: anybody who can connect may store")
        if bare is not None:
            common = replace(
                bare.common, ledger=settings.ledger, used=settings.used, since=settings.since
            )
            bare_tls = ServerTls(common)
            reloads.append(bare_tls.reload)
            bare = replace(bare, common=common)
            second = await running.enter_async_context(
                listening_bare(bare, bare_store, tally=tally, tls=bare_tls, alive=alive)
            )
            if speaks:
                print(f"unsealed passports at {second}", file=sys.stderr, flush=True)
        _say_and_obey(running, obeyed, desk, url, reloads, alive)
        await stop.wait()
        _log.info("ending")
        obeyed[2].stopping("finishing the requests in hand")


def _say_and_obey(
    running: contextlib.AsyncExitStack,
    obeyed: tuple[CpsFile, LogLevels, ServiceManager],
    desk: Desk | None,
    url: str,
    reloads: Sequence[Callable[[], object]],
    alive: Sequence[Callable[[], bool]],
) -> None:
    """Say that it listens, and how it is; obey SIGHUP and SIGUSR1, until ``running`` ends."""
    file, levels, manager = obeyed
    status = f"listening on {url}"
    obey(running, file, reloads, levels, manager if desk is None else desk, status)
    if desk is None:
        print(status, file=sys.stderr, flush=True)
        manager.ready(status)
    else:
        desk.say_ready(url)
    attend = partial(manager.attend, None) if desk is None else desk.attend
    attending = asyncio.create_task(attend(lambda: all(one() for one in alive)))
    running.callback(attending.cancel)


async def _counting(running: contextlib.AsyncExitStack, settings: CpsSettings) -> Tally | None:
    """Who counts, and gives metrics of it, where somebody wants any."""
    from pbx_stir.cps.tally import Tally

    if not settings.metrics:
        return None
    from pbx_stir.metrics.exposing import serving
    from pbx_stir.metrics.tally import TallySource

    tally = Tally()
    told = await running.enter_async_context(
        serving(*parse_listen(settings.metrics), TallySource(tally))
    )
    _log.info("metrics at %s", told)
    return tally


async def _backed(
    running: contextlib.AsyncExitStack,
    settings: CpsSettings,
    redis: RedisSettings | None,
    bare: BareSettings | None,
    tally: Tally | None,
) -> tuple[CpsSettings, EntryStore | None, EntryStore | None]:
    """What a CPS keeps its state in: Redis, else memory, which knows nothing from before."""
    from pbx_stir.tokens.ledger import MemoryLedger

    if redis is not None:
        seconds = bare.new_store().lifetime_seconds if bare is not None else 0
        return await _shared(running, settings, redis, tally, bare_lifetime_seconds=seconds)
    # what is signed for one listener is signed for the other too
    return replace(settings, used=MemoryLedger(), since=time.time()), None, None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give uvloop's loop, or None for asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
