"""Gives metrics in the text format that Prometheus reads, over HTTP on a port of their own.

Takes sources, each of which is asked whenever somebody reads. ``process_*`` (memory, processor
time, open files, start) is there besides. Needs the extra ``metrics``.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from pbx_stir.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
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

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=await page(sources), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        # during an upgrade the service that follows begins before this one ends
        site = web.TCPSite(runner, host, port, reuse_port=True)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot listen on {host}:{port}: {error.strerror or error}",
                hint="another process may have the port",
            ) from error
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"http://{shown}:{bound[1]}/metrics"
    finally:
        await runner.cleanup()


def check_extra() -> None:
    """Raise ``ConfigurationError`` where prometheus-client is missing."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "metrics need prometheus-client", hint="pip install 'pbx-stir[metrics]'"
        ) from error
