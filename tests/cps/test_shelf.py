"""The shelf of records in memory."""

from __future__ import annotations

import pytest

from pbx_stir.cps.records import REMEMBERED_SECONDS, Shelved
from pbx_stir.cps.shelf import MAX_OCTETS_OF_A_PAGE, MAX_RECORDS_OF_A_PAGE, MemoryShelf, RecordPage
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import sign_record

from .conftest import NOW, Authority
from .records import NUMBER, OTHER, Desk, checked, record


@pytest.fixture
def shelf() -> MemoryShelf:
    """An empty shelf."""
    return MemoryShelf()


@pytest.fixture
def desk(authority: Authority, shelf: MemoryShelf) -> Desk:
    """It with the check before it."""
    return Desk(authority, shelf)


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has both numbers."""
    return authority.credential(NUMBER, OTHER)


async def test_an_unknown_number_has_none(shelf: MemoryShelf) -> None:
    """Nothing is kept of a number until somebody puts it."""
    assert await shelf.tokens(NUMBER, NOW) == ()
    assert await shelf.under("1", NOW) == RecordPage()


async def test_a_record_is_found_under_all_its_numbers(desk: Desk, company: Credential) -> None:
    """Put under one number, it is given for each that it names, and for no other."""
    token = sign_record(record(f"{NUMBER}-{OTHER}"), company)
    assert await desk.put(NUMBER, token) is Shelved.KEPT
    for number in (NUMBER, OTHER):
        assert await desk.shelf.tokens(number, NOW) == (token,)
    for number in ("12125551236", "1212555123"):
        assert await desk.shelf.tokens(number, NOW) == ()


async def test_serials_only_grow(desk: Desk, company: Credential, shelf: MemoryShelf) -> None:
    """A newer record takes the older one's place; the same or an older one is refused."""
    tokens = [sign_record(record(serial=serial), company) for serial in (5, 5, 4, 6)]
    got = [await desk.put(NUMBER, token) for token in tokens]
    assert got == [Shelved.KEPT, Shelved.NOT_NEWER, Shelved.NOT_NEWER, Shelved.KEPT]
    assert await shelf.tokens(NUMBER, NOW) == (tokens[3],)
    assert len(shelf) == 1


async def test_a_tombstone_bars_what_it_revoked(desk: Desk, company: Credential) -> None:
    """After a tombstone an older record does not come back, and the tombstone is given out."""
    old = sign_record(record(serial=1, hours=100), company)
    tombstone = sign_record(record(serial=2, keys=0, hours=1), company)
    got = [await desk.put(NUMBER, each) for each in (old, tombstone, old)]
    assert got == [Shelved.KEPT, Shelved.KEPT, Shelved.NOT_NEWER]
    assert await desk.shelf.tokens(NUMBER, NOW) == (tombstone,)
    # nor once the tombstone is over
    assert await desk.shelf.tokens(NUMBER, NOW + 3601) == ()
    await desk.shelf.sweep(NOW + 3601)
    assert await desk.put(NUMBER, old, NOW + 3601) is Shelved.NOT_NEWER


async def test_a_newer_record_of_fewer_numbers_leaves_the_others(
    desk: Desk, company: Credential
) -> None:
    """Of each number the signer's newest record that names it is given."""
    both = sign_record(record(NUMBER, OTHER, serial=1), company)
    one = sign_record(record(NUMBER, serial=2), company)
    for token in (both, one):
        assert await desk.put(NUMBER, token) is Shelved.KEPT
    assert await desk.shelf.tokens(NUMBER, NOW) == (one,)
    assert await desk.shelf.tokens(OTHER, NOW) == (both,)
    assert await desk.put(NUMBER, both) is Shelved.NOT_NEWER


async def test_records_expire_and_their_serials_later(shelf: MemoryShelf) -> None:
    """An expired record is not given and takes no room; seven days later its serial is forgotten,
    when none could be good that is older."""
    await shelf.put(NUMBER, checked(token="x" * 1000), NOW)
    full = shelf._octets
    for now in (NOW + 3600, NOW + REMEMBERED_SECONDS - 1):
        await shelf.sweep(now)
        assert await shelf.tokens(NUMBER, now) == ()
        assert (len(shelf), shelf._octets) == (1, full - 1000)
        older = checked(exp=now + 9)
        assert await shelf.put(NUMBER, older, now) is Shelved.NOT_NEWER
    await shelf.sweep(NOW + REMEMBERED_SECONDS)
    assert (len(shelf), shelf._octets, shelf._places) == (0, 0, [])


async def test_what_is_over_bars_nothing_before_a_sweep(shelf: MemoryShelf) -> None:
    """A sweep frees room and decides nothing."""
    await shelf.put(NUMBER, checked(serial=5), NOW)
    later = NOW + REMEMBERED_SECONDS
    assert await shelf.put(NUMBER, checked(serial=1, exp=later + 9), later) is Shelved.KEPT
    assert len(shelf) == 1


async def test_a_clock_set_back_brings_nothing_back(shelf: MemoryShelf) -> None:
    """What was swept away as expired is not given as an empty token."""
    await shelf.put(NUMBER, checked(), NOW)
    await shelf.sweep(NOW + 3600)
    assert await shelf.tokens(NUMBER, NOW) == ()
    assert await shelf.under("1", NOW) == RecordPage()


