"""Family 22: what is done to a CPS's store, by strangers and by time."""

from __future__ import annotations

import json

import pytest

from tests.cps.conftest import _run, sealed
from tests.cps.peers import Peer, _typed, raw

NUMBER = "12125551234"
COLLECTION = f"/cps/{NUMBER}/ppts"


async def test_family_22_store_expires_between_list_and_item() -> None:
    """What was listed may be gone when it is fetched: 404 as if it had never been."""
    async with _run(lifetime_seconds=5) as cps, Peer(cps) as peer:
        location = await peer.store()
        cps.clock.moment += 4.999
        assert location in await peer.hrefs()
        cps.clock.moment += 0.001
        gone = await peer.ask("GET", location)
        never = await peer.ask("GET", f"{COLLECTION}/{'A' * 22}")
        assert (gone[0], gone[2]) == (404, never[2])
        assert location not in await peer.hrefs()


async def test_family_22_store_lives_exactly_its_lifetime() -> None:
    """Neither longer for being asked for, nor shorter for other entries."""
    async with _run(lifetime_seconds=10) as cps, Peer(cps) as peer:
        first = await peer.store()
        for _ in range(9):
            cps.clock.moment += 1
            await peer.store()
            assert (await peer.ask("GET", first))[0] == 200
        cps.clock.moment += 1
        assert (await peer.ask("GET", first))[0] == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/passport", 400),
        (b"A" * 5_525, "application/passport", 400),
        (b"A" * 5_527, "application/passport", 413),
        (b"A" * 9_000, "application/passport", 413),
        (b"A" * 900_000, "application/passport", 413),
        (b"+" * 5_526, "application/passport", 400),
        (b"\xff" * 5_526, "application/passport", 400),
        (b"eyJhbGciOiJFUzI1NiJ9.e30." + b"A" * 86, "application/passport", 400),
        (b"A" * 5_526, "text/plain", 415),
        (b"A" * 5_526, "application/json", 415),
        (b"A" * 5_526, "application/passport2", 415),
        (b"A" * 5_526, "multipart/mixed; boundary=a", 415),
        (b"A" * 5_526, "", 415),
    ],
)
async def test_family_22_store_wrong_bodies(body: bytes, kind: str, status: int) -> None:
    """One size, one alphabet, one type; the bare PASSporT of others is refused too."""
    async with _run() as cps, Peer(cps) as peer:
        got, headers, said = await peer.ask("POST", COLLECTION, body, **_typed(kind))
        assert got == status
        assert dict(headers)["Content-Type"] == "application/problem+json"
        assert json.loads(said)["status"] == status
        assert len(cps.store) == 0


