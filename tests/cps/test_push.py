"""Tests of pbx_stir.cps.push and subscriber: streams of events, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from pbx_stir.cps import push as push_module
from pbx_stir.cps import subscriber as subscriber_module
from pbx_stir.cps.dummies import Dummies
from pbx_stir.cps.listening import listening
from pbx_stir.cps.push import PushLimits
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import Entry, MemoryStore, Placed
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential

from .conftest import NOW, Authority, Run, Running, TlsFiles, sealed
from .signing import Asker, authorization

NUMBER = "12125551234"
SECOND = "12125551235"
OTHER = "16465550000"
PATH = f"/cps/{NUMBER}/ppts"
BULK = "/cps/1212*/ppts"


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has two numbers."""
    return authority.credential(NUMBER, SECOND)


async def add(cps: Running, number: str = NUMBER, seconds: float = 0.001) -> str:
    """Store one a little later; give its id."""
    cps.clock.moment += seconds
    return await cps.store.add(number, sealed(), cps.clock.moment)


@contextlib.asynccontextmanager
async def running(run: Run, authority: Authority, **settings: object) -> AsyncIterator[Running]:
    """A CPS that trusts the lab's authority."""
    async with run(anchors=lambda: authority.anchors, **settings) as cps:
        yield cps


async def gone(cps_url: str, asker: Asker, count: int) -> None:
    """Wait until so many streams can be had again."""
    async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            while True:
                try:
                    await stack.enter_async_context(asker.stream(PATH))
                    break
                except AssertionError:
                    await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", [PATH, BULK])
async def test_entries_come_as_they_arrive(
    run: Run, authority: Authority, company: Credential, path: str
) -> None:
    """What is alive comes first, oldest first, then each arrival once, whole and by itself."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        before = [await add(cps), await add(cps)]
        async with asker.stream(path) as stream:
            headers = stream.response.headers
            assert headers["Content-Type"] == "text/event-stream"
            assert (headers["Cache-Control"], headers["Server"]) == ("no-store", "pbx-stir")
            await stream.until(*before)
            after = [await add(cps), await add(cps)]
            came = await stream.until(*after)
            ids = [each.id for each in came if each.id in {*before, *after}]
            assert ids == [*before, *after]
            assert stream.octets.startswith(b"retry: 2000\n\nid: ")
            for each in came:
                assert each.href == f"/cps/{each.number}/ppts/{each.id}"
                assert sealing.looks_sealed(sealing.from_wire(each.wire))
                assert (await asker.ask(each.href))[2] == each.wire


async def test_a_prefix_brings_the_holder_s_numbers_alone(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Entries of other holders' numbers with the same prefix do not come, before or after."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        # between the holder's own numbers, and with all their digits but the last
        foreign = [await add(cps, f"{NUMBER[:-1]}9"), await add(cps, "12125559999")]
        first = await add(cps, SECOND)
        async with asker.stream("/cps/1*/ppts") as stream:
            await stream.until(first)
            foreign += [await add(cps, f"{NUMBER[:-1]}9"), await add(cps, "12125559999")]
            last = await add(cps)
            came = {each.id: each.number for each in await stream.until(last)}
            assert not set(foreign) & set(came)
            assert (came[first], came[last]) == (SECOND, NUMBER)


async def test_a_stream_goes_on_after_the_last_entry(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Last-Event-ID: what came after it, and a second before; an unknown one gives everything."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        stored = [await add(cps, seconds=0.9) for _ in range(4)]
        for last, expected in (
            (stored[1], [stored[0], *stored[2:]]),
            (stored[3], [stored[2]]),
            ("A" * 22, stored),
            ("", stored),
            ("\xff", stored),
        ):
            async with asker.stream(BULK, Last_Event_ID=last) as stream:
                came = [each.id for each in await stream.until(expected[-1])]
                assert [each for each in came if each in stored] == expected


async def test_a_dummy_can_be_resumed_after(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Where the last entry was a dummy, what came after it is known too."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        async with asker.stream(PATH) as stream:
            await stream.read_until(b"id: ")
            await stream.until(stream.came[-1].id)
            last = stream.came[-1].id
        real = await add(cps, seconds=2)
        async with asker.stream(PATH, Last_Event_ID=last) as stream:
            assert last not in {each.id for each in await stream.until(real)}


async def test_dummies_arrive_too(authority: Authority, company: Credential) -> None:
    """Where nothing is stored, dummies come, at the moment at which a list begins to show them."""
    settings = CpsSettings(
        port=0, tls=False, tokens=False, lifetime_seconds=5, anchors=lambda: authority.anchors
    )
    async with (
        listening(settings, now=lambda: NOW) as url,
        Asker(url, company) as asker,
        asker.stream(PATH) as stream,
    ):
        await stream.read_until(b"id: ")
        begun = json.loads((await asker.ask(PATH))[2])["ppts"]
        assert {each.href for each in stream.came} <= set(begun)
        async with asyncio.timeout(20):
            while len({each.href for each in stream.came} - set(begun)) < 2:
                await stream._read()
        ids = [each.id for each in stream.came]
        assert len(ids) == len(set(ids))
        newest = stream.came[-1]
        listed = json.loads((await asker.ask(PATH + "?expand=1"))[2])["ppts"]
        assert {"href": newest.href, "passport": newest.wire.decode()} in listed


async def test_a_stream_begins_with_what_a_list_shows(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Dummies and real entries are there from the beginning, as in a list or page."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        await add(cps)
        for path in (PATH, BULK):
            listed = json.loads((await asker.ask(path + "?expand=1"))[2])["ppts"]
            ids = {each["href"].rpartition("/")[2] for each in listed}
            assert len(ids) in (3, 4)
            async with asker.stream(path) as stream:
                assert {each.id for each in await stream.until(*ids)} == ids


async def test_what_arrives_while_it_is_looked_for_comes_once(
    run: Run, authority: Authority, company: Credential
) -> None:
    """An entry that is both in what was there and among the arrivals is told once."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        look = cps.store.entries
        stored = []

        async def entries(number: str, now: float) -> Sequence[Entry]:
            stored.append(await cps.store.add(number, sealed(), now))
            await asyncio.sleep(0)
            return await look(number, now)

        cps.store.entries = entries  # type: ignore[method-assign]
        async with asker.stream(PATH) as stream:
            await stream.until(stored[0])
            last = await add(cps)
            ids = [each.id for each in await stream.until(last)]
            assert ids.count(stored[0]) == 1


