"""Metrics of a CPS for Prometheus, on a port of their own.

Takes a ``Tally``, gives it in the text format that Prometheus reads. Labels come from closed lists:
no number, no peer and nothing that a peer wrote is among them. Needs the extra ``metrics``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from aiohttp import web

from pbx_stir.errors import ConfigurationError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from pbx_stir.cps.tally import Tally

PREFIX = "pbx_stir_cps"


class TallyCollector:
    """Gives a tally to prometheus_client."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Give each counter and gauge as it stands."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        requests = CounterMetricFamily(
            f"{PREFIX}_requests",
            "Answers by resource, method and status.",
            labels=("resource", "method", "status"),
        )
        for (resource, method, status), count in sorted(self._tally.requests.items()):
            requests.add_metric((resource, method, str(status)), count)
        yield requests
        events = CounterMetricFamily(
            f"{PREFIX}_events", "What else happened, by name.", labels=("event",)
        )
        for name, count in sorted(self._tally.events.items()):
            events.add_metric((name,), count)
        yield events
        for name, gauge in sorted(self._tally.gauges.items()):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", f"{name} now.", value=gauge())


@contextlib.asynccontextmanager
async def serving(host: str, port: int, tally: Tally) -> AsyncIterator[str]:
    """Serve ``/metrics`` as long as the context lasts; give its URL.

    Raises ``ConfigurationError`` where the extra is missing or the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError as error:
        raise ConfigurationError(
            "metrics need prometheus-client", hint="pip install 'pbx-stir[metrics]'"
        ) from error
    registry = CollectorRegistry()
    registry.register(TallyCollector(tally))

    async def metrics(_request: web.Request) -> web.Response:
        text = generate_latest(registry)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"metrics cannot listen on {host}:{port}: {error.strerror or error}",
                hint="another process may have the port",
            ) from error
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}/metrics"
    finally:
        await runner.cleanup()
