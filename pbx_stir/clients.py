"""The clients of CPSs that a configuration asks for, each with connections of its own.

Takes a ``config.Loaded``, gives ``Clients``; names file and key of what is wrong. Three ways lead
to a CPS, and none shares a connection, TLS session or proxy setting with another unless the
configuration gives both the same proxy: stores and look-ups of called numbers, which name nobody;
retrievals and records of our own numbers; and requests for storage tokens, signed by us.
Source: RFC 8816 sections 7.5 and 13.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pbx_stir import configured
from pbx_stir.config import Loaded
from pbx_stir.cps.apart import Apart
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.proxy import Proxy, parse_proxy
from pbx_stir.cps.supply import Supply
from pbx_stir.errors import ConfigurationError, UrlRefused
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.x5u import EgressRule
from pbx_stir.tokens.wallet import READY, Wallet


@dataclass(frozen=True, slots=True)
class Clients:
    """``stores`` and ``retrievals`` are what the services await, one object where both go the same
    way. ``supply`` is None where nothing can be signed; ``has_spare`` tells of a CPS's URL whether
    there are more tokens than calls will need. ``tasks`` run as long as the service does,
    ``closes`` end all, in this order."""

    storing: CpsClient
    retrieving: CpsClient
    stores: GuardedPlacement
    retrievals: GuardedPlacement
    supply: Supply | None
    has_spare: Callable[[str], Awaitable[bool]]
    tasks: tuple[Callable[[], Awaitable[None]], ...]
    closes: tuple[Callable[[], Awaitable[None]], ...]

    async def close(self) -> None:
        """End all. Raises ``ConfigurationError`` where unspent tokens cannot be put back."""
        for close in self.closes:
            await close()


def clients_of(
    loaded: Loaded,
    credentials: Sequence[Credential],
    *,
    egress: EgressRule | None = None,
    holder: Holder | None = None,
    tokens_ready: int = READY,
) -> Clients:
    """Make all; to be called in the event loop they will run in. Raises ConfigurationError.

    ``holder`` signs retrievals. Without a credential nothing is stored, and no token obtained;
    ``tokens_ready`` of those on the disk are taken into memory.
    """
    outgoing = loaded.values.outgoing
    store_proxy = proxy_of(loaded, "store_proxy")
    retrieve_proxy = proxy_of(loaded, "retrieve_proxy")
    tasks: list[Callable[[], Awaitable[None]]] = []
    closes: list[Callable[[], Awaitable[None]]] = []
    supply: Supply | None = None
    if credentials:
        wallet = wallet_of(loaded, tokens_ready)
        supply, ends = _supply(loaded, credentials, store_proxy, egress, wallet)
        tasks.append(supply.run)
        closes += ends
    storing = CpsClient(**_common(loaded, egress), proxy=store_proxy, tokens=supply)
    retrieving = CpsClient(**_common(loaded, egress), proxy=retrieve_proxy, holder=holder)
    stores = GuardedPlacement(Apart(storing=storing, retrieving=retrieving))
    retrievals = stores
    if outgoing.store_proxy != outgoing.retrieve_proxy:
        # a proxy that is silent says nothing of the other way
        stores, retrievals = GuardedPlacement(storing), GuardedPlacement(retrieving)
    guards = [stores.close] if stores is retrievals else [stores.close, retrievals.close]
    return Clients(
        storing,
        retrieving,
        stores,
        retrievals,
        supply,
        _spare(supply, storing),
        tuple(tasks),
        (*guards, storing.close, retrieving.close, *closes),
    )


def subscribing_exchange(loaded: Loaded) -> Exchange:
    """What subscriptions are held through: the way that retrievals go, with its own connections.

    Raises ConfigurationError.
    """
    proxy = proxy_of(loaded, "retrieve_proxy")
    return Exchange(**_common(loaded, None), proxy=proxy, keep=False)


def wallet_of(loaded: Loaded, ready: int = READY) -> Wallet:
    """The wallet, made where it is missing. Raises ConfigurationError."""
    return Wallet(
        configured.state_dir(loaded) / "wallet",
        ready=ready,
        calls_per_token=loaded.values.wallet.calls_per_token,
    )


def proxy_of(loaded: Loaded, name: str) -> Proxy | None:
    """The proxy that ``store_proxy`` or ``retrieve_proxy`` of ``[outgoing]`` names, if any."""
    section = loaded.values.outgoing
    url: str | None = getattr(section, name)
    file: str | None = getattr(section, f"{name}_password_file")
    key = f"outgoing.{name}"
    if url is None:
        if file is not None:
            raise loaded.wrong(f"{key}_password_file", f"there is no {name}")
        return None
    secret = "" if file is None else loaded.secret(f"{key}_password_file", file)
    try:
        return parse_proxy(url, secret)
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def _supply(
    loaded: Loaded,
    credentials: Sequence[Credential],
    store_proxy: Proxy | None,
    egress: EgressRule | None,
    wallet: Wallet,
) -> tuple[Supply, list[Callable[[], Awaitable[None]]]]:
    """Who obtains tokens, and what ends it."""
    section = loaded.values.wallet
    # each list over a new connection, by the way that stores go; requests for tokens never that way
    unnamed = Exchange(**_common(loaded, egress), proxy=store_proxy, keep=False)
    named = Exchange(**_common(loaded, egress))
    try:
        supply = Supply(
            wallet=wallet,
            obtaining=Obtaining(unnamed=unnamed, named=named),
            credentials=lambda: credentials,
            cps=[unnamed.origin(url) for url in _configured_cps(loaded)],
            low=section.low,
            high=section.high,
        )
    except ConfigurationError as error:
        raise loaded.wrong("wallet", error.message, error.hint) from error
    except UrlRefused as error:
        raise loaded.wrong("route", error.message, error.hint) from error
    return supply, [unnamed.close, named.close, lambda: asyncio.to_thread(wallet.close)]


def _spare(supply: Supply | None, storing: CpsClient) -> Callable[[str], Awaitable[bool]]:
    """Where there are no tokens at all, nothing keeps stores from going without."""

    async def has_spare(cps: str) -> bool:
        return supply is None or await supply.has_spare(storing.origin(cps))

    return has_spare


def _configured_cps(loaded: Loaded) -> list[str]:
    """The CPSs of all routes on which PASSporTs are sealed, each once."""
    urls = [
        url for route in loaded.values.route if route.sealing == "required" for url in route.cps
    ]
    return list(dict.fromkeys(urls))


def _common(loaded: Loaded, egress: EgressRule | None) -> dict[str, Any]:
    """What all ways have in common; a TLS context is never shared."""
    section = loaded.values.outgoing
    return {
        "tls": configured.tls_of(loaded, "outgoing.tls_ca", section.tls_ca),
        "allow_plain": section.plain_loopback,
        "egress": egress,
    }
