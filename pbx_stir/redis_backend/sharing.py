"""All that a CPS's workers share, over one connection: entries, counts, the dummies' secrets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.entries import RedisStore
from pbx_stir.redis_backend.ledger import RedisLedger
from pbx_stir.redis_backend.secrets import SharedSecrets
from pbx_stir.redis_backend.settings import RedisSettings

AGAIN_SECONDS: Final = 1.0
BARE_NAME: Final = b"pbx-stir-bare"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker gives its CPS; ``bare_store`` is for PASSporTs that are not sealed."""

    connection: Connection
    store: RedisStore
    bare_store: RedisStore
    ledger: RedisLedger
    secrets: SharedSecrets


@asynccontextmanager
async def sharing(
    settings: RedisSettings,
    *,
    lifetime_seconds: int,
    max_entries_of_a_number: int,
    bare_lifetime_seconds: int = 0,
) -> AsyncIterator[Shared]:
    """Share as long as the context lasts. A Redis that is lost at the start is waited for.

    Without ``bare_lifetime_seconds`` nothing is stored in ``bare_store``.

    Raises:
        ConfigurationError: Redis refuses the password, or may drop what must not be forgotten; or
            the settings leave no room
    """
    connection = Connection(settings)
    try:
        store = RedisStore(
            connection, lifetime_seconds, max_entries_of_a_number=max_entries_of_a_number
        )
        bare_store = RedisStore(
            connection,
            bare_lifetime_seconds or lifetime_seconds,
            max_entries_of_a_number=max_entries_of_a_number,
            name=BARE_NAME,
            clock=store.shared_clock,
        )
    except ValueError as error:
        raise ConfigurationError(f"cps: {error}") from error
    ledger = RedisLedger(connection)
    secrets = SharedSecrets(connection, lifetime_seconds)
    try:
        await connection.check()
        await ledger.open()
    except StoreUnavailable as error:
        _log.error("requests will be answered 503 for now: %s", error)
    works = [store.run, ledger.run, *([bare_store.run] if bare_lifetime_seconds else [])]
    tasks = [asyncio.create_task(_kept_up(work)) for work in works]
    try:
        yield Shared(connection, store, bare_store, ledger, secrets)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.close()


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    """Work that nobody waits for is begun again when it fails."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("work for redis failed")
        await asyncio.sleep(AGAIN_SECONDS)
