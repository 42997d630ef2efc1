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

Every look at a number draws the three slots that started last, alive or not, and keeps them: what
a look costs depends on the number and on whether somebody has looked at it within a lifetime, never
on what else is stored. While it is looked at, what comes next is drawn ahead, between the looks.
Times are integer microseconds inside, so that the counts hold exactly.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from pbx_stir.cps.store import Entry
from pbx_stir.cps.wire import format_id
from pbx_stir.errors import StoreUnavailable
from pbx_stir.stir import sealing

EPOCH_SECONDS = 3600
_MICROSECONDS = 1_000_000
_SLOTS_DRAWN = 3
_DRAWN_OCTETS = 32 + sealing.DUMMY_SEED_OCTETS
_MAX_EPOCHS = 4
# Those drawn, and those drawn ahead where a lifetime is shortest.
_MOST_SLOTS = _SLOTS_DRAWN + 3
# How long before it starts a slot of a number that is looked at is drawn: three sweeps.
_AHEAD_US = 3 * _MICROSECONDS


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


class _Ready(NamedTuple):
    """What is kept of a number that was looked at: its phase, and slots by their start."""

    phase_us: int
    slots: dict[int, tuple[int, Entry]]


class Dummies:
    """The dummies of all numbers. ``cached`` bounds for how many they are kept ready."""

    def __init__(
        self,
        lifetime_seconds: int,
        *,
        epoch_secrets: SecretSource | None = None,
        epoch_seconds: int = EPOCH_SECONDS,
        cached: int = 1500,
    ) -> None:
        """Take a lifetime in whole seconds, and an epoch longer than that."""
        if lifetime_seconds < 1 or epoch_seconds < lifetime_seconds or cached < 1:
            raise ValueError("a dummy's lifetime, epoch or cache is too short")
        self._lifetime_us = lifetime_seconds * _MICROSECONDS
        self._period_us = self._lifetime_us * 2 // 5
        self._jitter_us = self._period_us // 2
        self._epoch_us = epoch_seconds * _MICROSECONDS
        self._secrets: SecretSource = EpochSecrets() if epoch_secrets is None else epoch_secrets
        self._cached = cached
        self._ready: dict[str, _Ready] = {}
        # When each was looked at last, the one longest ago first.
        self._looked_us: OrderedDict[str, int] = OrderedDict()
        self._pushed_out = 0
        self._apart: list[Dummies] = []

    def apart(self) -> Dummies:
        """Give the same dummies, kept ready by looks of their own, and swept with these.

        How long a look takes tells whether somebody has looked before: not the one who may only see
        dummies, when a holder has.
        """
        twin = type(self)(
            self._lifetime_us // _MICROSECONDS,
            epoch_secrets=self._secrets,
            epoch_seconds=self._epoch_us // _MICROSECONDS,
            cached=self._cached,
        )
        self._apart.append(twin)
        return twin

    def ids(self, number: str, now: float) -> list[tuple[float, str]]:
        """Give (arrival, id) of the two or three dummies alive at ``now``, newest first."""
        return [(entry.arrival, entry.id) for entry in self.entries(number, now)]

    def entries(self, number: str, now: float) -> list[Entry]:
        """Give the same with their octets. What it costs does not depend on calls."""
        now_us = int(now * _MICROSECONDS)
        oldest_us = now_us - self._lifetime_us
        drawn = self._look(number, now_us, now_us)
        return [entry for arrival_us, entry in drawn if oldest_us < arrival_us <= now_us]

    def coming(self, number: str, now: float) -> Entry:
        """Give the next dummy that arrives after ``now``, for who is told of arrivals."""
        # Rounded: it is asked with a dummy's own arrival, a float of these microseconds.
        now_us = round(now * _MICROSECONDS)
        slots = self._look(number, now_us, now_us + self._period_us)
        return next(entry for arrival_us, entry in reversed(slots) if arrival_us > now_us)

    def key_for(self, purpose: bytes) -> bytes:
        """Give 16 octets that whoever gives the same dummies has too.

        Raises ``StoreUnavailable`` where nothing is prepared yet.
        """
        # no number, of which the phases are made, has a letter
        return hmac.digest(self._secrets.phase_key, b"key for " + purpose, "sha256")[:16]

    async def prepare(self, now: float) -> None:
        """Have at hand the secrets that looks draw from, until the epoch after this one's end.

        Raises ``StoreUnavailable``.
        """
        first = (int(now * _MICROSECONDS) - _SLOTS_DRAWN * self._period_us) // self._epoch_us
        last = int(now * _MICROSECONDS) // self._epoch_us
        await self._secrets.prepare(first, last + 1)

    def sweep(self, now: float) -> None:
        """Erase secrets of past epochs and what no look draws any more; draw what comes next.

        A number that nobody has looked at for a lifetime is forgotten. For the others the next slot
        is drawn here, not by the first look that needs it: a look that takes longer would say that
        what is new in it is a dummy. Where the secret of a slot is not prepared it is left to the
        look, which says so.
        """
        now_us = int(now * _MICROSECONDS)
        oldest_start_us = now_us - _SLOTS_DRAWN * self._period_us
        self._secrets.erase_before(oldest_start_us // self._epoch_us)
        while self._looked_us:
            number, looked_us = next(iter(self._looked_us.items()))
            if now_us - self._lifetime_us < looked_us:
                break
            self._forget(number)
        # Where all have been pushed out since the last sweep, what is drawn now would be too.
        ahead_us = now_us + (_AHEAD_US if self._pushed_out < self._cached else 0)
        self._pushed_out = 0
        for number, ready in self._ready.items():
            next_us = self._last_start(now_us, ready.phase_us) + self._period_us
            with suppress(StoreUnavailable):
                for start_us in range(next_us, ahead_us, self._period_us):
                    if start_us not in ready.slots:
                        ready.slots[start_us] = self._draw(number, start_us)
            for start_us in [each for each in ready.slots if each <= oldest_start_us]:
                del ready.slots[start_us]
        for twin in self._apart:
            twin.sweep(now)

    def _look(self, number: str, now_us: int, at_us: int) -> list[tuple[int, Entry]]:
        """Give a number's slots as of ``at_us``, and remember that it was looked at."""
        ready = self._ready.get(number)
        if ready is None:
            digest = hmac.digest(self._secrets.phase_key, number.encode(), "sha256")
            ready = _Ready(_fraction(digest, self._period_us), {})
        drawn = self._slots(number, ready, at_us)
        # not before: what could not be drawn for this look is not drawn ahead for another one
        self._note(number, ready, now_us)
        return drawn

    def _note(self, number: str, ready: _Ready, now_us: int) -> None:
        """Remember that somebody looks at a number; forget another where they become too many."""
        if number in self._ready:
            self._looked_us.move_to_end(number)
        else:
            if len(self._ready) == self._cached:
                self._forget(next(iter(self._looked_us)))
                self._pushed_out += 1
            self._ready[number] = ready
        self._looked_us[number] = now_us

    def _slots(self, number: str, ready: _Ready, now_us: int) -> list[tuple[int, Entry]]:
        """Give the three slots that started last, newest first: arrival in microseconds, dummy."""
        slots, period_us = ready.slots, self._period_us
        last = self._last_start(now_us, ready.phase_us)
        starts = (last, last - period_us, last - 2 * period_us)
        for start_us in starts:
            if start_us not in slots:
                slots[start_us] = self._draw(number, start_us)
        # A clock that jumps must not fill the memory.
        while len(slots) > _MOST_SLOTS:
            del slots[next(each for each in slots if each not in starts)]
        return [slots[start_us] for start_us in starts]

    def _forget(self, number: str) -> None:
        """Drop what is kept of a number."""
        del self._looked_us[number]
        del self._ready[number]

    def _last_start(self, now_us: int, phase_us: int) -> int:
        """Give the start of the slot in which a moment is."""
        return now_us - (now_us - phase_us) % self._period_us

    def _draw(self, number: str, start_us: int) -> tuple[int, Entry]:
        """Compute one slot's dummy: arrival from 16 octets of the PRF, id from 16, seed from 32.

        The PRF is SHAKE-256 over the secret, whose length is fixed, and what it is for.
        """
        secret = self._secrets.of(start_us // self._epoch_us)
        # not joined with the rest: a copy would not be overwritten
        drawing = hashlib.shake_256(secret)
        drawing.update(b"%d/%b" % (start_us, number.encode()))
        octets = drawing.digest(_DRAWN_OCTETS)
        arrival_us = start_us + _fraction(octets[:16], self._jitter_us)
        body = sealing.dummy(octets[32:])
        return arrival_us, Entry(
            arrival_us / _MICROSECONDS, format_id(octets[16:32]), body, packed=True
        )


def _fraction(octets: bytes, whole: int) -> int:
    """Map uniform octets to 0 .. whole - 1 (of 128 bits or more: the bias is nothing)."""
    return int.from_bytes(octets, "big") % whole
