"""Dummy entries: what a CPS shows for every number, whether anybody called it or not.

RFC 8816 section 6.2: "The CPS MUST generate at least one unique and plausible encrypted response to
all retrieval requests, and these dummy encrypted PASSporTs MUST NOT be repeated for later calls."

A dummy is a function of an epoch's secret, the number and a time slot: its arrival, its id and its
octets. So a GET stores nothing, and whoever has the secrets gives the same dummies. It lives as
long as a real entry; within that lifetime it is given to whoever asks, as a real one is (one that
changed at every poll would betray itself), after it never again.

Slots follow each other every ``period`` = 2/5 of a lifetime, from a phase of the number's own; a
dummy arrives within the first half of its slot. A window of one lifetime is 5/2 periods long, so
that always two or three are alive. A slot belongs to the epoch in which it starts, and an epoch's
secret is erased when its last dummy has expired: from then on nobody can tell which of the entries
seen at that time were dummies. The phases outlive epochs, or a change would leave a gap.

Every look at a number draws the three slots that started last, alive or not. So the work depends
on the number and the moment, never on what else is stored; neither does what the cache holds.
Times are integer microseconds inside, so that the counts hold exactly.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from pbx_stir.cps.store import Entry
from pbx_stir.cps.wire import format_id
from pbx_stir.stir import sealing

EPOCH_SECONDS = 3600
_MICROSECONDS = 1_000_000
_SLOTS_DRAWN = 3
_MAX_EPOCHS = 4


class Drawn(NamedTuple):
    """A slot's dummy without its octets: start and arrival in microseconds, id, octets' seed."""

    start_us: int
    arrival_us: int
    id: str
    seed: bytes


class SecretSource(Protocol):
    """Secrets by epoch, the same for every process that gives dummies of one CPS.

    ``phase_key`` (32 octets) is the one secret that stays: all it tells is when in the cycle a
    number's dummies are due.
    """

    @property
    def phase_key(self) -> bytes:
        """The secret of the phases. Raises ``StoreUnavailable`` where nothing is prepared yet."""
        ...

    def of(self, epoch: int) -> bytes | bytearray:
        """Give an epoch's secret, 32 octets. Raises ``StoreUnavailable`` for one not prepared."""
        ...

    def erase_before(self, epoch: int) -> None:
        """Erase the secrets of all epochs before this one."""
        ...

    async def prepare(self, first: int, last: int) -> None:
        """Have the secrets of these epochs in memory. Raises ``StoreUnavailable``."""
        ...


