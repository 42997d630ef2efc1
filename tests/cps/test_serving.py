"""Tests of pbx_stir.cps.serving: what is done around every request, and while nobody asks."""

from __future__ import annotations

import asyncio

import pytest

from pbx_stir.cps import serving
from pbx_stir.cps.dummies import EpochSecrets
from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.errors import StoreUnavailable

from .conftest import Run, sealed
from .peers import COLLECTION, NUMBER, Peer, raw


async def test_continue_is_said_only_to_a_body_that_is_wanted(run: Run) -> None:
    """Expect: 100-continue gets its 100 after the cheap checks, and a refusal without one."""
    head = (
        f"POST {COLLECTION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/passport\r\n"
        "Expect: 100-continue\r\nContent-Length: 5526\r\nConnection: close\r\n\r\n"
    ).encode()
    async with run() as cps:
        answer = await raw(cps, head, sealed())
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
    async with run(tokens=True) as cps:
        assert (await raw(cps, head, sealed())).startswith(b"HTTP/1.1 401 ")


async def test_a_peer_has_a_rate_unless_local(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback has no limit of its own; any other peer has."""
    async with run(peer_rate=2) as cps, Peer(cps) as peer:
        assert {(await peer.ask("GET", "/health"))[0] for _ in range(20)} == {200}
        monkeypatch.setattr(serving, "_peer_name", lambda _: "192.0.2.1")
        got = [(await peer.ask("GET", "/health"))[0] for _ in range(3)]
        assert got == [200, 200, 429]


async def test_memory_is_freed_while_nobody_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand entries go by themselves once they have expired."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)
    async with run() as cps:
        wire = sealed()
        for number in range(10_000):
            await cps.store.add(f"1212{number:07}", wire, cps.clock.moment)
        assert len(cps.store) == 10_000
        cps.clock.moment += 30
        async with asyncio.timeout(10):
            while len(cps.store):  # noqa: ASYNC110 the sweep tells nobody
                await asyncio.sleep(0)
        assert cps.store.octets == 0


class Fetched(EpochSecrets):
    """The dummies' secrets of an hour that was prepared, from a place that can be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False
        self.asked = 0
        self._prepared: set[int] = set()

    def of(self, epoch: int) -> bytearray:
        """Give what was prepared."""
        if epoch not in self._prepared:
            raise StoreUnavailable("not fetched")
        return super().of(epoch)

    async def prepare(self, first: int, last: int) -> None:
        """Fetch."""
        self.asked += 1
        if self.is_lost:
            raise StoreUnavailable("lost")
        self._prepared |= set(range(first, last + 1))


async def test_it_recovers_however_long_the_secrets_were_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours without them, and looks all the time: a sweep after their return all is well."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)
    secrets = Fetched()
    async with run(secrets=secrets) as cps, Peer(cps) as peer:
        assert (await peer.ask("GET", COLLECTION))[0] == 200
        secrets.is_lost = True
        cps.clock.moment += 7_800
        assert (await peer.ask("GET", COLLECTION))[0] == 503
        secrets.is_lost = False
        async with asyncio.timeout(10):
            while (await peer.ask("GET", COLLECTION))[0] != 200:
                cps.clock.moment += 0.02


async def test_what_a_sweep_cannot_do_stops_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that fails, whatever the error, is said once by its type, and the others go on."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)

    def failing(*_: object) -> None:
        raise ValueError(NUMBER)

    monkeypatch.setattr(PeerBuckets, "sweep", failing)
    secrets = Fetched()
    async with run(secrets=secrets) as cps:
        await cps.store.add(NUMBER, sealed(), cps.clock.moment)
        cps.clock.moment += 30
        async with asyncio.timeout(10):
            while len(cps.store) or secrets.asked < 5:  # noqa: ASYNC110 the sweep tells nobody
                await asyncio.sleep(0.001)
    said = [one.getMessage() for one in caplog.records if "not swept" in one.getMessage()]
    assert said == ["not swept: ValueError"]
