"""Where a number's CPSs are, as DNS says it (ENUM, RFC 6116), where the configuration names a tree.

Takes canonical numbers, asks for the NAPTR records of their reversed digits below a configured
suffix, gives CPS URLs. Records are of the form::

    4.3.2.1.5.5.5.2.1.2.1.cps.example.net. NAPTR 100 10 "u" "E2U+pbx-stir-cps"
                                                 "!^.*$!https://cps.example.com!" .

Everything else is left out: other flags and services, expressions that are not the whole number,
substitutions that take parts of it, a replacement, URLs that are not https. Of those left the
lowest order counts alone, in the order of preference. A name that is another one's alias (CNAME) is
taken for no answer: whoever is delegated a number could point it at another's.

The tree's operator learns every number that is looked up, so an answer is kept as long as it says,
within bounds; and what is found is a stranger's word, as far as DNS can be believed: the URL is for
the client to judge, and the keys are in records that are checked. Needs dnspython (extra ``dns``).
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pbx_stir.certificates.single_flight import SingleFlight
from pbx_stir.directory.routes import MOST_CPS
from pbx_stir.errors import ConfigurationError, MalformedAdvertisement, Unavailable
from pbx_stir.stir.advertisement import check_cps_url

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

SERVICE: Final = "E2U+pbx-stir-cps"
LOOKUP_SECONDS: Final = 1.5
ATTEMPT_SECONDS: Final = 0.6
SHORTEST_SECONDS: Final = 60.0
LONGEST_SECONDS: Final = 3_600.0
NOTHING_SECONDS: Final = 300.0
FAILURE_SECONDS: Final = 30.0
MOST_NUMBERS: Final = 20_000
MOST_LOOKUPS: Final = 64
MOST_ANSWERS: Final = 16

_UDP_OCTETS: Final = 1_232
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_SUFFIX: Final = re.compile(rf"(?=.{{1,200}}\.?\Z){_LABEL}(?:\.{_LABEL})*\.?")
_SERVICE: Final = re.compile(r"E2U(?:\+[A-Za-z0-9][A-Za-z0-9:-]{0,31}){1,3}", re.IGNORECASE)
_WHOLE: Final = "^.*$"


@dataclass(frozen=True, slots=True)
class EnumSettings:
    """Which tree is asked, and how its records are known.

    ``nameservers`` are addresses, with a port ("192.0.2.53:5353", "[2001:db8::53]:5353") or
    without; none: those of the system. Raises ``ConfigurationError``.
    """

    suffix: str
    service: str = SERVICE
    nameservers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _SUFFIX.fullmatch(self.suffix.lower()):
            raise ConfigurationError(
                f"enum suffix {self.suffix[:80]!r} is no name", hint='such as "cps.example.net"'
            )
        if not _SERVICE.fullmatch(self.service):
            raise ConfigurationError(
                f"enum service {self.service[:80]!r} is none", hint=f'such as "{SERVICE}"'
            )
        for server in self.nameservers:
            address_of(server)


@dataclass(frozen=True, slots=True)
class Naptr:
    """One NAPTR record (RFC 3403 section 4.1), its texts as they stood."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What DNS said, good until ``expires`` (monotonic); ``failure`` where it said nothing."""

    cps: tuple[str, ...]
    expires: float
    failure: str = ""


