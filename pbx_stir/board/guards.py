"""What every request passes: the Host header, where a form came from, and what browsers are told.

The page shows who calls whom to whoever can read it. A web page of a stranger's, open in the same
browser, must not: it can point a name of its own at this address (DNS rebinding), and it can send
forms. Nothing of the page runs that is not a file of ours.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from pbx_stir.cps.answers import SERVER_NAME

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
# no-referrer would have browsers send "Origin: null" with our own forms
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Server": SERVER_NAME,
}
METHODS: Final = frozenset({"GET", "HEAD", "POST"})


def host_of(header: str) -> str:
    """The host of a Host header in lower case, IPv6 in brackets; "" for what is none."""
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.netloc != header or "@" in header or parts.path:
        return ""
    return f"[{host}]" if ":" in host else host


def is_our_own(request: web.Request) -> bool:
    """Whether a form was sent by a page of this board, as far as the browser says.

    Every browser sends Origin with a form; what sends none is no browser that a stranger's page
    could use.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    # behind a proxy the scheme that the browser sees is not the one we see
    host = request.host.lower()
    return origin.lower() in {f"http://{host}", f"https://{host}"}


def guard(hosts: frozenset[str]) -> Middleware:
    """A middleware that answers under ``hosts`` alone, and gives every answer its headers."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if host_of(request.headers.get("Host", "")) not in hosts:
            text = "The board does not answer under this name. See names of [board].\n"
            return web.Response(status=421, text=text)
        if request.method not in METHODS:
            return web.Response(status=405, text="Only GET and POST.\n", headers={"Allow": "GET"})
        return await handler(request)

    return guarded


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer what browsers are to be told with it; a signal of aiohttp's."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
