"""Gives metrics in the text format that Prometheus reads, over HTTP on a port of their own.

Takes sources, each of which is asked whenever somebody reads. ``process_*`` (memory, processor
time, open files, start) is there besides. Needs the extra ``metrics``.

The process has calls to serve: connections are bounded by the same doors as a CPS's, a request must
come whole, and an answer be taken, in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from pbx_stir.cps.accepting import Acceptor, Doors
from pbx_stir.cps.answers import BODY_SECONDS
from pbx_stir.cps.limits import Places
from pbx_stir.errors import ConfigurationError
from pbx_stir.listening import Listener

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_CONNECTIONS: Final = 48
MOST_CONNECTIONS_OF_A_PEER: Final = 16
log = logging.getLogger(__name__)


class Source(Protocol):
    """What has metrics."""

    async def families(self) -> Sequence[Metric]:
        """Give each metric as it stands. Waits for nobody but a thread that reads local files."""
        ...


class _Given:
    """Families as prometheus_client collects them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Give them."""
        return self._families


async def page(sources: Sequence[Source]) -> bytes:
    """The whole text, in UTF-8. A source that fails is left out, and said in the log."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    for source in sources:
        try:
            families = await source.families()
        except Exception:
            log.exception("metrics could not be read")
            continue
        registry.register(_Given(families))
    return generate_latest(registry)


@contextlib.asynccontextmanager
async def serving(host: str, port: int, *sources: Source) -> AsyncIterator[str]:
    """Serve ``/metrics`` as long as the context lasts; give its URL.

    Raises ``ConfigurationError`` where the extra is missing or the port is taken.
    """
    check_extra()

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await _sent(request, await page(sources))

    application = web.Application(client_max_size=1)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    with contextlib.closing(Listener(host, port, "metrics")) as listener:
        await runner.setup()
        try:
            if runner.server is None:
                raise RuntimeError("the runner is not set up")
            places = Places(MOST_CONNECTIONS, MOST_CONNECTIONS_OF_A_PEER)
            doors = Doors(places, None)
            acceptor = Acceptor(runner.server, listener.socket, lambda: None, doors)
            acceptor.start()
            try:
                yield f"{listener.url(tls=False)}/metrics"
            finally:
                await acceptor.close()
        finally:
            await runner.cleanup()


async def _sent(request: web.Request, body: bytes) -> web.StreamResponse:
    """Send ``body`` to who takes it in time, and hang up on who does not."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    response.content_length = len(body)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await response.prepare(request)
            if request.transport is not None:
                # what is not with the system yet is not sent
                request.transport.set_write_buffer_limits(0)
            await response.write(b"" if request.method == "HEAD" else body)
            await response.write_eof()
            await request.writer.drain()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


def check_extra() -> None:
    """Raise ``ConfigurationError`` where prometheus-client is missing."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "metrics need prometheus-client", hint="pip install 'pbx-stir[metrics]'"
        ) from error
