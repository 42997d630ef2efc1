"""The URL of a CPS: where its paths are, and whether a stranger chose it.

Takes URLs from configurations and records, and hrefs from lists; gives URLs to fetch. Pure. The
rule for a stranger's URL is ``stir.x5u``'s, the same for everything a stranger chose.
Source: RFC 9888 section 4 ("CPS URIs MUST be HTTPS URIs").
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from yarl import URL

from pbx_stir.errors import UrlRefused
from pbx_stir.stir.x5u import EgressRule, check_url

_MAX_URL = 2048


@dataclass(frozen=True, slots=True)
class CpsUrl:
    """A CPS's base URL without its trailing slash, and its origin.

    ``guarded``: a stranger chose it, so that only global addresses may be connected to.
    """

    base: str
    origin: str
    guarded: bool

    @property
    def host(self) -> str:
        """Its host name in lower case, without port and brackets: what a token is bound to."""
        return urlsplit(self.origin).hostname or ""

    def url(self, path: str) -> URL:
        """Give the URL of one of our own paths below the base, or of one from ``path_of``."""
        text = path if path.startswith(self.origin) else self.base + path
        return URL(text, encoded=True)

    def path_of(self, href: str) -> str:
        """Turn an href from this CPS's list into a URL; ``UrlRefused`` where it leads elsewhere."""
        if href.startswith("/") and not href.startswith("//"):
            return self.origin + href
        if href.startswith(self.origin + "/"):
            return href
        raise UrlRefused("a list's href leads to another origin")


def parse_cps_url(
    text: str, *, allow_plain: bool = False, egress: EgressRule | None = None
) -> CpsUrl:
    """Read a CPS's URL: https, or with ``allow_plain`` http to loopback; it may have a path.

    Without an ``egress`` rule it counts as configured. Raises ``UrlRefused``.
    """
    return _parsed(text, allow_plain, egress)


# the same few with every call
@lru_cache(maxsize=256)
def _parsed(text: str, allow_plain: bool, egress: EgressRule | None) -> CpsUrl:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UrlRefused(f"not a url of a cps: {text[:64]!r}") from error
    if not _is_plain_text(text) or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise UrlRefused(f"not a url of a cps: {text[:64]!r}")
    if "//" in parts.path or "\\" in text:
        raise UrlRefused(f"not a url of a cps: {text[:64]!r}")
    is_local = parts.scheme == "http" and allow_plain and is_loopback(host)
    if parts.scheme != "https" and not is_local:
        raise UrlRefused(f"the url of a cps is not https: {text[:64]!r}")
    guarded = False
    if egress is not None and not is_local:
        guarded = not check_url(text, egress).is_configured
    base = _base(parts, host, port)
    return CpsUrl(base + parts.path.rstrip("/"), base, guarded)


def is_loopback(host: str) -> bool:
    """Say whether a host to listen on, or to connect to, is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_plain_text(text: str) -> bool:
    """Say whether a URL is of visible ASCII, and not too long."""
    return len(text) <= _MAX_URL and all(0x21 <= ord(each) <= 0x7E for each in text)


def _base(parts: SplitResult, host: str, port: int | None) -> str:
    """Write scheme, host and port the one way."""
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")