@pytest.mark.parametrize(
    "path",
    [
        "/cps/../cps/12125551234/ppts", "/cps/./12125551234/ppts", "/cps//12125551234/ppts",
        "/cps/12125551234%2Fppts", "/cps/12125551234/ppts%2F", "/cps/%31%32125551234%00/ppts",
        "/cps/..%2f..%2fetc%2fpasswd/ppts", "/cps/%2e%2e/ppts", "/cps/12125551234/ppts/../ppts",
        "/cps/anna/ppts", "/cps/1-212-555-1234/ppts", "/cps/1 2/ppts", "/cps/%20/ppts",
        "/cps//ppts", "/cps/+/ppts", "/cps/++12125551234/ppts", "/cps/%252B12125551234/ppts",
        "/cps/1..2/ppts", "/cps/.12125551234/ppts", "/cps/12125551234./ppts",
        "/cps/1234567890123456/ppts", "/cps/%EF%BC%91/ppts", "/cps/%D9%A1/ppts",
        "/CPS/12125551234/ppts", "/cps/12125551234/PPTS", "/cps/12125551234/ppts/a/b",
        "/cps/12125551234*/ppts", "/cps/12125551234;x=y/ppts",
    ],
)  # fmt: skip
async def test_family_22_store_wrong_paths(path: str) -> None:
    """Whatever is not one number's collection is nobody's: refused, nothing stored."""
    async with _run() as cps, Peer(cps) as peer:
        status, _, _ = await peer.ask("POST", path.replace(" ", "%20"), sealed(), **_typed())
        assert status in (400, 404, 405)
        assert len(cps.store) == 0
        octets = await raw(
            cps, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        # 401: what a prefix has is for holders
        assert octets.split(b" ")[1] in (b"400", b"401", b"404")


async def test_family_22_store_one_key_for_all_forms() -> None:
    """Dotted, with plus, escaped, plain: one collection, whichever it was stored under."""
    forms = ("12125551234", "+12125551234", "%2B12125551234", "%2b12125551234", "1.212.555.1234",
             "%31%32125551234", "1%2E2125551234", "+1.212.555.1234")  # fmt: skip
    async with _run() as cps, Peer(cps) as peer:
        stored = [await peer.store(f"/cps/{form}/ppts") for form in forms]
        for form in forms:
            assert set(stored) < set(await peer.hrefs(f"/cps/{form}/ppts"))
        assert not set(stored) & set(await peer.hrefs("/cps/2125551234/ppts"))
        assert not set(stored) & set(await peer.hrefs("/cps/012125551234/ppts"))


async def test_family_22_store_flood_is_429() -> None:
    """Beyond the rate: 429 with Retry-After, nothing stored, and it ends."""
    async with _run(store_rate=5.0) as cps, Peer(cps) as peer:
        answers = [await peer.ask("POST", COLLECTION, sealed(), **_typed()) for _ in range(8)]
        assert [status for status, _, _ in answers] == [201] * 5 + [429] * 3
        assert int(dict(answers[-1][1])["Retry-After"]) >= 1
        assert len(cps.store) == 5
        cps.clock.moment += 1
        assert (await peer.ask("POST", COLLECTION, sealed(), **_typed()))[0] == 201


async def test_family_22_store_flood_of_one_number_leaves_the_others() -> None:
    """A collection that is full drops of its own; those of other numbers stay."""
    async with _run() as cps, Peer(cps) as peer:
        other = await peer.store("/cps/13105552000/ppts")
        for _ in range(80):
            await peer.store()
        hrefs = await peer.hrefs()
        assert len(hrefs) <= 64
        assert (await peer.ask("GET", other))[0] == 200


async def test_family_22_store_clock_steps() -> None:
    """The wall clock may step as it likes: lifetimes are by a clock that does not."""
    async with _run(lifetime_seconds=10) as cps, Peer(cps) as peer:
        location = await peer.store()
        cps.clock.moment += 9
        assert (await peer.ask("GET", location))[0] == 200
        # and should that one step back all the same, nothing lives on for ever
        cps.clock.moment -= 100
        await peer.hrefs()
        cps.clock.moment += 101
        assert (await peer.ask("GET", location))[0] == 404


async def test_family_22_store_restart() -> None:
    """Nothing was promised beyond a lifetime in memory: after a restart, dummies as ever."""
    async with _run() as cps, Peer(cps) as peer:
        location = await peer.store()
        before = await peer.hrefs()
    async with _run() as cps, Peer(cps) as peer:
        assert (await peer.ask("GET", location))[0] == 404
        after = await peer.hrefs()
        assert len(after) in (2, 3)
        assert not set(before) & set(after)


async def test_family_22_store_honest() -> None:
    """Stored, listed first, fetched with and without a slash, folded or not."""
    async with _run() as cps, Peer(cps) as peer:
        wire = sealed()
        folded = b"\r\n ".join(wire[at : at + 70] for at in range(0, len(wire), 70))
        location = await peer.store(wire=folded)
        assert (await peer.hrefs())[0] == location
        for path in (location, location + "/"):
            assert (await peer.ask("GET", path))[::2] == (200, wire)