class EpochSecrets:
    """One random secret an epoch, drawn when first needed and overwritten when no longer.

    They live in the memory of one process. ``draw`` gives so many random octets.
    """

    def __init__(self, draw: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._draw = draw
        self._secrets: dict[int, bytearray] = {}
        self.phase_key = draw(32)

    def __len__(self) -> int:
        """Count the secrets in memory."""
        return len(self._secrets)

    def of(self, epoch: int) -> bytearray:
        """Give an epoch's secret, 32 octets."""
        secret = self._secrets.get(epoch)
        if secret is None:
            # A clock that jumps to and fro must not fill the memory.
            while len(self._secrets) >= _MAX_EPOCHS:
                self._erase(min(self._secrets))
            secret = self._secrets[epoch] = bytearray(self._draw(32))
        return secret

    def erase_before(self, epoch: int) -> None:
        """Erase the secrets of all epochs before this one."""
        for old in [each for each in self._secrets if each < epoch]:
            self._erase(old)

    async def prepare(self, first: int, last: int) -> None:
        """Do nothing: a secret is drawn when it is needed."""

    def _erase(self, epoch: int) -> None:
        """Overwrite and forget one secret."""
        secret = self._secrets.pop(epoch)
        secret[:] = bytes(len(secret))


class Dummies:
    """The dummies of all numbers. ``cached`` bounds how many are kept ready; see the module."""

    def __init__(
        self,
        lifetime_seconds: int,
        *,
        epoch_secrets: SecretSource | None = None,
        epoch_seconds: int = EPOCH_SECONDS,
        cached: int = 4096,
    ) -> None:
        """Take a lifetime in whole seconds, and an epoch longer than that."""
        if lifetime_seconds < 1 or epoch_seconds < lifetime_seconds or cached < _SLOTS_DRAWN:
            raise ValueError("a dummy's lifetime, epoch or cache is too short")
        self._lifetime_us = lifetime_seconds * _MICROSECONDS
        self._period_us = self._lifetime_us * 2 // 5
        self._jitter_us = self._period_us // 2
        self._epoch_us = epoch_seconds * _MICROSECONDS
        self._secrets: SecretSource = EpochSecrets() if epoch_secrets is None else epoch_secrets
        self._cached = cached
        self._ready: OrderedDict[tuple[str, int], Entry] = OrderedDict()

    def ids(self, number: str, now: float) -> list[tuple[float, str]]:
        """Give (arrival, id) of the two or three dummies alive at ``now``, newest first."""
        return [
            (drawn.arrival_us / _MICROSECONDS, drawn.id)
            for drawn in self._slots(number, now)
            if self._is_alive(drawn, now)
        ]

    def entries(self, number: str, now: float) -> list[Entry]:
        """Give the same with their octets on the wire. What it costs does not depend on calls."""
        drawn_and_ready = [
            (drawn, self._entry(number, drawn)) for drawn in self._slots(number, now)
        ]
        return [entry for drawn, entry in drawn_and_ready if self._is_alive(drawn, now)]

    def coming(self, number: str, now: float) -> Entry:
        """Give the next dummy that arrives after ``now``, for who is told of arrivals."""
        slots = list(self._slots(number, now + self._period_us / _MICROSECONDS))
        now_us = int(now * _MICROSECONDS)
        return self._entry(number, next(e for e in reversed(slots) if e.arrival_us > now_us))

    async def prepare(self, now: float) -> None:
        """Have at hand the secrets that looks draw from, until the epoch after this one's end.

        Raises ``StoreUnavailable``.
        """
        first = (int(now * _MICROSECONDS) - _SLOTS_DRAWN * self._period_us) // self._epoch_us
        last = int(now * _MICROSECONDS) // self._epoch_us
        await self._secrets.prepare(first, last + 1)

    def sweep(self, now: float) -> None:
        """Erase what no look draws any more: octets kept ready, and secrets of past epochs."""
        oldest_start_us = int(now * _MICROSECONDS) - _SLOTS_DRAWN * self._period_us
        self._secrets.erase_before(oldest_start_us // self._epoch_us)
        for key in [each for each in self._ready if each[1] <= oldest_start_us]:
            del self._ready[key]

    def _entry(self, number: str, drawn: Drawn) -> Entry:
        """Give one dummy with its octets, from those kept ready or newly computed."""
        key = (number, drawn.start_us)
        entry = self._ready.get(key)
        if entry is None:
            octets = sealing.dummy(drawn.seed)
            arrival = drawn.arrival_us / _MICROSECONDS
            entry = self._ready[key] = Entry(arrival, drawn.id, octets, packed=True)
            if len(self._ready) > self._cached:
                self._ready.popitem(last=False)
        else:
            self._ready.move_to_end(key)
        return entry

    def _slots(self, number: str, now: float) -> Iterator[Drawn]:
        """Draw the three slots of a number that started last, newest first."""
        name = number.encode()
        phase_us = _fraction(hmac.digest(self._secrets.phase_key, name, "sha256"), self._period_us)
        last = (int(now * _MICROSECONDS) - phase_us) // self._period_us
        for slot in range(last, last - _SLOTS_DRAWN, -1):
            yield self._draw(name, slot * self._period_us + phase_us)

    def _draw(self, name: bytes, start_us: int) -> Drawn:
        """Compute one slot's dummy: arrival from 16 octets of the PRF, id from 16, seed from 32."""
        secret = self._secrets.of(start_us // self._epoch_us)
        octets = hmac.digest(secret, b"%d/%s" % (start_us, name), "sha512")
        return Drawn(
            start_us,
            start_us + _fraction(octets[:16], self._jitter_us),
            format_id(octets[16:32]),
            octets[32:],
        )

    def _is_alive(self, drawn: Drawn, now: float) -> bool:
        """Say whether it has arrived and not expired, by the rule for real entries."""
        return drawn.arrival_us <= int(now * _MICROSECONDS) < drawn.arrival_us + self._lifetime_us


def _fraction(octets: bytes, whole: int) -> int:
    """Map uniform octets to 0 .. whole - 1 (of 128 bits or more: the bias is nothing)."""
    return int.from_bytes(octets, "big") % whole
