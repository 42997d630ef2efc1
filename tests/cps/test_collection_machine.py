"""What a CPS shows as a state machine: whatever is stored, looked at and waited for.

The real store, dummies and their mixing are driven by stores, looks, sweeps and time, and judged by
what was shown before, not by what they remember:

* every number always shows at least one entry, never two with one id, newest first, not too many;
* a made-up entry is the same for all who look within its lifetime, is there at every look of it,
  and is never seen again after it;
* a real one is there for exactly its lifetime, unless a cap was reached when another one came: then
  the oldest of the owner with the most went, and no other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pbx_stir.cps.dummies import Dummies, EpochSecrets
from pbx_stir.cps.retrieving import Retrieving
from pbx_stir.cps.store import ENTRY_OVERHEAD_OCTETS, Entry, MemoryStore
from pbx_stir.stir import sealing
from tests.cps.test_dummies import Drawing

_T = TypeVar("_T")
LIFETIME = 10
# whatever it is, a number's entries are fewer than one list holds
MOST_OF_A_NUMBER = 4
MOST_IN_ALL = 7
OCTETS = 100
NUMBERS = ("1", "12", "123")
EPOCH_SECONDS = 25


def microseconds(entry: Entry) -> int:
    """When a made-up entry came: a whole number of them."""
    return round(entry.arrival * 1_000_000)


def moment(at: int) -> float:
    """Give the first moment that is in a microsecond, or a float next to it."""
    now = at / 1_000_000
    return now if int(now * 1_000_000) >= at else math.nextafter(now, math.inf)


def do(work: Coroutine[Any, Any, _T]) -> _T:
    """Await what waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


@dataclass
class Stored:
    """A real entry, and whether it had to go before its time."""

    id: str
    number: str
    owner: str
    at: float
    is_gone: bool = False


@dataclass
class Seen:
    """A made-up entry as it was seen first."""

    entry: Entry
    number: str


