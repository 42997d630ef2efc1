"""Limits of a CPS: token buckets and places for connections, for everybody and for each peer.

Takes moments (float seconds of any clock that does not run backwards) and opaque peer names; says
how long a request would have to wait. It reads no clock, and keeps of a peer only its bucket, until
that is full again. Source: RFC 8816 section 7.5 (rate control), RFC 6585 section 4 (429).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

_IPV6_SITE_BITS = 64
_ROUNDING = 1e-6


class TokenBucket:
    """Lets ``rate`` requests a second pass, and as many as ``burst`` at once after a pause."""

    __slots__ = ("_burst", "_level", "_rate", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        """``rate`` and ``burst`` are positive; a new bucket is full."""
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket needs a positive rate and room for one request")
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._updated = float("-inf")

    def take(self, now: float) -> float:
        """Take one token: 0.0 where there was one, else the seconds until there is (none taken)."""
        if now > self._updated:
            self._level = min(self._burst, self._level + (now - self._updated) * self._rate)
            self._updated = now
        # Rounding must not cost a request that is due.
        if self._level >= 1 - _ROUNDING:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._rate

    def is_full(self, now: float) -> bool:
        """Say whether nothing would be lost by forgetting this bucket."""
        return self._level + max(0.0, now - self._updated) * self._rate >= self._burst


class PeerBuckets:
    """A bucket for each peer, at most ``max_peers`` of them: the one unseen for longest goes first.

    Whoever owns enough addresses to push others out gets no more by it than by its addresses.
    """

    __slots__ = ("_buckets", "_burst", "_max_peers", "_rate")

    def __init__(self, rate: float, burst: float, *, max_peers: int = 10_000) -> None:
        """``rate`` and ``burst`` as a ``TokenBucket`` takes them."""
        TokenBucket(rate, burst)
        self._rate = rate
        self._burst = burst
        self._max_peers = max_peers
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Count the peers remembered."""
        return len(self._buckets)

    def take(self, peer: str, now: float) -> float:
        """Take one token of this peer: 0.0, or the seconds until there is one."""
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = TokenBucket(self._rate, self._burst)
            if len(self._buckets) > self._max_peers:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(peer)
        return bucket.take(now)

    def sweep(self, now: float) -> None:
        """Forget the peers whose buckets are full again."""
        while self._buckets:
            peer, bucket = next(iter(self._buckets.items()))
            if not bucket.is_full(now):
                return
            del self._buckets[peer]


class Places:
    """Places for ``total`` connections, ``of_a_peer`` at most for one peer.

    Loopback ("") is whatever stands before this service or looks after it: it may hold all but a
    sixteenth, so that it cannot shut out everybody else either.
    """

    __slots__ = ("_held", "_of_a_peer", "_of_loopback", "_taken", "_total")

    def __init__(self, total: int, of_a_peer: int) -> None:
        """``total`` and ``of_a_peer`` are positive."""
        if total < 1 or of_a_peer < 1:
            raise ValueError("there must be room for one connection, and for one of a peer")
        self._total = total
        self._of_a_peer = of_a_peer
        self._of_loopback = total - total // 16
        self._taken = 0
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the connections that have a place."""
        return self._taken

    def take(self, peer: str) -> bool:
        """Take a place for this peer; False where it has enough, or nothing is free."""
        held = self._held.get(peer, 0)
        most = self._of_a_peer if peer else self._of_loopback
        if self._taken >= self._total or held >= most:
            return False
        self._taken += 1
        self._held[peer] = held + 1
        return True

    def is_full(self, peer: str) -> bool:
        """Say whether there is no place for a peer that holds few: for loopback, of its share."""
        of_all = self._taken >= self._total
        return of_all or (not peer and self._held.get(peer, 0) >= self._of_loopback)

    def give_back(self, peer: str) -> None:
        """Give back one place that this peer took."""
        self._taken -= 1
        left = self._held[peer] - 1
        if left:
            self._held[peer] = left
        else:
            del self._held[peer]


def peer_name(address: str) -> str:
    """Name the peer that a limit is for: an IPv4 address, an IPv6 /64 network, "" for loopback.

    One subscriber has a whole /64, so that a limit by address would be none. What is no address
    (a UNIX socket's peer) is local too.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            if parsed.is_loopback:
                return ""
            site = int(parsed) >> (128 - _IPV6_SITE_BITS)
            return f"{site:x}::/{_IPV6_SITE_BITS}"
        parsed = parsed.ipv4_mapped
    return "" if parsed.is_loopback else str(parsed)
