"""The egress rule: which URL that a stranger chose may be fetched at all.

Takes an x5u, a CPS URL out of a record or any other URL from outside, gives it taken apart, or
UrlRefused. It resolves nothing and opens nothing: whoever connects asks ``is_global_address`` once
more for the address that the socket really got, since a name may resolve to anything.

An origin that the configuration names is not a stranger's: the rules on host, port and address do
not apply to it, those on form do.

Source: RFC 3986, RFC 5890 (A-labels), RFC 8226 section 8 and RFC 8816 section 11 on what following
a stranger's URL gives away; the address registries of RFC 6890 and the transition mechanisms of
RFC 4291 section 2.5.5, RFC 6052, RFC 3056, RFC 4380 and RFC 5214.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from pbx_stir.errors import UrlRefused

MAX_OCTETS: Final = 2_048
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

# RFC 3986's unreserved, sub-delims, ":" and "@", percent escapes and "/"; nothing else is in a path
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([1-9][0-9]{0,4}))?")
_PRINTABLE: Final = re.compile(r"[!-~]*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# what inet_aton and some browsers take for an IPv4 address: 127.1, 2130706433, 0x7f.1, 0177.0.0.1
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_NOT_GLOBAL: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
            "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
            "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
        ),
    )
)  # fmt: skip
# what IANA has given out to be routed; all else, fec0::/10 among it, is not on the Internet
_GLOBAL_UNICAST_6: Final = ipaddress.IPv6Network("2000::/3")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Where we go for a stranger.

    ``ports`` and ``schemes`` bind every URL but those of ``origins``: (host, port) pairs that the
    configuration names, host in small letters without brackets. A scheme must be allowed for these,
    too.
    """

    ports: frozenset[int] = frozenset({443, 8443})
    schemes: frozenset[str] = frozenset({"https"})
    origins: frozenset[tuple[str, int]] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that may be fetched.

    ``url``: normalised (scheme and host in small letters, default port left out, "/" for an empty
    path): what to fetch and to cache under. ``host``: without brackets. ``path``: as it stood.
    ``is_configured``: one of the rule's origins, so the address it resolves to is free.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str
    is_configured: bool


def check_url(url: str, rule: EgressRule) -> CheckedUrl:
    """Take a URL apart where the rule allows it; raises UrlRefused.

    Allowed are at most 2,048 octets of printable ASCII, without backslash, userinfo, query and
    fragment; a DNS name of at least two labels (A-labels must be valid), without a dot at the end,
    or an IP literal in its one usual form, globally routable. Names that are never public
    (localhost, .local, .internal and the like) are refused.
    """
    if len(url) > MAX_OCTETS:
        raise UrlRefused(f"URL of more than {MAX_OCTETS} octets")
    if not _PRINTABLE.fullmatch(url):
        raise UrlRefused("URL has blanks, control or non-ASCII characters")
    if any(mark in url for mark in '?#\\"<>^`{|}'):
        raise UrlRefused(f"URL {_shown(url)} has a query, a fragment or forbidden characters")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise UrlRefused(f"{_shown(url)} is not a URL with a host")
    scheme, authority, path = parts[1].lower(), parts[2], parts[3]
    if scheme not in rule.schemes:
        raise UrlRefused(f"scheme {scheme[:20]!r} is not allowed")
    if "@" in authority:
        raise UrlRefused("URL has a user name before its host")
    place = _AUTHORITY.fullmatch(authority)
    if place is None or not _PATH.fullmatch(path):
        raise UrlRefused(f"{_shown(url)} is not a URL")
    port = int(place[2]) if place[2] else _DEFAULT_PORTS.get(scheme, 0)
    if not 0 < port < 65_536:
        raise UrlRefused(f"port {port} does not exist")
    host = _one_form(place[1].lower())
    is_configured = (host, port) in rule.origins
    if not is_configured:
        if port not in rule.ports:
            raise UrlRefused(f"port {port} is not allowed")
        _check_host(host, is_bracketed=place[1].startswith("["))
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    normal = f"{scheme}://{shown_host}{shown_port}{path or '/'}"
    return CheckedUrl(normal, scheme, host, port, path, is_configured)


def _one_form(host: str) -> str:
    """Give a host without brackets, an IPv6 address in its one short form."""
    if not host.startswith("["):
        return host
    try:
        return str(ipaddress.IPv6Address(host[1:-1]))
    except ValueError as error:
        raise UrlRefused(f"{_shown(host)} is not an IPv6 address") from error


# names that never lead to a stranger's server on the Internet, only to our own network
# (RFC 6761, RFC 6762, RFC 8375, RFC 9476, and what ICANN keeps for private use)
_PRIVATE_SUFFIXES: Final = (
    "localhost", "local", "internal", "localdomain", "lan", "home", "corp", "intranet", "private",
    "onion", "alt", "home.arpa", "in-addr.arpa", "ip6.arpa",
)  # fmt: skip


def _check_host(host: str, *, is_bracketed: bool) -> None:
    """Refuse a host that is neither a public DNS name nor a globally routable address."""
    if is_bracketed or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        # what anyone takes for an address must be one in the form that we understand
        if not is_global_address(host):
            raise UrlRefused(f"address {_shown(host)} is not globally routable")
        return
    labels = host.split(".")
    if len(host) > 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise UrlRefused(f"host {_shown(host)} is not a public DNS name")
    for label in labels:
        if label[2:4] == "--" and not _is_a_label(label):
            raise UrlRefused(f"host {_shown(host)} has an invalid A-label")
    if any(host.endswith("." + suffix) for suffix in _PRIVATE_SUFFIXES):
        raise UrlRefused(f"host {_shown(host)} is not a public DNS name")


def _is_a_label(label: str) -> bool:
    """Tell whether a label with hyphens in third and fourth place is an A-label (RFC 5890)."""
    if not label.startswith("xn--"):
        return False
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    # a U-label is lower-case, composed, and of letters, marks and digits (RFC 5892, roughly)
    if decoded.isascii() or decoded != unicodedata.normalize("NFC", decoded.lower()):
        return False
    if any(not one.isascii() and unicodedata.category(one)[0] not in "LMN" for one in decoded):
        return False
    return "xn--" + decoded.encode("punycode").decode("ascii") == label


def is_global_address(text: str) -> bool:
    """Tell whether an address literal is one that the whole Internet routes to one host.

    False for loopback, private, link-local, shared (CGNAT), multicast, reserved, documentation and
    benchmarking addresses, for every IPv6 address outside 2000::/3, for a scope id, and for text
    that is no address. An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, ISATAP) must be
    global itself; Teredo, IPv4-compatible and local-use NAT64 addresses are refused. Never raises.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_GLOBAL if network.version == 4)
    if address.scope_id is not None:
        return False
    value = int(address)
    if address in _MAPPED or address in _NAT64:
        return is_global_address(str(ipaddress.IPv4Address(value & 0xFFFFFFFF)))
    if address not in _GLOBAL_UNICAST_6:
        return False
    if any(address in network for network in _NOT_GLOBAL if network.version == 6):
        return False
    if address in _SIX_TO_FOUR:
        return is_global_address(str(ipaddress.IPv4Address(value >> 80 & 0xFFFFFFFF)))
    if value >> 32 & 0xFFFFFFFF in _ISATAP:
        return is_global_address(str(ipaddress.IPv4Address(value & 0xFFFFFFFF)))
    return True


def _shown(text: str) -> str:
    """Give a stranger's text as a message may show it: quoted, escaped, cut."""
    return ascii(text[:80])
