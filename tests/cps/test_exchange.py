"""Tests of pbx_stir.cps.exchange: connections for one purpose, and what is read of answers."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from pbx_stir.cps.exchange import Exchange, Reply, expect, failures_mapped
from pbx_stir.errors import CpsRefused, CpsUnavailable, MalformedAnswer

from .other_cps import answering, http

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
SAID = 784111777.0


async def sent(exchange: Exchange, url: str, method: str = "GET") -> Reply:
    """One request."""
    async with exchange.deadline(time.monotonic() + 5):
        body = b"x" if method == "POST" else None
        return await exchange.send(exchange.origin(url), method, "/path", body, "a/b")


@pytest.mark.parametrize(
    ("ours", "moved"),
    [(0, 0), (-1.5, 0), (14, 0), (100, -90), (-20, 30), (600, -600), (601, 0), (-7_777_777, 0)],
)
async def test_a_wrong_clock_is_set_by_the_cps(ours: float, moved: float) -> None:
    """A clock that is off is corrected for that CPS, from its last Date, in steps where nobody is
    named; a Date that is too far away is not believed."""
    exchange = Exchange(allow_plain=True, now=lambda: SAID + 0.5 + ours)
    async with answering(lambda _: http(b"", "200 OK", DATE)) as url:
        origin = exchange.origin(url)
        assert exchange.time_at(origin) == SAID + 0.5 + ours
        reply = await sent(exchange, url)
        assert reply.clock_offset == pytest.approx(-ours)
        assert exchange.unnamed_time_at(origin) == pytest.approx(SAID + 0.5 + ours + moved)
        named = SAID + 0.5 if abs(ours) <= 600 else SAID + 0.5 + ours
        assert exchange.time_at(origin) == pytest.approx(named)
        # another CPS's clock is another matter
        assert exchange.time_at(exchange.origin("http://127.0.0.1:1")) == SAID + 0.5 + ours
    await exchange.close()


async def test_a_lying_cps_has_few_marks() -> None:
    """Whatever Date it gives, what is sent to it next has one of a few times."""
    moment = 1.75e9
    lies = [*range(-700, 700, 3), 1e6, -1e6]
    exchange = Exchange(allow_plain=True, now=lambda: moment)
    seen = set()
    dates = (formatdate(moment + lie, usegmt=True) for lie in lies)
    async with answering(lambda _: http(b"", "200 OK", f"Date: {next(dates)}")) as url:
        for _ in lies:
            await sent(exchange, url)
            seen.add(exchange.unnamed_time_at(exchange.origin(url)) - moment)
    await exchange.close()
    assert seen == {30.0 * step for step in range(-20, 21)}


async def test_a_date_that_is_not_believed_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """It may be our own clock that is wrong: the administrator learns of it."""
    exchange = Exchange(allow_plain=True, now=lambda: SAID + 7200.5)
    async with answering(lambda _: http(b"", "200 OK", DATE)) as url:
        for _ in range(3):
            await sent(exchange, url)
    await exchange.close()
    (told,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "7200 s behind ours" in told


async def test_one_exchange_does_not_learn_from_another() -> None:
    """What a CPS says to one purpose's connections must not show on another's."""
    one, two = (Exchange(allow_plain=True, now=lambda: SAID + 300.5) for _ in range(2))
    async with answering(lambda _: http(b"", "200 OK", DATE)) as url:
        await sent(one, url)
        assert one.time_at(one.origin(url)) == pytest.approx(SAID + 0.5)
        assert two.time_at(two.origin(url)) == SAID + 300.5
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("", 0), ("7", 7), ("-7", 0), ("٣", 0), ("1" * 9, 86_400), ("9" * 30, 0), (DATE[6:], 0)],
)
async def test_retry_after_is_read(value: str, seconds: int) -> None:
    """Seconds, bounded; anything else says nothing."""
    exchange = Exchange(allow_plain=True)
    answer = http(b"", "429 Many", f"Retry-After: {value}")
    async with answering(lambda _: answer.decode("latin-1").encode("latin-1")) as url:
        reply = await sent(exchange, url)
    await exchange.close()
    assert reply.retry_after == seconds
    with pytest.raises(CpsRefused) as refused:
        expect(reply, 200)
    assert refused.value.retry_after == seconds


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_what_was_sent_twice_says_so(method: str) -> None:
    """After a kept connection was closed under a request its answer is known for the second one."""
    requests = []

    def reply(request: bytes) -> bytes | None:
        requests.append(request)
        return None if len(requests) == 2 else http(b"")

    exchange = Exchange(allow_plain=True)
    async with answering(reply) as url:
        assert not (await sent(exchange, url, method)).resent
        assert (await sent(exchange, url, method)).resent
    await exchange.close()
    assert len(requests) == 3


@pytest.mark.parametrize("keep", [True, False])
async def test_connections_are_kept_or_not(keep: bool) -> None:
    """With ``keep`` one connection serves several requests; without, each has its own."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(http(b""))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    exchange = Exchange(allow_plain=True, keep=keep)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for _ in range(3):
            await sent(exchange, url)
        await exchange.close()
        await asyncio.sleep(0)
    assert connections == (1 if keep else 3)


def test_whatever_is_raised_is_unavailable() -> None:
    """Foreign exceptions end here; ours go through as they are."""
    for error in (ValueError("a\nb"), TimeoutError(), RuntimeError(), OSError("x" * 1000)):
        with pytest.raises(CpsUnavailable) as mapped, failures_mapped():
            raise error
        assert "\n" not in mapped.value.message
        assert len(mapped.value.message) < 200
    with pytest.raises(MalformedAnswer), failures_mapped():
        raise MalformedAnswer("ours")


async def test_a_url_with_the_wrong_scheme_is_said_in_words() -> None:
    """https where plain HTTP is spoken: said so, and not in the words of a TLS library."""

    async def speaks_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(16)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speaks_plainly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    exchange = Exchange(allow_plain=True)
    async with server:
        with pytest.raises(CpsUnavailable, match="speaks no TLS, as if it were http"):
            await sent(exchange, f"https://127.0.0.1:{port}")
    with pytest.raises(CpsUnavailable, match=f"cannot connect to 127.0.0.1:{port}: ") as mapped:
        await sent(exchange, f"http://127.0.0.1:{port}")
    assert "ssl" not in mapped.value.message
    await exchange.close()
