"""Tests of pbx_stir.cps.dummies."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.dummies import Dummies, EpochSecrets
from pbx_stir.cps.wire import is_id
from pbx_stir.errors import StoreUnavailable
from pbx_stir.stir import sealing

NUMBER = "12125551234"
OTHER = "12125551235"


class Drawing:
    """Randomness that is known: each draw is the hash of how many came before."""

    def __init__(self) -> None:
        self.draws = 0

    def __call__(self, octets: int) -> bytes:
        """Draw."""
        self.draws += 1
        return hashlib.sha512(b"%d" % self.draws).digest()[:octets]


class Fetched(EpochSecrets):
    """Secrets that must be prepared, from a place that can be lost, for who shares them."""

    def __init__(self) -> None:
        super().__init__(Drawing())
        self.is_lost = False
        self.prepared: set[int] = set()

    def of(self, epoch: int) -> bytearray:
        """Give what was prepared."""
        if epoch not in self.prepared:
            raise StoreUnavailable("not fetched")
        return super().of(epoch)

    async def prepare(self, first: int, last: int) -> None:
        """Fetch."""
        if self.is_lost:
            raise StoreUnavailable("lost")
        self.prepared |= set(range(first, last + 1))


def known(lifetime_seconds: int = 30, **settings: int) -> Dummies:
    """Dummies whose secrets are known."""
    return Dummies(lifetime_seconds, epoch_secrets=EpochSecrets(Drawing()), **settings)


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The seeds of the dummies whose octets are derived from now on."""
    seeds: list[bytes] = []
    original = sealing.dummy

    def counting(seed: bytes) -> bytes:
        seeds.append(seed)
        return original(seed)

    monkeypatch.setattr(sealing, "dummy", counting)
    return seeds


@given(st.from_regex(r"[0-9]{1,15}", fullmatch=True), st.floats(0, 1e10), st.integers(5, 60))
def test_two_or_three_are_alive_at_any_moment(number: str, now: float, lifetime: int) -> None:
    """Whatever number and moment: two or three, all different, newest first, none future."""
    alive = Dummies(lifetime).ids(number, now)
    assert len(alive) in (2, 3)
    assert len({entry_id for _, entry_id in alive}) == len(alive)
    assert all(is_id(entry_id) for _, entry_id in alive)
    arrivals = [arrival for arrival, _ in alive]
    assert arrivals == sorted(arrivals, reverse=True)
    assert all(now - lifetime - 1e-5 < arrival <= now + 1e-5 for arrival in arrivals)


def test_both_counts_occur() -> None:
    """Two are no less plausible than three."""
    dummies = Dummies(30)
    counts = [len(dummies.ids(NUMBER, now / 10)) for now in range(20_000)]
    assert 0.3 < counts.count(3) / len(counts) < 0.7


def test_it_is_a_function_of_secrets_number_and_time() -> None:
    """Another process with the same secrets gives the same entries, whatever was asked before."""
    one, other = known(), known()
    for now in range(100, 400, 7):
        one.entries(NUMBER, now)
    for now in (1000.0, 1005.5, 4000.0):
        one.sweep(now)
        assert one.entries(NUMBER, now) == other.entries(NUMBER, now)
        assert [(e.arrival, e.id) for e in one.entries(NUMBER, now)] == other.ids(NUMBER, now)


def test_this_version_draws_what_the_one_before_drew() -> None:
    """Workers of two versions on one Redis would betray their dummies by a difference. Where this
    is changed, the changelog must say so, and that all workers are to be stopped first."""
    drawn = hashlib.sha256()
    for entry in known().entries(NUMBER, 1000.0):
        drawn.update(f"{entry.arrival:.6f} {entry.id} ".encode() + entry.octets)
    assert drawn.hexdigest() == "6c696b9de4672e5bd56afe14688afa784c62cf3747603cd31efe8007494b9518"


