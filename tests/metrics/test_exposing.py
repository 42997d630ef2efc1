"""Tests of pbx_stir.metrics.exposing: what Prometheus reads, and what it never does."""

from __future__ import annotations

import socket
import sys

import aiohttp
import pytest

from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.tally import Tally
from pbx_stir.errors import ConfigurationError
from pbx_stir.metrics import exposing
from pbx_stir.metrics.tally import TallySource

NUMBER = "12125551234"


async def test_what_a_cps_answered_is_counted() -> None:
    """Answers are there by resource, method and status; numbers and what peers wrote are not."""
    tally = Tally()
    settings = CpsSettings(port=0, tls=False, tokens=False)
    async with (
        exposing.serving("127.0.0.1", 0, TallySource(tally)) as told,
        listening(settings, tally=tally) as url,
        aiohttp.ClientSession() as session,
    ):
        for method, path in (
            ("GET", f"/cps/{NUMBER}/ppts"),
            ("GET", f"/cps/{NUMBER}/ppts"),
            ("POST", f"/cps/{NUMBER}/ppts"),
            ("DELETE", f"/cps/{NUMBER}/ppts"),
            ("GET", "/cps/x/ppts"),
            ("GET", "/nothing-here"),
        ):
            async with session.request(method, url + path):
                pass
        async with session.get(told) as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            text = await response.text()
    name = "pbx_stir_cps_requests_total"
    assert f'{name}{{method="GET",resource="collection",status="200"}} 2.0' in text
    assert f'{name}{{method="POST",resource="collection",status="415"}} 1.0' in text
    assert f'{name}{{method="other",resource="collection",status="405"}} 1.0' in text
    assert f'{name}{{method="GET",resource="none",status="404"}} 1.0' in text
    assert f'{name}{{method="GET",resource="none",status="400"}} 1.0' in text
    assert "pbx_stir_cps_connections 1.0" in text
    assert "pbx_stir_cps_entries 0.0" in text
    for private in (NUMBER, "DELETE", "127.0.0.1", "nothing-here"):
        assert private not in text


async def test_a_port_that_is_taken() -> None:
    """Where somebody else listens is said; the service that follows may listen there too."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigurationError, match="listen"),
    ):
        async with exposing.serving("127.0.0.1", other.getsockname()[1]):
            pass
    async with exposing.serving("127.0.0.1", 0) as told:
        port = int(told.rpartition(":")[2].partition("/")[0])
        async with exposing.serving("127.0.0.1", port) as second:
            assert second == told


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where prometheus-client is missing, what to install is said."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match="metrics"):
        async with exposing.serving("127.0.0.1", 0):
            pass
