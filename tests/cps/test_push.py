"""Tests of pbx_stir.cps.push: what comes on a stream, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import pytest

from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import Entry
from pbx_stir.stir import sealing
from pbx_stir.stir.credential import Credential

from .conftest import NOW, Authority, Run, TlsFiles, sealed
from .signing import Asker
from .streaming import BULK, NUMBER, PATH, SECOND, add, running

OTHER = "16465550000"


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
