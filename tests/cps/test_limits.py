"""Tests of pbx_stir.cps.limits."""

from __future__ import annotations

import pytest

from pbx_stir.cps.limits import PeerBuckets, Places, TokenBucket, peer_name


def test_a_burst_passes_then_the_rate() -> None:
    """A full bucket lets its burst pass at once, then one request each 1/rate seconds."""
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.1)
    assert bucket.take(100.1) == 0.0
    assert bucket.take(100.1) > 0


def test_a_refused_request_takes_nothing() -> None:
    """Asking again too early does not make the wait longer."""
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(0.0) == 0.0
    waits = [bucket.take(0.5) for _ in range(100)]
    assert waits == [pytest.approx(0.5)] * 100
    assert bucket.take(1.0) == 0.0


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    """A moment before the last one neither fills the bucket nor raises."""
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(1.0) > 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_lets_nothing_pass_is_refused(rate: float, burst: float) -> None:
    """A rate or burst that would stop everything is a mistake."""
    with pytest.raises(ValueError, match="bucket"):
        TokenBucket(rate, burst)


def test_peers_do_not_pay_for_each_other() -> None:
    """One peer's flood leaves another's bucket full."""
    peers = PeerBuckets(1, 1)
    assert peers.take("192.0.2.1", 0.0) == 0.0
    assert peers.take("192.0.2.1", 0.0) > 0
    assert peers.take("192.0.2.2", 0.0) == 0.0


def test_peers_take_bounded_memory() -> None:
    """A million addresses leave max_peers buckets, and none once they are full again."""
    peers = PeerBuckets(10, 10, max_peers=100)
    for number in range(10_000):
        peers.take(f"peer-{number}", number / 1e6)
    assert len(peers) == 100
    peers.sweep(10.0)
    assert len(peers) == 0


def test_a_sweep_keeps_who_is_still_limited() -> None:
    """Forgetting a peer must not give it a full bucket."""
    peers = PeerBuckets(1, 10)
    for _ in range(10):
        peers.take("192.0.2.1", 0.0)
    peers.sweep(1.0)
    assert len(peers) == 1
    assert peers.take("192.0.2.1", 1.0) == 0.0
    assert peers.take("192.0.2.1", 1.0) > 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1", ""),
        ("127.8.8.8", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
        ("@socket", ""),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "20010db800010002::/64"),
        ("2001:db8:1:2::9", "20010db800010002::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
    ],
)
def test_a_peer_is_a_network_and_loopback_is_none(address: str, name: str) -> None:
    """An IPv6 peer is its /64; loopback has no name, and so no limit."""
    assert peer_name(address) == name


def test_a_peer_has_its_places_and_no_more() -> None:
    """One peer takes its share, others still find places until none is left."""
    places = Places(5, 2)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert [places.take("b") for _ in range(3)] == [True, True, False]
    assert not places.is_full("a")
    assert places.take("c")
    assert not places.take("d")
    assert places.is_full("d")
    assert len(places) == 5
    places.give_back("a")
    assert not places.is_full("d")
    assert places.take("d")


def test_loopback_has_nearly_all_places() -> None:
    """A proxy on loopback is many peers, and still leaves room for others."""
    places = Places(32, 1)
    assert not places.is_full("")
    assert sum(places.take("") for _ in range(40)) == 30
    assert (places.is_full(""), places.is_full("a")) == (True, False)
    assert places.take("a")
    assert not places.take("a")


@pytest.mark.parametrize(("total", "of_a_peer"), [(0, 1), (1, 0)])
def test_no_places_at_all_are_a_mistake(total: int, of_a_peer: int) -> None:
    """A service that takes nobody is not meant."""
    with pytest.raises(ValueError, match="room"):
        Places(total, of_a_peer)
