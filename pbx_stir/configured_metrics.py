"""What the metrics of a service watch, and where they are given: ``[metrics]`` and the parts.

Takes a ``config.Loaded`` and parts; gives ``Watched``. Labels are made here: names of trunks, of
PBXs and of files, and URLs of CPSs, all from the configuration.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pbx_stir.config import Loaded
from pbx_stir.cps.origin import parse_cps_url
from pbx_stir.cps.supply import Supply
from pbx_stir.errors import ConfigurationError, UrlRefused, UsageError
from pbx_stir.listen_address import parse_listen
from pbx_stir.metrics.service import WatchedCredential
from pbx_stir.services.used import SingleUse
from pbx_stir.stir.credential import Credential


def listen(loaded: Loaded) -> tuple[str, int] | None:
    """Where metrics are given; None where nobody wants any. Raises ConfigurationError."""
    return _listen(loaded, "metrics.listen", loaded.values.metrics.listen)


def listen_of_cps(loaded: Loaded) -> tuple[str, int] | None:
    """Where those of a CPS are, as ``listen``."""
    return _listen(loaded, "cps.metrics", loaded.values.cps.metrics)


def _listen(loaded: Loaded, key: str, text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    from pbx_stir.metrics.exposing import check_extra

    try:
        where = parse_listen(text)
        check_extra()
    except (ConfigurationError, UsageError) as error:
        raise loaded.wrong(key, error.message, error.hint) from error
    return where


def trunks(loaded: Loaded) -> frozenset[str]:
    """The names of the configured trunks."""
    return frozenset(one.name for one in loaded.values.trunk)


def cps(loaded: Loaded) -> tuple[str, ...]:
    """The CPSs that the configuration names, each once, as it writes them."""
    values = loaded.values
    urls = [url for route in values.route for url in route.cps]
    return tuple(dict.fromkeys([*urls, *values.publish.cps, *values.publish.bare_cps]))


def certificates(
    loaded: Loaded, credentials: Sequence[Credential]
) -> tuple[WatchedCredential, ...]:
    """Our certificates, by the files they are in."""
    pairs = zip(loaded.values.credential, credentials, strict=True)
    return tuple(WatchedCredential(one.certificate, known.not_after) for one, known in pairs)


def tokens(
    loaded: Loaded, supply: Supply | None
) -> Callable[[], Awaitable[Mapping[str, int]]] | None:
    """How many tokens are left, by CPS as the configuration writes it; None where none are used."""
    if supply is None:
        return None
    written = {}
    for url in cps(loaded):
        try:
            written[parse_cps_url(url, allow_plain=True).base] = url
        except UrlRefused:
            continue

    async def left() -> Mapping[str, int]:
        found = await supply.left()
        return {written[base]: count for base, count in found.items() if base in written}

    return left


def redis_up(loaded: Loaded, used: SingleUse) -> Callable[[], bool] | None:
    """Whether the Redis of single use answers; None where single use is a file's."""
    if loaded.values.verification.single_use == "file":
        return None
    from pbx_stir.redis_backend.used import RedisUsed

    assert isinstance(used, RedisUsed)
    return lambda: not used.is_lost
