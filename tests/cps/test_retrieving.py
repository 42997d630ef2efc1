"""Tests of pbx_stir.cps.retrieving: collections and items, over real sockets."""

from __future__ import annotations

import json
import re
import textwrap

from pbx_stir.stir import sealing

from .conftest import Run, sealed
from .peers import COLLECTION, NUMBER, Peer

ID = re.compile(r"[A-Za-z0-9_-]{22}")


async def test_an_unknown_number_is_never_empty(run: Run) -> None:
    """At least one entry on every retrieval, and each is there to be fetched."""
    async with run() as cps, Peer(cps) as peer:
        hrefs = await peer.hrefs()
        assert len(hrefs) in (2, 3)
        for href in hrefs:
            status, _, body = await peer.ask("GET", href)
            assert status == 200
            assert sealing.looks_sealed(sealing.from_wire(body))


async def test_store_list_fetch(run: Run) -> None:
    """What is stored is listed first, and comes back with and without a trailing slash."""
    wire = sealed()
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store(wire=wire)
        assert (await peer.hrefs())[0] == location
        for path in (location, location + "/"):
            status, headers, body = await peer.ask("GET", path)
            assert (status, body) == (200, wire)
            named = dict(headers)
            assert named["Content-Type"] == "application/passport"
            assert named["Link"] == f'<{COLLECTION}>; rel="collection"'
            assert named["Cache-Control"] == "no-store"


async def test_all_forms_of_a_number_are_one(run: Run) -> None:
    """Dotted, plus, percent-encoded and plain: one collection, hrefs in the canonical form."""
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store("/cps/1.212.555.1234/ppts")
        assert location.startswith("/cps/12125551234/ppts/")
        for form in ("12125551234", "+12125551234", "%2B12125551234", "1.212.555.1234"):
            assert location in await peer.hrefs(f"/cps/{form}/ppts")


async def test_an_expanded_list_has_it_all(run: Run) -> None:
    """?expand=1 gives href and passport of every entry, as each by itself would be."""
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        status, headers, body = await peer.ask("GET", COLLECTION + "?expand=1")
        assert (status, dict(headers)["Content-Type"]) == (200, "application/json")
        items = json.loads(body)["ppts"]
        assert [item["href"] for item in items] == await peer.hrefs()
        for item in items:
            assert (await peer.ask("GET", item["href"]))[2] == item["passport"].encode()


async def test_a_uri_list_has_lines(run: Run) -> None:
    """Accept: text/uri-list gives the same hrefs, one a line."""
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        status, headers, body = await peer.ask("GET", COLLECTION, Accept="text/uri-list")
        assert (status, dict(headers)["Content-Type"]) == (200, "text/uri-list")
        assert body.decode().split() == await peer.hrefs()
        assert body.endswith(b"\r\n")


async def test_dummy_and_real_look_the_same(run: Run) -> None:
    """Status, header names, order and values, size and id form do not tell which is which."""
    async with run() as cps, Peer(cps) as peer:
        dummies = await peer.hrefs()
        await peer.store(
            wire=textwrap.indent("\n".join(textwrap.wrap(sealed().decode())), " ").encode()
        )
        hrefs = await peer.hrefs()
        assert set(dummies) < set(hrefs)
        seen = set()
        for href in hrefs:
            status, headers, body = await peer.ask("GET", href)
            untimed = tuple(pair for pair in headers if pair[0] != "Date")
            order = tuple(name for name, _ in headers)
            seen.add((status, untimed, order, len(body), len(href)))
            assert ID.fullmatch(href.rpartition("/")[2])
            assert re.fullmatch(rb"[A-Za-z0-9_-]+", body)
        assert len(seen) == 1


async def test_unknown_and_expired_and_foreign_ids_are_one_404(run: Run) -> None:
    """An id that never was, one of another number and an expired one cannot be told apart."""
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store()
        entry_id = location.rpartition("/")[2]
        answers = [
            await peer.ask("GET", f"/cps/16465550000/ppts/{entry_id}"),
            await peer.ask("GET", f"{COLLECTION}/{'A' * 22}"),
            await peer.ask("GET", f"{COLLECTION}/ppt1"),
        ]
        cps.clock.moment += 30
        answers.append(await peer.ask("GET", location))
        assert {status for status, _, _ in answers} == {404}
        assert len({body for _, _, body in answers}) == 1
        assert len({tuple(n for n, _ in headers) for _, headers, _ in answers}) == 1


async def test_real_and_dummy_live_equally_long(run: Run) -> None:
    """A real entry is fetched until just before its lifetime is over, and gone then."""
    async with run(lifetime_seconds=5) as cps, Peer(cps) as peer:
        location = await peer.store()
        cps.clock.moment += 4.999
        assert (await peer.ask("GET", location))[0] == 200
        cps.clock.moment += 0.001
        assert (await peer.ask("GET", location))[0] == 404
        assert location not in await peer.hrefs()


async def test_a_get_stores_nothing(run: Run) -> None:
    """Asking for many numbers leaves the store as it was."""
    async with run() as cps, Peer(cps) as peer:
        for number in range(50):
            await peer.ask("GET", f"/cps/1212555{number:04}/ppts?expand=1")
        assert (len(cps.store), cps.store.octets) == (0, 0)


async def test_a_list_has_at_most_64(run: Run) -> None:
    """A collection flooded to its cap is listed whole, dummies among it."""
    async with run() as cps, Peer(cps) as peer:
        wire = sealed()
        for _ in range(70):
            cps.clock.moment += 0.001
            await cps.store.add(NUMBER, wire, cps.clock.moment)
        dummies = await peer.hrefs("/cps/16465550000/ppts")
        assert len(await peer.hrefs()) - 61 in (2, 3)
        assert len(dummies) in (2, 3)
