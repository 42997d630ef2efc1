"""What the configuration says about where the CPSs of a number are.

Takes prefixes and URLs, gives the ``Route`` of a number: the longest prefix wins, and configuration
comes before everything that a directory may say. Pure; it asks nobody.
Source: RFC 8816 section 10 ("initial deployments will provision the location of the CPS").
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from pbx_stir.errors import ConfigurationError, Malformed
from pbx_stir.stir.sealing import check_public_key

MOST_CPS: Final = 4
MOST_PINNED_KEYS: Final = 8
MOST_HIDDEN_DIGITS: Final = 8

_MOST_DIGITS = 15
_MOST_URL = 2048


class Sealing(Enum):
    """Whether PASSporTs are sealed to the called party's key. Only configuration may say NONE."""

    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Route:
    """The CPSs of all numbers with one prefix.

    ``prefix`` is canonical digits, empty for every number; ``cps`` are one to four URLs, https or,
    on loopback, http. ``keys`` are raw X25519 public keys that are taken instead of records.
    ``hidden_digits``: how many of a number's last digits the look-up of its records leaves out.
    ``signed`` is whether unsealed submissions carry a signed request.
    Raises ``ConfigurationError`` when made otherwise.
    """

    prefix: str
    cps: tuple[str, ...]
    sealing: Sealing = Sealing.REQUIRED
    keys: tuple[bytes, ...] = ()
    signed: bool = True
    hidden_digits: int = 0

    def __post_init__(self) -> None:
        name = f"route {self.prefix!r}"
        digits = not self.prefix or (self.prefix.isascii() and self.prefix.isdigit())
        if not digits or len(self.prefix) > _MOST_DIGITS:
            raise ConfigurationError(
                f"{name}: a prefix is up to {_MOST_DIGITS} digits", hint='such as "+1646"'
            )
        check_cps(self.cps, name)
        if len(self.keys) > MOST_PINNED_KEYS or len(set(self.keys)) != len(self.keys):
            raise ConfigurationError(f"{name}: at most {MOST_PINNED_KEYS} keys, each once")
        if self.keys and self.sealing is Sealing.NONE:
            raise ConfigurationError(
                f"{name} has keys, but sealing = none", hint="remove one of the two"
            )
        for key in self.keys:
            try:
                check_public_key(key)
            except Malformed as error:
                raise ConfigurationError(f"{name}: {error}") from error
        if not 0 <= self.hidden_digits <= MOST_HIDDEN_DIGITS:
            raise ConfigurationError(
                f"{name}: hidden_digits is 0 to {MOST_HIDDEN_DIGITS}",
                hint="4 asks for ten thousand numbers at once",
            )

    def asked(self, number: str) -> str:
        """The prefix under which the records of ``number`` are asked for; empty: the number itself.

        It is never shorter than the route's own, nor than one digit.
        """
        if not self.hidden_digits:
            return ""
        return number[: max(len(number) - self.hidden_digits, len(self.prefix), 1)]


@dataclass(frozen=True, slots=True)
class Served:
    """Numbers of our own, and the CPSs where others store for them: sealed, or ``bare``.

    One of the two may be empty. Raises ``ConfigurationError`` when made otherwise.
    """

    numbers: Container[str]
    cps: tuple[str, ...]
    bare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for urls in (self.cps, self.bare):
            if urls or not (self.cps or self.bare):
                check_cps(urls, "our own numbers")


class Routes:
    """All routes, and which CPSs serve our own numbers."""

    def __init__(self, routes: Iterable[Route] = (), served: Sequence[Served] = ()) -> None:
        """Raises ``ConfigurationError`` for two routes of one prefix, or a CPS of both kinds."""
        self._by_prefix: dict[str, Route] = {}
        self._served = tuple(served)
        for route in routes:
            if route.prefix in self._by_prefix:
                raise ConfigurationError(
                    f"two routes have the prefix {route.prefix!r}", hint="join their cps lists"
                )
            self._by_prefix[route.prefix] = route
        self._longest = max(map(len, self._by_prefix), default=0)
        self.sealed_cps = self._cps(Sealing.REQUIRED).union(*(one.cps for one in self._served))
        self.bare_cps = self._cps(Sealing.NONE).union(*(one.bare for one in self._served))
        for url in sorted(self.sealed_cps & self.bare_cps):
            raise ConfigurationError(
                f"{url} takes sealed and unsealed passports", hint="one URL is for one of the two"
            )

    def route(self, number: str) -> Route | None:
        """The route with the longest prefix of ``number`` (canonical), or None."""
        for length in range(min(self._longest, len(number)), -1, -1):
            route = self._by_prefix.get(number[:length])
            if route is not None:
                return route
        return None

    def own_cps(self, number: str) -> tuple[str, ...]:
        """The CPSs to ask for ``number``, one of ours: those it is served by, else its route's.

        Of both kinds; ``bare_cps`` has those whose PASSporTs are not sealed.
        """
        for served in self._served:
            if number in served.numbers:
                return served.cps + served.bare
        route = self.route(number)
        return route.cps if route is not None else ()

    def unsigned_cps(self) -> frozenset[str]:
        """The CPSs of unsealed PASSporTs to which nothing is signed."""
        routes = self._by_prefix.values()
        return frozenset(url for one in routes if not one.signed for url in one.cps)

    def _cps(self, sealing: Sealing) -> frozenset[str]:
        routes = self._by_prefix.values()
        return frozenset(url for one in routes if one.sealing is sealing for url in one.cps)


def check_cps(cps: Sequence[str], name: str) -> None:
    """Refuse a list of CPS URLs that cannot be used; ``name`` says whose it is.

    These are the administrator's own: host, port and address are not judged, except that http is
    for loopback only. Raises ``ConfigurationError``.
    """
    if not 1 <= len(cps) <= MOST_CPS or len(set(cps)) != len(cps):
        raise ConfigurationError(f"{name}: cps is a list of 1 to {MOST_CPS} URLs, each once")
    for url in cps:
        if not _is_usable(url):
            raise ConfigurationError(
                f"{name}: {url[:200]!r} is no URL of a call placement service",
                hint="https://HOST[:PORT], without user, query or fragment; http on loopback only",
            )


def _is_usable(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > _MOST_URL:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port_is_right = parts.port != 0
    except ValueError:
        return False
    plain = "@" not in parts.netloc and "?" not in url and "#" not in url and "\\" not in url
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    return bool(host) and port_is_right and plain and secure


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