class CollectionMachine(RuleBasedStateMachine):
    """One CPS; ``now`` is a clock that does not run backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.serial = 0
        self.store = MemoryStore(
            LIFETIME,
            max_entries_of_a_number=MOST_OF_A_NUMBER,
            max_octets=MOST_IN_ALL * (OCTETS + ENTRY_OVERHEAD_OCTETS),
        )
        self.secrets = EpochSecrets(Drawing())
        # fewer numbers than are looked at are kept ready
        self.dummies = Dummies(
            LIFETIME, epoch_secrets=self.secrets, epoch_seconds=EPOCH_SECONDS, cached=2
        )
        self.others = Dummies(LIFETIME, epoch_secrets=self.secrets, epoch_seconds=EPOCH_SECONDS)
        self.retrieving = Retrieving(self.store, self.dummies, lambda: self.now)
        self.stored: list[Stored] = []
        self.seen: dict[str, Seen] = {}

    def alive(self, number: str = "") -> list[Stored]:
        """What must be there of what was stored, oldest first."""
        return [
            one for one in self.stored
            if not one.is_gone and one.at + LIFETIME > self.now and number in {"", one.number}
        ]  # fmt: skip

    @rule(number=st.sampled_from(NUMBERS), owner=st.sampled_from(["a", "b", "c"]))
    def add(self, number: str, owner: str) -> None:
        """Somebody stores."""
        self.serial += 1
        before, here = self.alive(), self.alive(number)
        wire = b"%*d" % (OCTETS, self.serial)
        made = do(self.store.add(number, wire, self.now, owner=owner))
        gone = [one for one in before if not do(self.store.find(one.id, self.now))]
        if len(here) == MOST_OF_A_NUMBER:
            self._check_gone(gone, here)
        elif len(before) == MOST_IN_ALL:
            self._check_gone(gone, before)
        else:
            assert gone == [], "lost, though there was room"
        assert made not in {one.id for one in self.stored} | set(self.seen)
        self.stored.append(Stored(made, number, owner, self.now))

    def _check_gone(self, gone: list[Stored], among: list[Stored]) -> None:
        """The flood pushes out the flood: the oldest of the owner with the most, and only it."""
        (one,) = gone
        counts = Counter(each.owner for each in among)
        assert counts[one.owner] == max(counts.values())
        assert one is next(each for each in among if each.owner == one.owner)
        one.is_gone = True

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.7, 9.999, 10.0, 26.0, 300.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by, with a sweep or without."""
        self.now += seconds

    @precondition(lambda self: self.stored or self.seen)
    @rule(data=st.data())
    def wait_for_an_end(self, data: st.DataObject) -> None:
        """Until the very moment at which an entry is over, or the last one before."""
        ends = [one.at + LIFETIME - off for one in self.stored[-3:] for off in (0, 0.001)]
        made_up = [microseconds(one.entry) for one in list(self.seen.values())[-3:]]
        ends += [moment(each + LIFETIME * 1_000_000 + off) for each in made_up for off in (-1, 0)]
        end = data.draw(st.sampled_from(ends))
        self.now = max(self.now, end)
        for number in NUMBERS:
            self.look(number)

    @rule(number=st.sampled_from(NUMBERS), off=st.sampled_from([-1, 0]))
    def wait_for_a_beginning(self, number: str, off: int) -> None:
        """Until the very moment at which a made-up entry comes, or the last one before."""
        coming = self.others.coming(number, self.now)
        self.now = max(self.now, moment(microseconds(coming) + off))
        self.look(number)
        shown = {entry.id for entry in self.dummies.entries(number, self.now)}
        assert (coming.id in shown) is (off == 0), "not at its moment"

    @rule()
    def sweep(self) -> None:
        """As each second, or late where the machine is busy."""
        do(self.store.sweep(self.now))
        self.dummies.sweep(self.now)
        assert len(self.secrets) <= 3

    @rule(number=st.sampled_from(NUMBERS))
    def look(self, number: str) -> None:
        """Somebody retrieves."""
        real = do(self.store.entries(number, self.now))
        listed = self.retrieving._entries(number, real, None, self.now)
        ids = [entry.id for entry in listed]
        assert ids
        assert len(set(ids)) == len(ids)
        assert [entry.arrival for entry in listed] == sorted(
            (entry.arrival for entry in listed), reverse=True
        )
        expected = {one.id for one in self.alive(number)}
        assert expected <= set(ids), "a real entry is lost"
        self._check_under(number)
        made_up = {entry.id: entry for entry in listed if entry.id not in expected}
        assert not set(made_up) & {one.id for one in self.stored}, "kept beyond its lifetime"
        self._check_made_up(number, made_up)

    def _check_under(self, prefix: str) -> None:
        """Whoever may see a prefix is given what is alive of all its numbers, newest first."""
        found, cursor = do(self.store.under(prefix, self.now, most=2))
        placed = [*found]
        while cursor is not None:
            found, cursor = do(self.store.under(prefix, self.now, before=cursor, most=2))
            placed += found
        expected = [one for one in self.alive() if one.number.startswith(prefix)]
        assert {(one.number, one.entry.id) for one in placed} == {
            (one.number, one.id) for one in expected
        }
        arrivals = [one.entry.arrival for one in placed]
        assert arrivals == sorted(arrivals, reverse=True)
        assert len(placed) == len(expected), "given twice"
        for one in self.stored[-5:]:
            owner = one.owner if one in self.alive() else ""
            assert do(self.store.owner(one.number, one.id, self.now)) == owner

    def _check_made_up(self, number: str, shown: dict[str, Entry]) -> None:
        assert 2 <= len(shown) <= 3
        assert self.others.entries(number, self.now) == list(shown.values()), "not so for all"
        now = int(self.now * 1_000_000)
        for name, entry in shown.items():
            age = now - microseconds(entry)
            assert 0 <= age < LIFETIME * 1_000_000, "beyond its lifetime"
            assert len(entry.wire) == sealing.WIRE_OCTETS
            first = self.seen.setdefault(name, Seen(entry, number))
            assert (first.entry, first.number) == (entry, number), "another one with its id"
        for name, one in self.seen.items():
            if one.number == number and now - microseconds(one.entry) < LIFETIME * 1_000_000:
                assert name in shown, "gone before its time"

    @invariant()
    def memory_is_bounded(self) -> None:
        """No more is held than may be."""
        assert self.store.octets <= MOST_IN_ALL * (OCTETS + ENTRY_OVERHEAD_OCTETS)


def test_a_collection_is_what_it_promises_to_be() -> None:
    """Whatever the order of stores, looks, sweeps and waits."""
    case = CollectionMachine.TestCase
    case.settings = settings(
        max_examples=150,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