class EnumDirectory:
    """Asks DNS, one question at a time a number, and keeps what it said."""

    def __init__(
        self, settings: EnumSettings, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``monotonic`` is the clock of every ``give_up_at``. Raises ``ConfigurationError``."""
        self._settings = settings
        self._monotonic = monotonic
        self._resolver = _resolver(settings.nameservers)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._flights: SingleFlight[str, None] = SingleFlight(most=MOST_LOOKUPS, clock=monotonic)

    async def cps(self, number: str, give_up_at: float) -> tuple[str, ...]:
        """Give the CPSs of ``number`` (canonical), none where DNS names none.

        Raises ``Unavailable`` where it does not answer, by ``give_up_at``.
        """
        known = self._recall(number)
        if known is None:
            await self._flights.join(number, lambda: self._look_up(number), give_up_at)
            known = self._recall(number)
        if known is None or known.failure:
            raise Unavailable(f"enum: {known.failure if known else 'forgotten again'}")
        return known.cps

    async def close(self) -> None:
        """Break off the look-ups under way."""
        await self._flights.close()

    def _recall(self, number: str) -> _Known | None:
        known = self._known.get(number)
        return None if known is None or self._monotonic() >= known.expires else known

    async def _look_up(self, number: str) -> None:
        """Ask, and remember what came of it. Never raises."""
        cps: tuple[str, ...] = ()
        failure = ""
        try:
            found, seconds = await self._ask(name_of(number, self._settings.suffix))
            cps = choose(found, self._settings.service)
            if not cps:
                seconds = NOTHING_SECONDS
        except Unavailable as error:
            failure, seconds = str(error), FAILURE_SECONDS
        self._known[number] = _Known(cps, self._monotonic() + seconds, failure)
        self._known.move_to_end(number)
        while len(self._known) > MOST_NUMBERS:
            self._known.popitem(last=False)

    async def _ask(self, name: str) -> tuple[list[Naptr], float]:
        """Get the NAPTR records of a name and the seconds to keep them; none where it has none."""
        import dns.exception
        import dns.name
        import dns.resolver

        asked = dns.name.from_text(name)
        try:
            # over TCP again where an answer was cut off, by the library
            answer = await self._resolver.resolve(
                asked, "NAPTR", lifetime=LOOKUP_SECONDS, search=False
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return [], NOTHING_SECONDS
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unavailable(f"{type(error).__name__}: no answer of dns") from error
        if answer.canonical_name != asked or answer.rrset is None:
            return [], NOTHING_SECONDS
        records = [
            Naptr(
                one.order,
                one.preference,
                _text(one.flags),
                _text(one.service),
                _text(one.regexp),
                one.replacement.to_text(),
            )
            for one in list(answer.rrset)[:MOST_ANSWERS]
        ]
        return records, min(max(float(answer.rrset.ttl), SHORTEST_SECONDS), LONGEST_SECONDS)


def name_of(number: str, suffix: str) -> str:
    """Write a number as a domain name (RFC 6116 section 3.2): digits reversed, a label each."""
    return ".".join(reversed(number)) + f".{suffix.strip('.')}."


def choose(records: Sequence[Naptr], service: str) -> tuple[str, ...]:
    """Give the URLs of the records of our service: lowest order, by preference, at most four."""
    usable = [
        (one.order, one.preference, url)
        for one in records
        if one.service.lower() == service.lower() and (url := _url(one)) is not None
    ]
    if not usable:
        return ()
    lowest = min(usable)[0]
    return tuple(dict.fromkeys(url for order, _, url in sorted(usable) if order == lowest))[
        :MOST_CPS
    ]


def address_of(server: str) -> tuple[str, int]:
    """Read the address and port of a name server. Raises ``ConfigurationError``."""
    host, port = server, "53"
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    try:
        ipaddress.ip_address(host)
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError
    except ValueError as error:
        raise ConfigurationError(
            f"name server {server[:80]!r} is no address", hint='such as "192.0.2.53"'
        ) from error
    return host, int(port)


def _url(record: Naptr) -> str | None:
    """Read what a terminal record says; None where it is of another form than ours."""
    # RFC 6116 section 3.4.1.1: flag "u", and then the replacement is not used
    if record.flags.lower() != "u" or record.replacement != "." or len(record.regexp) < 4:
        return None
    mark = record.regexp[0]
    if mark.isalnum() or mark == "\\":
        return None
    parts = record.regexp.split(mark)
    if len(parts) != 4 or parts[1] != _WHOLE or parts[3] not in {"", "i"}:
        return None
    try:
        check_cps_url(parts[2])
    except MalformedAdvertisement:
        return None
    return parts[2]


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "replace")


def _resolver(servers: Sequence[str]) -> Resolver:
    """Make the asynchronous resolver. Raises ``ConfigurationError``."""
    try:
        import dns.asyncresolver
        import dns.exception
        import dns.nameserver
    except ImportError as error:
        raise ConfigurationError(
            "enum needs dnspython", hint="pip install 'pbx-stir[dns]'"
        ) from error
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(*address_of(server)) for server in servers
            ]
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise ConfigurationError(
            f"enum has no name server: {error}", hint="name some in [enum] nameservers"
        ) from error
    # every answer is ours to keep, within our bounds
    resolver.cache = None
    resolver.timeout = ATTEMPT_SECONDS
    resolver.lifetime = LOOKUP_SECONDS
    resolver.use_edns(0, 0, _UDP_OCTETS)
    return resolver
