"""What can be measured of one entry, judged by itself: no neighbours, counts or phases of slots.

An entry becomes one row of numbers, NaN where something was not seen.
"""

from __future__ import annotations

import math

import numpy as np

from pbx_stir.stir import sealing
from tests.privacy import points
from tests.privacy.watching import Seen

_ID_CHARACTERS = 22
_CYCLES = (1.0, 5.0, 6.0, 12.0, 15.0, 30.0, 60.0)
_FIRST, _LAST = 48, 16
# One in so many is also tried as a member of the subgroup, which takes most time of all.
_TRIED = 20


class Features:
    """Turns entries into rows; remembers the words it has met, as numbers."""

    def __init__(self) -> None:
        self._words: dict[object, int] = {}
        self._rows = 0

    def row(self, seen: Seen) -> np.ndarray:
        """Give the row of one entry."""
        self._rows += 1
        values = [*self._form(seen), *_times(seen), *_identifier(seen.id)]
        assert seen.item is not None
        octets = _octets(seen.item.body)
        values += _point(octets[:32], whole=self._rows % _TRIED == 0)
        values += _statistics(octets)
        return np.array(values, dtype=np.float32)

    def _word(self, word: object) -> float:
        return float(self._words.setdefault(word, len(self._words)))

    def _form(self, seen: Seen) -> list[float]:
        """Status, headers and their order, sizes, in which forms it was shown, latencies."""
        item = seen.item
        assert item is not None
        lines = [line.partition(b": ") for line in item.head.split(b"\r\n")]
        values = tuple(
            value.replace(seen.number.encode(), b"N")
            for name, _, value in lines
            if name.lower() != b"date"
        )
        return [
            float(item.status),
            self._word(tuple(name for name, _, _ in lines)),
            self._word(values),
            float(len(lines)),
            float(len(item.head) - len(seen.number)),
            float(len(item.body)),
            seen.different / seen.expanded if seen.expanded else math.nan,
            *(map(float, seen.polls)),
            # Beside another request for the same collection: how long all of them take tells how
            # many entries it has, which is for the count to tell.
            (item.seconds - seen.nothing) * 1e6,
        ]


def _times(seen: Seen) -> list[float]:
    """Least and greatest lifetime, and when it arrived, as far as polls tell."""
    nan = math.nan
    before = nan if seen.before is None else seen.before
    after = nan if seen.after is None else seen.after
    arrived = (before + seen.first) / 2
    return [
        seen.last - seen.first,
        after - before,
        (seen.last - seen.first + after - before) / 2,
        seen.first - before,
        after - seen.last,
        *(arrived % cycle for cycle in _CYCLES),
        *(seen.first % cycle for cycle in _CYCLES),
    ]


def _identifier(entry_id: str) -> list[float]:
    """Its length, its characters, and how many of each kind."""
    text = entry_id[:_ID_CHARACTERS].ljust(_ID_CHARACTERS)
    return [
        float(len(entry_id)),
        *(float(ord(each)) for each in text),
        float(sum(each.isdigit() for each in text)),
        float(sum(each.isupper() for each in text)),
        float(sum(not each.isalnum() for each in text)),
        float(len(set(text))),
    ]


def _octets(wire: bytes) -> bytes:
    """What an item decodes to, padded where it is short."""
    return sealing.from_wire(wire).ljust(sealing.SEALED_OCTETS, b"\0")


def _point(key: bytes, *, whole: bool) -> list[float]:
    """The first 32 octets as an X25519 public key: top bit, range, on the curve, in the group."""
    u = int.from_bytes(key, "little")
    top, u = u >> 255, u & (2**255 - 1)
    on_curve = points.is_on_curve(u)
    inside = on_curve and points.is_in_subgroup(u) if whole else math.nan
    return [
        float(top),
        float(u >= points.P),
        float(on_curve),
        float(points.is_square(u)),
        float(inside),
        float(u.bit_count()),
    ]


def _statistics(octets: bytes) -> list[float]:
    """The first and last octets, histograms of all, runs of bits."""
    values = np.frombuffer(octets, dtype=np.uint8)
    counts = np.bincount(values, minlength=256)
    bits = np.unpackbits(values)
    return [
        *map(float, values[:_FIRST]),
        *map(float, values[-_LAST:]),
        *np.bincount(values >> 4, minlength=16).astype(float),
        *np.bincount(values & 15, minlength=16).astype(float),
        float(((counts - len(values) / 256) ** 2).sum()),
        float(values.mean()),
        float(bits.mean()),
        float(np.count_nonzero(np.diff(bits))),
    ]