def test_each_lives_exactly_one_lifetime() -> None:
    """Followed over time, an entry appears at its arrival and goes one lifetime later."""
    dummies = known()
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for tick in range(10_000):
        now = 500.0 + tick / 50
        for _, entry_id in dummies.ids(NUMBER, now):
            first.setdefault(entry_id, now)
            last[entry_id] = now
    whole = [each for each in first if first[each] > 500.0 and last[each] < 500.0 + 9_999 / 50]
    assert len(whole) > 10
    for each in whole:
        assert last[each] - first[each] == pytest.approx(30, abs=0.05)


def test_none_is_repeated_after_its_lifetime_nor_under_another_number() -> None:
    """ "These dummy encrypted PASSporTs MUST NOT be repeated for later calls"."""
    dummies = known()
    seen: dict[bytes, tuple[str, float]] = {}
    for number, now in itertools.product(("1", "2", "12125551234"), range(0, 300, 3)):
        for entry in dummies.entries(number, now):
            key = (number, entry.arrival)
            assert seen.setdefault(entry.wire, key) == key
            assert seen.setdefault(entry.id.encode(), key) == key


def test_arrivals_have_no_common_rhythm() -> None:
    """Numbers have phases of their own, and slots are jittered."""
    dummies = known()
    phases = {round(dummies.ids(f"1212555{n:04}", 1e6)[0][0] % 12, 3) for n in range(200)}
    assert len(phases) > 190
    arrivals = sorted({dummies.ids(NUMBER, now)[0][0] for now in range(0, 3000, 2)})
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(arrivals)]
    assert len(set(gaps)) > 100
    assert 6 < min(gaps) < max(gaps) < 18


def test_octets_are_those_of_a_sealed_passport() -> None:
    """Same size, same alphabet, one spelling."""
    for entry in known().entries(NUMBER, 100.0):
        blob = sealing.from_wire(entry.wire)
        assert sealing.looks_sealed(blob)
        assert sealing.to_wire(blob) == entry.wire


def test_there_is_no_gap_between_epochs() -> None:
    """Where one secret gives way to the next, two or three are alive as ever, each once."""
    dummies = known(epoch_seconds=60)
    for tick in range(2000):
        alive = dummies.ids(NUMBER, tick / 5)
        assert len(alive) in (2, 3)


def test_secrets_are_erased_with_the_last_dummy() -> None:
    """An epoch's secret is overwritten once nothing of it can be alive, and not before."""
    drawing = Drawing()
    secrets = EpochSecrets(drawing)
    dummies = Dummies(30, epoch_secrets=secrets)
    dummies.entries(NUMBER, 3590.0)
    secret = secrets.of(0)
    dummies.sweep(3635.9)
    assert any(secret)
    dummies.sweep(3636.0)
    assert not any(secret)
    assert len(secrets) == 0


def test_a_sweep_changes_no_dummy() -> None:
    """What is swept is what nobody asks for: looks before and after agree."""
    swept, plain = known(epoch_seconds=60), known(epoch_seconds=60)
    for tick in range(1500):
        now = tick / 3
        swept.sweep(now)
        if tick % 4 == 0:
            assert swept.entries(NUMBER, now) == plain.entries(NUMBER, now)


def test_what_is_kept_ready_is_bounded_and_swept() -> None:
    """A look at many numbers keeps at most ``cached`` of them, and a sweep frees them."""
    dummies = known(cached=30)
    for each in range(100):
        dummies.entries(f"1{each}", 0.0)
    assert len(dummies._ready) == 30
    dummies.sweep(36.0)
    assert len(dummies._ready) == 0


def test_the_work_is_the_same_whatever_has_arrived(derived: list[bytes]) -> None:
    """A look derives as many octets whether two or three are alive; a second look none."""
    counts = set()
    for each in range(40):
        dummies = known()
        alive = len(dummies.entries(f"1{each}", 777.0))
        counts.add((alive, len(derived)))
        dummies.entries(f"1{each}", 777.0)
        assert len(derived) == 3
        derived.clear()
    assert counts == {(2, 3), (3, 3)}


