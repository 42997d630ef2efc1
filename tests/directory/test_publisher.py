"""Our keys are published before they are needed, replaced before they expire, and revoked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.publisher import (
    CHECK_SECONDS,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    MOST_NAMED,
    RECORD_LIFETIME_SECONDS,
    Publisher,
    publications,
)
from pbx_stir.directory.selection import select
from pbx_stir.errors import ConfigurationError, CpsRefused, CpsUnavailable, PbxStirError
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.record import Record, parse_record
from tests.directory.resolving import NOW, Clock

NUMBER = "12125551234"
ONE, TWO = "https://one.example.net", "https://two.example.net"
DAY = 86_400.0


class Cps:
    """CPSs that take records, or do not."""

    def __init__(self) -> None:
        self.put: list[tuple[str, str, str]] = []
        self.held: dict[str, list[str]] = {}
        self.errors: dict[str, PbxStirError] = {}
        self.at_put: Callable[[], None] = lambda: None

    async def put_record(self, cps: str, number: str, token: str, give_up_at: float) -> None:
        """Take it."""
        self.at_put()
        self.put.append((cps, number, token))
        if cps in self.errors:
            raise self.errors[cps]
        self.held.setdefault(cps, []).append(token)

    async def get_records(self, cps: str, number: str, give_up_at: float) -> list[str]:
        """Give back."""
        if cps in self.errors:
            raise self.errors[cps]
        return self.held.get(cps, [])

    def records(self) -> list[Record]:
        """What was put, in order."""
        return [parse_record(token).record for _, _, token in self.put]


@pytest.fixture
def cps() -> Cps:
    """The CPSs."""
    return Cps()


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    """An empty directory of keys."""
    return KeyFiles(tmp_path / "keys")


@pytest.fixture
def publisher(alice: Any, keys: KeyFiles, cps: Cps, clock: Clock) -> Publisher:
    """Publishes Alice's hundred numbers at two CPSs."""
    wanted = publications([alice], NumberSet.parse(["+1212555*"]), [ONE, TWO])
    return Publisher(
        publications=wanted,
        keys=keys,
        sink=cps,
        epoch=clock.epoch,
        monotonic=clock.monotonic,
        draw=lambda low, high: high,
    )


async def test_what_is_published_is_what_a_sender_takes(
    publisher: Publisher, cps: Cps, keys: KeyFiles, lab: Any
) -> None:
    """The first publication makes a key; its record stands at every CPS under its first number."""
    results = await publisher.publish()
    (key,) = keys.load()
    assert [(each.cps, each.error) for each in results] == [(ONE, ""), (TWO, "")]
    assert [(where, number) for where, number, _ in cps.put] == [
        (ONE, "12125551200"),
        (TWO, "12125551200"),
    ]
    (record,) = set(cps.records())
    assert (record.numbers, record.cps) == (("12125551200-12125551299",), (ONE, TWO))
    found = select([cps.put[0][2]], NUMBER, lab.anchors, SpcPolicy(), NOW, {})
    assert found.keys(NOW) == (key.public,)


async def test_all_that_must_survive_is_on_disk_before_the_record_leaves(
    publisher: Publisher, cps: Cps, keys: KeyFiles
) -> None:
    """A crash after the first PUT must not erase the key early, or use the serial again."""
    seen = []
    cps.at_put = lambda: seen.append(KeyFiles(keys.directory).load()[0])
    await publisher.publish()
    record = cps.records()[0]
    assert seen[0].published_until == record.exp == NOW + RECORD_LIFETIME_SECONDS
    assert seen[0].serial == record.serial
    assert keys.next_serial(0) == record.serial + 1


async def test_serials_only_grow(publisher: Publisher, cps: Cps, clock: Clock) -> None:
    """Also when the clock is set back."""
    for passed in (0, 10, -1000, 5):
        clock.passed = passed
        await publisher.publish()
    serials = [record.serial for record in cps.records()[::2]]
    assert serials == sorted(set(serials))