async def test_eight_keys_a_number(shelf: MemoryShelf) -> None:
    """Four signers with two keys each fill a number; a fifth is refused, the four may renew."""
    for each in range(4):
        some = checked(keys=2, signer=b"%d" % each)
        assert await shelf.put(NUMBER, some, NOW) is Shelved.KEPT
    assert await shelf.put(NUMBER, checked(signer=b"5"), NOW) is Shelved.TOO_MANY
    before = await shelf.tokens(NUMBER, NOW)
    renewed = checked(serial=2, keys=2, signer=b"0")
    assert await shelf.put(NUMBER, renewed, NOW + 1) is Shelved.KEPT
    assert await shelf.tokens(NUMBER, NOW + 1) == (renewed.token, *before[1:])


async def test_a_latecomer_does_not_push_a_holder_out(shelf: MemoryShelf) -> None:
    """Whose record came to a full number by way of another one is not given there, whoever
    renews."""
    for each in range(4):
        await shelf.put(NUMBER, checked(keys=2, signer=b"%d" % each), NOW)
    late = checked(NUMBER, OTHER, signer=b"late")
    assert await shelf.put(OTHER, late, NOW + 1) is Shelved.KEPT
    assert await shelf.tokens(OTHER, NOW + 1) == (late.token,)
    for each in range(4):
        await shelf.put(NUMBER, checked(serial=2, keys=2, signer=b"%d" % each), NOW + 2)
    assert late.token not in await shelf.tokens(NUMBER, NOW + 2)


async def test_a_record_that_names_a_number_twice_counts_once(shelf: MemoryShelf) -> None:
    """Its keys are no more for that, and it is given once."""
    twice = checked("1212-1214", "1213", keys=2, signer=b"Bob")
    await shelf.put("1213", twice, NOW)
    assert await shelf.tokens("1213", NOW) == (twice.token,)
    for each in range(3):
        some = checked("1213", keys=2, signer=b"%d" % each)
        assert await shelf.put("1213", some, NOW) is Shelved.KEPT


async def test_tombstones_are_bounded(shelf: MemoryShelf) -> None:
    """Records without keys take room too: sixteen of a number are enough."""
    for each in range(16):
        some = checked(keys=0, signer=b"%d" % each)
        assert await shelf.put(NUMBER, some, NOW) is Shelved.KEPT
    assert await shelf.put(NUMBER, checked(keys=0), NOW) is Shelved.TOO_MANY


async def test_memory_is_bounded() -> None:
    """A full shelf says so, keeps what it has, and lets it be renewed."""
    shelf = MemoryShelf(max_octets=4000)
    first = checked()
    assert await shelf.put(NUMBER, first, NOW) is Shelved.KEPT
    assert await shelf.put(OTHER, checked(OTHER), NOW) is Shelved.FULL
    assert await shelf.tokens(NUMBER, NOW) == (first.token,)
    assert await shelf.put(NUMBER, checked(serial=2), NOW) is Shelved.KEPT


async def test_a_prefix_finds_ranges_above_and_numbers_below(shelf: MemoryShelf) -> None:
    """A record is under a prefix where it names any number that begins so, and is there once."""
    names = ("1212-1646", "12125550000-12125559999", "12125551234", "1213-1214 12125551", "1215")
    for each, spans in enumerate(names):
        listed = spans.split()
        first = listed[0].partition("-")[0]
        await shelf.put(first, checked(*listed, signer=b"%d" % each, token=str(each)), NOW)
    for prefix, wanted in {
        "1": {"0", "1", "2", "3", "4"},
        "1212555": {"1", "2", "3"},
        "12125551234": {"1", "2"},
        "1212": {"0", "1", "2", "3"},
        "1213": {"0", "3"},
        "13": {"0"},
        "2": set(),
    }.items():
        page = await shelf.under(prefix, NOW)
        assert (len(page.tokens), set(page.tokens), page.after) == (len(wanted), wanted, "")
        assert await shelf.under(prefix, NOW + 3600) == RecordPage()


async def test_pages_hold_all_and_end(shelf: MemoryShelf) -> None:
    """Page by page everything under a prefix is given once, bounded in number and octets."""
    for each in range(200):
        number = str(12125550000 + each)
        size = 30_000 if each % 2 else 100
        some = checked(number, signer=b"%d" % each, token=str(each).ljust(size))
        await shelf.put(number, some, NOW)
    await shelf.put("1", checked("1", token="elsewhere"), NOW)
    found: list[str] = []
    page = await shelf.under("12125550", NOW)
    while True:
        found += page.tokens
        assert len(page.tokens) <= MAX_RECORDS_OF_A_PAGE
        assert sum(map(len, page.tokens)) <= MAX_OCTETS_OF_A_PAGE
        if not page.after:
            break
        # what is renewed meanwhile is neither lost nor endless
        renewed = checked("12125550000", signer=b"0", serial=len(found), token="0".ljust(100))
        await shelf.put("12125550000", renewed, NOW)
        page = await shelf.under("12125550", NOW, page.after)
    assert sorted(int(each) for each in found) == list(range(200))


@pytest.mark.parametrize("after", ["x", "1", ".", "1.x", "1212.99999999999999999999", "-1.-1"])
async def test_nothing_comes_after_a_cursor_that_is_none(shelf: MemoryShelf, after: str) -> None:
    """A stranger may write there what he likes."""
    await shelf.put(NUMBER, checked(), NOW)
    assert await shelf.under("1212", NOW, after) == RecordPage()
