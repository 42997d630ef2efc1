"""Family 19: what a CPS makes up cannot be told from what somebody stored."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.cps.conftest import Running, _run, sealed
from tests.cps.peers import Peer

NUMBERS = [f"1212555{at:04}" for at in range(40)]


async def ids(peer: Peer, number: str) -> list[str]:
    """What a retrieval lists."""
    return [href.rpartition("/")[2] for href in await peer.hrefs(f"/cps/{number}/ppts")]


async def test_family_19_dummies_on_every_get() -> None:
    """At least one, at most three, for every number, whoever stored what, whenever one asks."""
    async with _run(lifetime_seconds=30) as cps, Peer(cps) as peer:
        for step in range(40):
            cps.clock.moment += 7.3
            for number in ("1", "911", "12125551234", "999999999999999", "0000"):
                assert 2 <= len(await ids(peer, number)) <= 3, (step, number)
        await peer.store("/cps/911/ppts")
        assert 3 <= len(await ids(peer, "911")) <= 4


async def test_family_19_dummies_of_no_two_numbers() -> None:
    """No id and no octets are ever those of another number."""
    async with _run() as cps, Peer(cps) as peer:
        seen: Counter[str] = Counter()
        for number in NUMBERS:
            _, _, body = await peer.ask("GET", f"/cps/{number}/ppts?expand=1")
            for item in json.loads(body)["ppts"]:
                seen[item["href"].rpartition("/")[2]] += 1
                seen[item["passport"]] += 1
    assert set(seen.values()) == {1}


async def test_family_19_dummies_are_never_given_again() -> None:
    """Within its lifetime the same at every poll; once gone, gone for good."""
    async with _run(lifetime_seconds=10) as cps, Peer(cps) as peer:
        gone: set[str] = set()
        before: list[str] = []
        arrived: dict[str, float] = {}
        for _ in range(300):
            cps.clock.moment += 0.5
            now = await ids(peer, "12125551234")
            assert gone.isdisjoint(now)
            gone.update(set(before) - set(now))
            for one in now:
                arrived.setdefault(one, cps.clock.moment)
                assert cps.clock.moment - arrived[one] < 10
            before = now
        assert len(gone) > 30
        status, _, _ = await peer.ask("GET", f"/cps/12125551234/ppts/{gone.pop()}")
        assert status == 404


async def answers(peer: Peer, path: str) -> tuple[object, ...]:
    """All that one sees of an entry but its octets: status, headers in order, sizes."""
    status, headers, body = await peer.ask("GET", path)
    named = tuple((name, value) for name, value in headers if name != "Date")
    return status, named, len(body), len(path), bool(re.fullmatch(rb"[A-Za-z0-9_-]+", body))


async def test_family_19_dummies_look_like_the_rest() -> None:
    """Status, headers and their order, sizes, id form: one set for real entries and dummies."""
    async with _run() as cps, Peer(cps) as peer:
        for _ in range(5):
            await peer.store("/cps/12125551234/ppts")
        hrefs = await peer.hrefs("/cps/12125551234/ppts")
        assert len(hrefs) in (7, 8)
        assert len({await answers(peer, href) for href in hrefs}) == 1
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", href[-22:]) for href in hrefs)
        # among them the newest stands first, and nothing else is told by the order
        assert len(set(hrefs)) == len(hrefs)


async def test_family_19_dummies_octets_are_as_random() -> None:
    """Over many entries each bit of a dummy is set as often as not, as a sealed one's is."""
    async with _run() as cps, Peer(cps) as peer:
        made = []
        for number in NUMBERS:
            _, _, body = await peer.ask("GET", f"/cps/{number}/ppts?expand=1")
            made += [item["passport"].encode() for item in json.loads(body)["ppts"]]
    real = [sealed() for _ in made]
    for texts in (made, real):
        counted = Counter(octet for text in texts for octet in text)
        expected = sum(counted.values()) / 64
        assert len(counted) == 64
        assert all(0.9 * expected < count < 1.1 * expected for count in counted.values())
        # no head or tail is shared by two of them
        assert len({text[:16] for text in texts}) == len({text[-24:-4] for text in texts})
        assert len({text[:16] for text in texts}) == len(texts)


async def test_family_19_dummies_leave_nothing_behind() -> None:
    """A retrieval stores nothing, so asking for many numbers costs no memory."""
    async with _run() as cps, Peer(cps) as peer:
        for number in NUMBERS:
            await ids(peer, number)
        assert (len(cps.store), cps.store.octets) == (0, 0)


@pytest.mark.parametrize("forms", [("12125551234", "+12125551234", "1.212.555.1234")])
async def test_family_19_dummies_are_of_the_number(forms: tuple[str, ...]) -> None:
    """Another writing of a number shows the same dummies: else it would show which are real."""
    async with _run() as cps, Peer(cps) as peer:
        location = await peer.store(f"/cps/{forms[0]}/ppts")
        seen = [await ids(peer, form) for form in forms]
        assert seen[0] == seen[1] == seen[2]
        assert location.rpartition("/")[2] in seen[0]


async def test_family_19_dummies_of_two_servers_differ() -> None:
    """Each CPS has secrets of its own, drawn anew when it starts."""
    seen: list[set[str]] = []
    for _ in range(2):
        async with _run() as cps, Peer(cps) as peer:
            assert isinstance(cps, Running)
            seen.append(set(await ids(peer, "12125551234")))
    assert seen[0].isdisjoint(seen[1])