async def test_a_key_past_its_lifetime_is_replaced(
    publisher: Publisher, cps: Cps, keys: KeyFiles, clock: Clock
) -> None:
    """After a week the record names a new key, and the old one still opens."""
    first = (await publisher.publish(), keys.load()[0])[1]
    clock.passed = 7 * DAY - 1
    await publisher.publish()
    assert [key.name for key in keys.load()] == [first.name]
    clock.passed = 7 * DAY
    await publisher.publish()
    new, old = keys.load()
    assert old.name == first.name
    assert new.public != old.public


async def test_an_expired_credential_publishes_nothing(
    publisher: Publisher, cps: Cps, clock: Clock
) -> None:
    """No CPS would take it; the result says whose it is."""
    clock.passed = 8 * DAY
    results = await publisher.publish()
    assert cps.put == []
    assert all("Alice" in each.error and "expired" in each.error for each in results)


async def test_a_cps_that_refuses_is_a_result(publisher: Publisher, cps: Cps) -> None:
    """The others still get the record."""
    cps.errors = {ONE: CpsRefused("a newer one is here", status=409)}
    results = await publisher.publish()
    assert [bool(each.error) for each in results] == [True, False]


async def test_revoking_puts_tombstones(
    publisher: Publisher, cps: Cps, keys: KeyFiles, clock: Clock, lab: Any
) -> None:
    """They have no key and a higher serial, and last as long as any record of ours."""
    await publisher.publish()
    clock.passed = 10
    results = await publisher.revoke()
    assert not any(each.error for each in results)
    record, tombstone = cps.records()[0], cps.records()[-1]
    assert tombstone.revoked
    assert tombstone.serial > record.serial
    assert tombstone.exp >= record.exp
    tokens = [token for _, _, token in cps.put]
    assert select(tokens, NUMBER, lab.anchors, SpcPolicy(), NOW + 10, {}).keys(NOW + 10) == ()
    assert keys.suspended()


async def once(publisher: Publisher, clock: Clock, rounds: int) -> list[float]:
    """Let it run for some pauses, time passing as it pauses; gives them."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.passed += seconds
        if len(pauses) == rounds:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await publisher.run(pause)
    return pauses


async def test_records_are_renewed_ahead_of_expiry(
    publisher: Publisher, clock: Clock, cps: Cps
) -> None:
    """About half-way through its life each record is replaced."""
    times = []
    cps.at_put = lambda: times.append(clock.passed)
    await once(publisher, clock, int(1.5 * RECORD_LIFETIME_SECONDS / CHECK_SECONDS))
    half = 0.6 * RECORD_LIFETIME_SECONDS
    assert times == [0, 0, half, half, 2 * half, 2 * half]


async def test_what_failed_is_tried_again_alone(
    publisher: Publisher, clock: Clock, cps: Cps
) -> None:
    """The CPS that is down is asked with growing pauses, the other one only when it is time."""
    cps.errors = {TWO: CpsUnavailable("down")}
    pauses = await once(publisher, clock, 12)
    assert pauses[:3] == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS]
    assert max(pauses) == LONGEST_RETRY_SECONDS
    assert [where for where, _, _ in cps.put].count(ONE) == 1


async def test_a_cps_that_is_down_does_not_stop_the_renewal_of_others(
    publisher: Publisher, clock: Clock, cps: Cps
) -> None:
    """In two days of one CPS's failure the other one gets its records in time."""
    cps.errors = {TWO: CpsUnavailable("down")}
    times = []
    cps.at_put = lambda: times.append(clock.passed)
    await once(publisher, clock, int(2 * DAY / LONGEST_RETRY_SECONDS))
    ones = [at for at, (where, _, _) in zip(times, cps.put, strict=True) if where == ONE]
    assert all(later - at < RECORD_LIFETIME_SECONDS for at, later in itertools.pairwise(ones))
    assert len(ones) >= 3


async def test_a_cps_that_lost_its_records_gets_them_again(
    publisher: Publisher, clock: Clock, cps: Cps
) -> None:
    """A CPS that keeps them in memory was restarted: within a minute it has ours again."""
    await once(publisher, clock, 2)
    assert len(cps.put) == 2

    async def pause(seconds: float) -> None:
        clock.passed += seconds
        if len(cps.put) > 4:
            raise asyncio.CancelledError
        cps.held.pop(TWO, None)

    with pytest.raises(asyncio.CancelledError):
        await publisher.run(pause)
    assert [where for where, _, _ in cps.put] == [ONE, TWO, ONE, TWO, TWO]


