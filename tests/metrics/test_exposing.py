"""Tests of pbx_stir.metrics.exposing: what Prometheus reads, and what it never does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any

import aiohttp
import pytest

from pbx_stir.cps import accepting
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


def port_of(url: str) -> int:
    """Where it is served."""
    return int(url.rpartition(":")[2].partition("/")[0])


async def test_places_and_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of hundreds of requests that are never finished a few dozen wait, and those not for long."""
    monkeypatch.setattr(accepting, "HEAD_SECONDS", 2.0)
    async with (
        exposing.serving("127.0.0.1", 0) as told,
        contextlib.AsyncExitStack() as opened,
        asyncio.timeout(30),
    ):
        endings = []
        for _ in range(300):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(told))
            opened.callback(writer.close)
            writer.write(b"GET /metrics HTTP/1.1\r\n")
            endings.append(asyncio.create_task(_ended(reader)))
        ended = 300 - exposing.MOST_CONNECTIONS
        for one in asyncio.as_completed(endings):
            await one
            ended -= 1
            if not ended:
                break
        assert len([one for one in endings if not one.done()]) <= exposing.MOST_CONNECTIONS
        await asyncio.gather(*endings)
        async with aiohttp.ClientSession() as session, session.get(told) as response:
            assert "process_open_fds" in await response.text()


async def _ended(reader: asyncio.StreamReader) -> None:
    """Wait until the other side hangs up."""
    with contextlib.suppress(OSError):
        assert await reader.read() == b""


async def test_who_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes ends with its connection."""

    left = asyncio.Event()

    async def endless(_: object) -> bytes:
        return bytes(50_000_000)

    async def sent(*given: Any) -> Any:
        try:
            return await sending(*given)
        finally:
            left.set()

    sending = exposing._sent
    monkeypatch.setattr(exposing, "_sent", sent)
    monkeypatch.setattr(exposing, "page", endless)
    monkeypatch.setattr(exposing, "BODY_SECONDS", 0.2)
    async with exposing.serving("127.0.0.1", 0) as told, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(told), limit=1_000)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        # its own reader takes a few thousand octets, and then waits to be asked
        await left.wait()
        with contextlib.suppress(OSError):
            assert len(await reader.read()) < 50_000_000
        writer.close()


async def test_only_its_own_page() -> None:
    """HEAD has no body; nothing else is served, and nothing is taken."""
    async with exposing.serving("127.0.0.1", 0) as told, aiohttp.ClientSession() as session:
        async with session.head(told) as response:
            assert (response.status, await response.read()) == (200, b"")
        for method, path, status in (("POST", "", 405), ("GET", "x", 404)):
            async with session.request(method, told + path, data=b"x" * 99_999) as response:
                assert response.status == status


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where prometheus-client is missing, what to install is said."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match="metrics"):
        async with exposing.serving("127.0.0.1", 0):
            pass
