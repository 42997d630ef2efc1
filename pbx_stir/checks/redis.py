"""Checks of the Redis that the configuration names: is it there, is it fit, is it safe."""

from __future__ import annotations

from collections.abc import AsyncIterator

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


async def check_redis(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give what is wrong with ``[cps.redis]``, ``[verification.redis]`` and who needs them."""
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
    named = {"cps.redis": cps.redis, "verification.redis": verification.redis}
    for key, section in named.items():
        if section is not None:
            async for found in _server(loaded, key, section):
                yield found


async def _server(loaded: Loaded, key: str, section: RedisSection) -> AsyncIterator[Finding]:
    try:
        settings = configured.redis(loaded, key, section)
    except ConfigurationError as wrong:
        for found in findings_of("redis-wrong", loaded.path, wrong):
            yield found
        return
    if not settings.tls and not all(is_loopback(one.host) for one in settings.addresses):
        yield warning(
            "redis-cleartext",
            f"{key} is reached over the network without TLS: who calls whom crosses it in clear",
            place(loaded, key),
            "rediss:// in its url, and tls_ca",
        )
    try:
        await _ask(settings)
    except ImportError as missing:
        hint = "pip install 'pbx-stir[redis]'"
        yield error("redis-wrong", f"{key} needs a package: {missing}", str(loaded.path), hint)
    except ConfigurationError as wrong:
        yield error("redis-wrong", wrong.message, key, wrong.hint)
    except StoreUnavailable as wrong:
        hint = "requests are answered 503, and no call passes, as long as it is away"
        yield error("redis-unreachable", wrong.message, key, hint)


async def _ask(settings: RedisSettings) -> None:
    from pbx_stir.redis_backend.connection import Connection

    connection = Connection(settings)
    try:
        await connection.check()
    finally:
        await connection.close()