def test_who_looks_often_never_waits_for_a_dummy(derived: list[bytes]) -> None:
    """Sweeps draw ahead: what a look takes does not say that a dummy is new."""
    for lifetime in (5, 30, 60):
        dummies = known(lifetime)
        dummies.entries(NUMBER, 777.0)
        for tick in range(1000):
            if tick % 5 == 0:
                dummies.sweep(777.0 + tick / 5)
            derived.clear()
            dummies.entries(NUMBER, 777.0 + tick / 5)
            assert not derived


def test_looks_apart_are_not_noticed_by_others(derived: list[bytes]) -> None:
    """The dummies are the same, but a look costs as much as if nobody had looked there."""
    dummies = known()
    held = dummies.apart()
    seen = held.entries(NUMBER, 100.0)
    dummies.sweep(100.5)
    derived.clear()
    assert dummies.entries(NUMBER, 100.0) == seen
    assert len(derived) == 3
    dummies.sweep(200.0)
    assert not held._ready


def test_a_flood_of_numbers_draws_nothing_ahead() -> None:
    """What would be pushed out before anybody looks again is not drawn; later it is, again."""
    dummies = known(cached=20)
    for each in range(40):
        dummies.entries(f"1{each}", 100.0)
    dummies.sweep(100.5)
    assert {len(each.slots) for each in dummies._ready.values()} == {3}
    dummies.sweep(101.5)
    assert {len(each.slots) for each in dummies._ready.values()} == {3, 4}


def test_a_number_that_nobody_looks_at_is_forgotten() -> None:
    """One lifetime after the last look nothing is kept of it."""
    dummies = known()
    dummies.entries(NUMBER, 100.0)
    dummies.sweep(129.0)
    assert list(dummies._ready) == [NUMBER]
    dummies.sweep(130.0)
    assert not dummies._ready
    assert not dummies._looked_us


async def test_a_look_without_a_secret_leaves_nothing_behind() -> None:
    """What could not be drawn is not drawn ahead either, and no sweep fails for it."""
    source = Fetched()
    dummies = Dummies(30, epoch_secrets=source)
    await dummies.prepare(0.0)
    dummies.entries(OTHER, 7190.0)
    with pytest.raises(StoreUnavailable):
        dummies.entries(NUMBER, 10_000.0)
    with pytest.raises(StoreUnavailable):
        dummies.coming(NUMBER, 10_000.0)
    assert list(dummies._ready) == [OTHER]
    # a number that was looked at a moment ago, whose next slot is of an hour that is not there
    dummies.sweep(7202.0)
    dummies.sweep(7219.0)
    assert list(dummies._ready) == [OTHER]
    await dummies.prepare(10_000.0)
    assert dummies.entries(NUMBER, 10_000.0)


def test_a_wild_clock_fills_no_memory() -> None:
    """Jumps over many epochs, to and fro, keep few secrets."""
    secrets = EpochSecrets()
    dummies = Dummies(30, epoch_secrets=secrets)
    for jump in range(100):
        dummies.ids(NUMBER, (-1) ** jump * jump * 1e5)
    assert len(secrets) <= 4
    assert len(dummies._ready[NUMBER].slots) <= 6


@pytest.mark.parametrize(("lifetime", "epoch"), [(0, 3600), (30, 10)])
def test_impossible_times_are_refused(lifetime: int, epoch: int) -> None:
    """A lifetime of nothing, or an epoch shorter than one, is a mistake."""
    with pytest.raises(ValueError, match="too short"):
        Dummies(lifetime, epoch_seconds=epoch)


def test_what_is_coming_is_what_comes() -> None:
    """The dummy that is said to come next is the next that a look at the number shows."""
    dummies = Dummies(30)
    now = 1000.0
    for _ in range(50):
        entry = dummies.coming(NUMBER, now)
        assert entry.arrival > now
        before = {each.id for each in dummies.entries(NUMBER, entry.arrival - 0.000_01)}
        after = {each.id: each for each in dummies.entries(NUMBER, entry.arrival + 0.000_01)}
        assert after.keys() - before == {entry.id}
        assert after[entry.id].wire == entry.wire
        now = entry.arrival
