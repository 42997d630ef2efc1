"""DNS for the CPS client: a lookup that hangs holds no thread that anybody waits for.

Takes host names; gives addresses in aiohttp's form. The system's resolver blocks for as long as it
likes (half a minute where a name server is black-holed), so that each lookup has a daemon thread of
its own, at most ``max_lookups`` of them, and one a name. Whoever waits may leave at any moment.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

MAX_LOOKUPS = 8
_Key = tuple[str, int, socket.AddressFamily]


class BoundedResolver(AbstractResolver):
    """Resolves with the system's resolver, in few threads. ``is_allowed`` judges each address.

    An address that is refused is left out; where none remains the name has no address for us. The
    connection goes to the very address that was judged, so that a name cannot change in between.
    """

    def __init__(
        self,
        *,
        is_allowed: Callable[[str], bool] | None = None,
        max_lookups: int = MAX_LOOKUPS,
        look_up: Callable[[str, int, socket.AddressFamily], list[str]] | None = None,
    ) -> None:
        self._is_allowed = is_allowed
        self._max_lookups = max_lookups
        self._look_up = look_up or _system_look_up
        self._running: dict[_Key, asyncio.Future[list[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the addresses of a name; ``OSError`` where there is none, or too much to do."""
        key = (host, port, family)
        future = self._running.get(key)
        if future is None:
            if len(self._running) >= self._max_lookups:
                raise OSError(errno.EAGAIN, "too many name lookups under way")
            future = self._begin(key)
        # Whoever leaves must not take the lookup from the others that wait for it.
        addresses = await asyncio.shield(future)
        if self._is_allowed is not None:
            addresses = [each for each in addresses if self._is_allowed(each)]
        if not addresses:
            raise OSError(errno.EHOSTUNREACH, "the name has no address that may be used")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Wait for nothing: the threads end with their lookups, or with the process."""

    def _begin(self, key: _Key) -> asyncio.Future[list[str]]:
        """Start a lookup in a thread that no executor counts or joins."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str]] = loop.create_future()
        self._running[key] = future

        def finish(found: list[str] | OSError) -> None:
            self._running.pop(key, None)
            if future.cancelled():
                return
            if isinstance(found, OSError):
                future.set_exception(found)
                # Nobody may be waiting any more: that is no unhandled error.
                future.exception()
            else:
                future.set_result(found)

        def work() -> None:
            found: list[str] | OSError
            try:
                found = self._look_up(*key)
            except OSError as error:
                found = error
            except Exception as error:
                # A name that idna refuses, and the like.
                found = OSError(errno.EINVAL, f"a name that cannot be: {type(error).__name__}")
            try:
                loop.call_soon_threadsafe(finish, found)
            except RuntimeError:
                # The loop has ended meanwhile.
                return

        threading.Thread(target=work, name="cps-lookup", daemon=True).start()
        return future


def _system_look_up(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