async def test_a_later_record_of_ours_is_not_lost(
    publisher: Publisher, cps: Cps, keys: KeyFiles, lab: Any
) -> None:
    """What another process of ours published or revoked stays; a stranger's is not ours."""
    await publisher.publish()
    assert await publisher.lost() == frozenset()
    kept = cps.held[ONE]
    cps.held[ONE] = ["garbage", lab.record(lab.credential("Alice"), serial=2**50)]
    assert await publisher.lost() == {(ONE, "12125551200")}
    await publisher.revoke()
    cps.held[ONE] = [cps.held[ONE][-1]]
    keys.resume()
    assert await publisher.lost() == frozenset()
    cps.held[ONE] = kept
    cps.errors = {ONE: CpsUnavailable("down"), TWO: CpsUnavailable("down")}
    assert await publisher.lost() == frozenset()


async def test_broken_key_files_do_not_end_it(
    publisher: Publisher, clock: Clock, cps: Cps, keys: KeyFiles
) -> None:
    """While the keys cannot be read it tries again; nothing is raised."""
    (keys.directory / "broken.key").write_bytes(b"")
    pauses = await once(publisher, clock, 3)
    assert pauses == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS]
    assert cps.put == []


async def test_it_does_not_publish_what_was_revoked(
    publisher: Publisher, clock: Clock, cps: Cps, keys: KeyFiles
) -> None:
    """A running service does not undo the administrator's revocation."""
    keys.suspend()
    await once(publisher, clock, 3)
    assert cps.put == []
    keys.resume()
    await once(publisher, clock, 1)
    assert len(cps.put) == 2


async def test_erasing_goes_along(
    publisher: Publisher, clock: Clock, cps: Cps, keys: KeyFiles
) -> None:
    """Keys that no record names any more are erased by the running service."""
    old = keys.new(NOW - 20 * DAY)
    await once(publisher, clock, 1)
    assert old.name not in {key.name for key in keys.load()}


def test_what_is_published_is_configured_and_covered(lab: Any, alice: Any) -> None:
    """Each credential signs for its own numbers; one that covers none signs nothing."""
    bob = lab.credential("Bob", ranges=(("16465550000", 10),))
    mallory = lab.credential("Mallory", ranges=(("14155550000", 10),))
    numbers = NumberSet.parse(["+1212*", "+16465550005"])
    found = publications([alice, bob, mallory], numbers, [ONE])
    assert [(each.credential.signer, each.named) for each in found] == [
        ("Alice", ("12125551200-12125551299",)),
        ("Bob", ("16465550005",)),
    ]
    with pytest.raises(ConfigurationError, match="no credential covers"):
        publications([mallory], numbers, [ONE])
    with pytest.raises(ConfigurationError, match="cps"):
        publications([alice], numbers, [])


def test_many_numbers_are_several_records(lab: Any) -> None:
    """A record names 64 numbers and ranges at most."""
    carol = lab.credential("Carol", ranges=(("12125550000", 1000),))
    numbers = NumberSet.parse([f"12125550{last:03d}" for last in range(0, 1000, 5)])
    named = [each.named for each in publications([carol], numbers, [ONE])]
    assert [len(each) for each in named] == [MOST_NAMED, MOST_NAMED, MOST_NAMED, 200 - 192]
    assert len({number for each in named for number in each}) == 200


@pytest.mark.parametrize("seconds", [0, 59, 8 * DAY, float("nan")])
def test_a_record_lives_a_week_at_most(
    alice: Any, keys: KeyFiles, cps: Cps, seconds: float
) -> None:
    """Other lifetimes are refused when the service starts."""
    wanted = publications([alice], NumberSet.parse([NUMBER]), [ONE])
    with pytest.raises(ConfigurationError, match="seven days"):
        Publisher(publications=wanted, keys=keys, sink=cps, lifetime_seconds=seconds)
