"""Checks of the Redis that the configuration names: is it there, is it fit, is it safe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from pbx_stir import configured
from pbx_stir.checks.finding import Finding, error, warning
from pbx_stir.checks.hosts import is_loopback
from pbx_stir.checks.places import findings_of, place
from pbx_stir.config import Loaded, RedisSection
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.redis_backend.settings import RedisSettings


def wants_redis(loaded: Loaded) -> bool:
    """Whether something of the configuration is kept on Redis, or would have to be."""
    cps, verification = loaded.values.cps, loaded.values.verification
    named = cps.redis is not None or verification.redis is not None
    return named or cps.workers > 1 or verification.single_use == "redis"


def check_redis(loaded: Loaded) -> Iterator[Finding]:
    """Give what is wrong with ``[cps.redis]``, ``[verification.redis]`` and who needs them.

    Nothing is connected to.
    """
    cps, verification = loaded.values.cps, loaded.values.verification
    where = place(loaded, "cps.workers")
    if cps.workers > 1 and cps.redis is None:
        yield error(
            "redis-missing",
            f"{cps.workers} workers cannot share a store in memory",
            where,
            "add a table [cps.redis] with a url, or cps.workers = 1",
        )
    if verification.single_use == "redis" and cps.redis is None and verification.redis is None:
        yield error(
            "redis-missing",
            'verification.single_use is "redis", and no redis is named',
            place(loaded, "verification.single_use"),
            "add a table [verification.redis] with a url",
        )
    for key, section in _named(loaded):
        try:
            settings = configured.redis(loaded, key, section)
        except ConfigurationError as wrong:
            yield from findings_of("redis-wrong", loaded.path, wrong)
            continue
        if not settings.tls and not all(is_loopback(one.host) for one in settings.addresses):
            yield warning(
                "redis-cleartext",
                f"{key} is reached over the network without TLS: who calls whom crosses it in "
                "clear",
                place(loaded, key),
                "rediss:// in its url, and tls_ca",
            )


async def check_redis_running(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give whether each Redis that is named answers, and is fit."""
    for key, section in _named(loaded):
        try:
            settings = configured.redis(loaded, key, section)
        except ConfigurationError:
            # has its own finding
            continue
        try:
            await _ask(settings)
        except ConfigurationError as wrong:
            yield error("redis-wrong", wrong.message, key, wrong.hint)
        except StoreUnavailable as wrong:
            hint = "requests are answered 503, and no call passes, as long as it is away"
            yield error("redis-unreachable", wrong.message, key, hint)


def _named(loaded: Loaded) -> Iterator[tuple[str, RedisSection]]:
    for key, section in (
        ("cps.redis", loaded.values.cps.redis),
        ("verification.redis", loaded.values.verification.redis),
    ):
        if section is not None:
            yield key, section


async def _ask(settings: RedisSettings) -> None:
    from pbx_stir.redis_backend.connection import Connection

    connection = Connection(settings)
    try:
        await connection.check()
    finally:
        await connection.close()