def test_what_is_coming_is_what_comes() -> None:
    """The dummy that is said to come next is the next that a look at the number shows."""
    dummies = Dummies(30)
    now = 1000.0
    for _ in range(50):
        entry = dummies.coming(NUMBER, now)
        assert entry.arrival > now
        before = {each.id for each in dummies.entries(NUMBER, entry.arrival - 0.000_01)}
        after = {each.id: each for each in dummies.entries(NUMBER, entry.arrival + 0.000_01)}
        assert after.keys() - before == {entry.id}
        assert after[entry.id].wire == entry.wire
        now = entry.arrival


async def test_nobody_and_the_wrong_holder_are_401(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Streams are for holders of the number; a list of the same resource is not refused."""
    async with running(run, authority) as cps:
        asked = {"Accept": "text/event-stream"}
        async with Asker(cps.url) as nobody, Asker(cps.url, company) as asker:
            for path in (PATH, BULK):
                status, headers, _ = await nobody.ask(path, **asked)
                assert (status, headers["WWW-Authenticate"]) == (401, "StirCredential")
            assert (await asker.ask(f"/cps/{OTHER}/ppts", **asked))[0] == 401
            assert (await asker.ask(f"/cps/{OTHER}/ppts"))[0] == 200


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("text/event-stream", True),
        ("text/event-stream, application/json;q=0.5", True),
        ("application/json, text/event-stream;q=0.5", False),
        ("text/event-stream;q=0", False),
        ("*/*", False),
        ("", False),
    ],
)
async def test_accept_decides(
    run: Run, authority: Authority, company: Credential, accept: str, streamed: bool
) -> None:
    """A stream is for who asks for one; HEAD tells what GET would be, and ends."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        for path in (PATH, BULK):
            status, headers, body = await asker.ask(path, "HEAD", Accept=accept)
            assert (status, body) == (200, b"")
            kind = "text/event-stream" if streamed else "application/json"
            assert headers["Content-Type"] == kind


async def test_heartbeats(run: Run, authority: Authority, company: Credential) -> None:
    """A stream without arrivals is kept alive by comments."""
    async with (
        running(run, authority, push_heartbeat_seconds=0.02) as cps,
        Asker(cps.url, company) as asker,
        asker.stream(PATH) as stream,
    ):
        await stream.read_until(b"\n\n:\n\n:\n\n:\n\n")
        entry = await add(cps)
        await stream.until(entry)


@pytest.mark.parametrize("path", [PATH, BULK])
async def test_a_heartbeat_is_behind_what_was_there(
    run: Run, authority: Authority, company: Credential, path: str
) -> None:
    """The first comment comes as soon as all that was alive has, and nothing of it comes later."""
    async with running(run, authority, push_heartbeat_seconds=3600) as cps:
        stored = [await add(cps, number) for number in (NUMBER, NUMBER)]
        async with Asker(cps.url, company) as asker, asker.stream(path) as stream:
            await stream.read_until(b"\n\n:\n\n")
            backlog, _, rest = stream.octets.partition(b"\n\n:\n\n")
            assert all(f"id: {each}\n".encode() in backlog for each in stored)
            assert rest == b""
            await stream.until(await add(cps))


async def test_there_is_room_for_so_many(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 for one certificate's too many, 503 for all's; a closed stream gives its place back."""
    monkeypatch.setattr(push_module, "TICK_SECONDS", 0.01)
    limits = {"push_subscribers": 3, "push_subscribers_of_a_leaf": 2}
    asked = {"Accept": "text/event-stream"}
    second = authority.credential(NUMBER, name="Second")
    async with (
        running(run, authority, **limits) as cps,
        Asker(cps.url, company) as asker,
        Asker(cps.url, second) as other,
    ):
        async with asker.stream(PATH), asker.stream(BULK):
            status, headers, _ = await asker.ask(PATH, **asked)
            assert (status, headers["Retry-After"]) == (429, "30")
            async with other.stream(PATH):
                status, headers, _ = await other.ask(PATH, **asked)
                assert (status, headers["Retry-After"]) == (503, "30")
        await gone(cps.url, asker, 2)


async def test_one_certificate_opens_so_many(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens and closes streams without end is told to wait; others are not."""
    monkeypatch.setattr(push_module, "OPENED_AT_ONCE", 2.0)
    monkeypatch.setattr(push_module, "OPENED_RATE", 0.001)
    async with running(run, authority, push_subscribers_of_a_leaf=1) as cps:
        async with Asker(cps.url, company) as asker:
            statuses = [
                (await asker.ask(PATH, "HEAD", Accept="text/event-stream"))[0],
                (await asker.ask(f"/cps/{OTHER}/ppts", Accept="text/event-stream"))[0],
            ]
            for _ in range(2):
                with contextlib.suppress(AssertionError):
                    async with asker.stream(PATH):
                        pass
            status, headers, _ = await asker.ask(PATH, Accept="text/event-stream")
            assert (statuses, status) == ([200, 401], 429)
            assert int(headers["Retry-After"]) > 0
        async with Asker(cps.url, authority.credential(NUMBER)) as other, other.stream(PATH):
            pass


async def test_a_reader_that_takes_nothing_is_cut_off(
    run: Run, authority: Authority, company: Credential
) -> None:
    """When half a mebibyte waits for it; nobody else waits, and a quick reader gets it all."""
    numbers = {NUMBER: 0, SECOND: 0}
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", cps.port))
        request = (
            f"GET {BULK} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Authorization: {authorization(company, BULK)}\r\n\r\n"
        )
        await loop.sock_sendall(slow, request.encode())
        assert await loop.sock_recv(slow, 12) == b"HTTP/1.1 200"
        async with asker.stream(BULK) as quick:
            stored = []
            for each in range(1500):
                number = NUMBER if each % 2 else SECOND
                numbers[number] += 1
                stored.append(await add(cps, number))
                if each % 50 == 0:
                    await quick.until(stored[-1])
            await quick.until(*stored)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(20):
                while await loop.sock_recv(slow, 65536):
                    pass
        slow.close()


async def test_a_reader_that_never_catches_up_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has waited too long for a reader ends its stream; one that empties the buffer stays.

    While a stream begins there is always something that waits.
    """
    monkeypatch.setattr(subscriber_module, "WRITE_SECONDS", 10.0)

    class Transport:
        size = 0
        aborted = False

        def is_closing(self) -> bool:
            return self.aborted

        def get_write_buffer_size(self) -> int:
            return self.size

        def abort(self) -> None:
            self.aborted = True

    transport = Transport()
    subscriber = subscriber_module.Subscriber(None, "x", transport, True)  # type: ignore[arg-type]
    transport.size = 5
    for moment in (0, 1000):
        subscriber.watch(moment)
    subscriber.waiting = None
    for moment, size in ((1000, 5), (1009, 5), (1010, 0), (1011, 7), (1021, 7)):
        transport.size = size
        subscriber.watch(moment)
        assert not transport.aborted
    subscriber.watch(1021.1)
    assert transport.aborted
    assert subscriber.ended.is_set()


async def test_what_arrives_during_the_beginning_is_not_lost(
    run: Run, authority: Authority, company: Credential
) -> None:
    """Stores while a stream begins come once each, none twice and none missing."""
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        stored = [await add(cps)]
        done = False

        async def flood() -> None:
            while not done and len(stored) < 5000:
                stored.append(await add(cps, SECOND))
                await asyncio.sleep(0)

        task = asyncio.create_task(flood())
        async with asker.stream(BULK) as stream:
            await stream.until(stored[-1])
            done = True
            await task
            came = [each.id for each in await stream.until(stored[-1])]
            ours = [each for each in came if each in set(stored)]
            assert len(ours) == len(set(ours))
            # a full collection drops its oldest before the stream begins, never after
            assert ours == stored[len(stored) - len(ours) :] or ours[1:] == stored[-len(ours) + 1 :]


async def test_the_end_of_a_certificate_ends_its_streams(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the anchors change; the stream ends as HTTP ends it."""
    monkeypatch.setattr(push_module, "TICK_SECONDS", 0.01)
    trusted: list[Anchors] = [authority.anchors]
    async with (
        run(anchors=lambda: trusted[0]) as cps,
        Asker(cps.url, company) as asker,
        asker.stream(BULK) as stream,
    ):
        await stream.read_until(b"id: ")
        trusted[0] = Authority().anchors
        await stream.ended()
        status, _, _ = await asker.ask(BULK, Accept="text/event-stream")
        assert status == 401


@pytest.mark.parametrize("path", [PATH, BULK])
async def test_lost_arrivals_end_streams(
    run: Run, authority: Authority, company: Credential, path: str
) -> None:
    """Who may lack something hears so, comes back, and gets all that is alive."""
    losing: list[Callable[[], None]] = []
    with pytest.MonkeyPatch.context() as patch:
        listen = MemoryStore.arrivals

        def arrivals(
            store: MemoryStore, told: Callable[[Placed], None], lost: Callable[[], None]
        ) -> Callable[[], None]:
            losing.append(lost)
            return listen(store, told)

        patch.setattr(MemoryStore, "arrivals", arrivals)
        async with running(run, authority) as cps, Asker(cps.url, company) as asker:
            early = await add(cps)
            late = await add(cps, seconds=9)
            async with asker.stream(path) as stream:
                await stream.until(early, late)
                losing[0]()
                await stream.ended()
                assert stream.octets.endswith(b"\n\nid:\n\n")
                assert stream.reader.last_id == ""
            cps.store.is_complete = False
            status, headers, _ = await asker.ask(path, Accept="text/event-stream")
            assert (status, "Retry-After" in headers) == (503, True)
            cps.store.is_complete = True
            async with asker.stream(path) as stream:
                await stream.until(early, late)


async def test_too_many_arrivals_at_once_end_streams(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be told in time is not told, and no reader takes that for all there is."""
    monkeypatch.setattr(push_module, "MAX_DUE", 2)
    async with running(run, authority) as cps, Asker(cps.url, company) as asker:
        async with asker.stream(BULK) as stream:
            await stream.read_until(b"\n\n:\n\n")
            stored = [await add(cps) for _ in range(3)]
            await stream.ended()
            assert stream.reader.last_id == ""
        async with asker.stream(BULK) as stream:
            await stream.until(*stored)


async def test_draining_ends_streams_at_once(
    run: Run, authority: Authority, company: Credential
) -> None:
    """The end of the service does not wait for who would listen for ever."""
    async with contextlib.AsyncExitStack() as stack:
        async with running(run, authority) as cps:
            asker = await stack.enter_async_context(Asker(cps.url, company))
            streams = [
                await stack.enter_async_context(asker.stream(path)) for path in (PATH, BULK) * 5
            ]
            began = time.monotonic()
        assert time.monotonic() - began < 4
        for stream in streams:
            await stream.ended()


async def test_http_1_0_gets_a_stream_without_chunks(
    run: Run, authority: Authority, company: Credential
) -> None:
    """A client that knows no chunks reads events until the connection ends."""
    async with running(run, authority) as cps:
        entry = await add(cps)
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(
            f"GET {PATH} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n"
            f"Authorization: {authorization(company, PATH)}\r\n\r\n".encode()
        )
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"chunked" not in head.lower()
            assert await reader.readuntil(b"\n\n") == b"retry: 2000\n\n"
            await reader.readuntil(f"id: {entry}\ndata: ".encode())
            later = await add(cps)
            await reader.readuntil(f"\n\nid: {later}\ndata: ".encode())
        writer.close()


async def test_over_tls(authority: Authority, tls_files: TlsFiles) -> None:
    """A stream over real TLS is the same."""
    company = authority.credential(NUMBER)
    settings = CpsSettings(
        port=0,
        certificate=tls_files.certificate,
        key=tls_files.key,
        tokens=False,
        anchors=lambda: authority.anchors,
    )
    store = settings.new_store()
    async with (
        listening(settings, store, lambda: NOW) as url,
        Asker(url, company, tls_files.trusting) as asker,
        asker.stream(BULK) as stream,
    ):
        for _ in range(3):
            entry = await store.add(NUMBER, sealed(), time.monotonic())
            await stream.until(entry)


@pytest.mark.parametrize(
    "wrong",
    [
        {"subscribers": 0},
        {"subscribers_of_a_leaf": 0},
        {"heartbeat_seconds": 0},
        {"heartbeat_seconds": -1.0},
    ],
)
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, int]) -> None:
    """There is room for one stream at least, and time between two heartbeats."""
    with pytest.raises(ValueError, match="room"):
        PushLimits(**wrong)
