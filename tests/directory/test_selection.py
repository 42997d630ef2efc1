"""A CPS may return what it likes: only keys of those who have the number are taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.directory.selection import (
    MOST_KEYS,
    MOST_RECORDS,
    MOST_SIGNERS,
    Held,
    Selection,
    select,
)
from pbx_stir.stir.certificate import Anchors, SpcPolicy

NOW = 1_750_000_000.0
NUMBER = "12125551234"
DAY = 86_400


def selected(lab: Any, *tokens: str, now: float = NOW, before: Any = None, **options: Any) -> Any:
    """Select for the number."""
    return select(tokens, NUMBER, lab.anchors, SpcPolicy(), now, before or {}, **options)


def test_a_record_gives_its_keys(lab: Any, alice: Any, new_key: Any) -> None:
    """The keys of a good record are taken until it expires."""
    key = new_key()
    found = selected(lab, lab.record(alice, key))
    assert found.keys(NOW) == (key,)
    assert found.keys(NOW + DAY) == ()
    assert (found.refused, found.detail) == (0, "")


def test_the_highest_serial_of_a_signer_counts(lab: Any, alice: Any, new_key: Any) -> None:
    """Whatever the order, and whatever was seen before, the latest record wins."""
    old, new = new_key(), new_key()
    tokens = [lab.record(alice, old, serial=1), lab.record(alice, new, serial=2)]
    for order in (tokens, tokens[::-1]):
        assert selected(lab, *order).keys(NOW) == (new,)
    first = selected(lab, tokens[1])
    assert selected(lab, tokens[0], before=first.held).keys(NOW) == (new,)
    assert selected(lab, before=first.held).keys(NOW) == (new,)


def test_a_renewed_certificate_is_the_same_signer(lab: Any, alice: Any, new_key: Any) -> None:
    """A record under the next certificate of one name replaces the earlier."""
    old, new = new_key(), new_key()
    renewed = lab.credential("Alice")
    tokens = [lab.record(alice, old, serial=1), lab.record(renewed, new, serial=2)]
    assert selected(lab, *tokens).keys(NOW) == (new,)


def test_a_tombstone_revokes(lab: Any, alice: Any, new_key: Any) -> None:
    """After a tombstone the signer has no key, and an older record does not bring it back."""
    record = lab.record(alice, new_key(), serial=1)
    tombstone = lab.record(alice, serial=2)
    found = selected(lab, record, tombstone)
    assert found.keys(NOW) == ()
    assert selected(lab, record, before=found.held).keys(NOW) == ()


def test_keys_are_bounded(lab: Any, alice: Any, new_key: Any) -> None:
    """Two keys of one signer, eight in all, each once."""
    many = [new_key() for _ in range(3)]
    assert selected(lab, lab.record(alice, *many)).keys(NOW) == tuple(many[:2])
    others = [
        lab.record(lab.credential(f"Company {each}"), new_key(), new_key()) for each in range(6)
    ]
    assert len(selected(lab, *others).keys(NOW)) == MOST_KEYS
    shared = [lab.record(lab.credential(f"Site {each}"), many[0]) for each in range(3)]
    assert selected(lab, *shared).keys(NOW) == (many[0],)


def test_who_does_not_have_the_number_is_refused(lab: Any, new_key: Any) -> None:
    """A certificate for other numbers, or a provider's without a table, gives no key."""
    other = lab.credential("Mallory", ranges=(("14155550000", 10),))
    provider = lab.credential("Provider", spcs=("709J",))
    for signer in (other, provider):
        found = selected(lab, lab.record(signer, new_key()))
        assert (found.keys(NOW), found.refused) == ((), 1)
        assert found.detail
    table = SpcPolicy(table={"1212": frozenset({"709J"})})
    key = new_key()
    token = lab.record(provider, key)
    assert select([token], NUMBER, lab.anchors, table, NOW, {}).keys(NOW) == (key,)


def test_a_record_of_another_number_is_refused(lab: Any, alice: Any, new_key: Any) -> None:
    """The signer may have it, but the record does not name it."""
    token = lab.record(alice, new_key(), numbers=("12125551235",))
    assert selected(lab, token).refused == 1


def test_an_untrusted_or_late_record_is_refused(lab: Any, alice: Any, new_key: Any) -> None:
    """No anchor, expired, or from the future: no key."""
    token = lab.record(alice, new_key())
    assert select([token], NUMBER, Anchors.of([]), SpcPolicy(), NOW, {}).refused == 1
    assert selected(lab, token, now=NOW + DAY + 1).refused == 1
    assert selected(lab, lab.record(alice, new_key(), at=NOW + 60)).refused == 1


def test_plain_http_is_admitted_by_choice(lab: Any, alice: Any, new_key: Any) -> None:
    """A record that names a CPS without TLS is for laboratories."""
    token = lab.record(alice, new_key(), cps=("http://127.0.0.1:8480",))
    assert selected(lab, token).refused == 1
    assert selected(lab, token, allow_plain=True).refused == 0


def test_a_certificate_bounds_its_records(lab: Any, new_key: Any) -> None:
    """Keys are not used after the signer's certificate has ended."""
    short = lab.credential("Short", days=0.5)
    found = selected(lab, lab.record(short, new_key()))
    assert found.keys(NOW + 0.4 * DAY)
    assert found.keys(NOW + 0.6 * DAY) == ()


def test_only_so_many_records_are_looked_at(lab: Any, alice: Any, new_key: Any) -> None:
    """A CPS cannot keep us busy: what stands beyond the bound is not read."""
    garbage = [f"{each}.x.y" for each in range(MOST_RECORDS)]
    found = selected(lab, *garbage, lab.record(alice, new_key()))
    assert (found.keys(NOW), found.refused) == ((), MOST_RECORDS)


def test_only_so_many_signers_are_held(lab: Any, alice: Any, new_key: Any) -> None:
    """What is remembered of a number is bounded."""
    before = {f"signer {each}": Held(each, (), NOW + 1) for each in range(2 * MOST_SIGNERS)}
    found = selected(lab, lab.record(alice, new_key(), serial=1000), before=before)
    assert len(found.held) == MOST_SIGNERS
    assert found.keys(NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5), st.integers(0, 3000), st.characters())
def test_no_token_breaks_it(
    lab: Any, alice: Any, tokens: list[str], at: int, character: str
) -> None:
    """Any text, and a good token with one character changed, gives keys or a refusal."""
    good = lab.record(alice, bytes([9]) + bytes(31))
    damaged = good[: at % len(good)] + character + good[at % len(good) + 1 :]
    found = selected(lab, *tokens, damaged)
    assert isinstance(found, Selection)
    assert found.refused == len(set(tokens) | {damaged}) - len(found.keys(NOW))


@pytest.mark.parametrize("character", ["\ud800", "\x00", "=", "\n"])
def test_odd_characters_are_refused(lab: Any, alice: Any, character: str) -> None:
    """A lone surrogate, a NUL, padding or a line's end is no part of a token."""
    good = lab.record(alice, bytes([9]) + bytes(31))
    assert selected(lab, good + character, character + good).refused == 2
