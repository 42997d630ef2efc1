"""Which records a CPS keeps, and which of two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.records import (
    MAX_ROWS_OF_A_SIGNER,
    MAX_SPANS_OF_A_SIGNER,
    REMEMBERED_SECONDS,
    RecordCheck,
    Row,
    Shelved,
    covers,
    first_prefix_under,
    place,
    prefix_of,
    without,
)
from pbx_stir.cps.records import (
    given as given_out,
)
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable, MalformedRecord, Refused
from pbx_stir.stir.certificate import Path, SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import MAX_LIFETIME_SECONDS, sign_record

from .conftest import NOW, Authority
from .records import NUMBER, OTHER, checked, record


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has both numbers."""
    return authority.credential(NUMBER, OTHER)


@pytest.fixture
def check(authority: Authority) -> RecordCheck:
    """A check that trusts the lab's authority."""
    return RecordCheck(lambda: authority.anchors, SpcPolicy())


def test_a_checked_record_is_what_a_shelf_needs(check: RecordCheck, company: Credential) -> None:
    """Its numbers, serial, the keys that senders would use, and until when it is good."""
    signed = record(f"{NUMBER}-{OTHER}", serial=7, keys=5)
    found = check.check(OTHER, sign_record(signed, company), NOW)
    assert found is not None
    assert (found.spans, found.serial, found.keys) == (((NUMBER, OTHER),), 7, 2)
    assert found.exp == signed.exp


def test_a_record_for_another_number_is_none(check: RecordCheck, company: Credential) -> None:
    """A record is put under one of its own numbers."""
    assert check.check(NUMBER, sign_record(record(OTHER), company), NOW) is None


def test_a_signer_is_its_key(check: RecordCheck, authority: Authority, company: Credential) -> None:
    """Two certificates of one name are two signers; one signer's records have one."""
    tokens = [sign_record(record(serial=serial), company) for serial in (1, 2)]
    tokens.append(sign_record(record(), authority.credential(NUMBER, OTHER)))
    signers = [found.signer for each in tokens if (found := check.check(NUMBER, each, NOW))]
    assert signers[0] == signers[1] != signers[2]


def test_a_stranger_is_refused(check: RecordCheck, authority: Authority) -> None:
    """Without authority over the number, or under another root, nothing is kept."""
    for signer in (authority.credential(OTHER), Authority().credential(NUMBER)):
        with pytest.raises(Refused):
            check.check(NUMBER, sign_record(record(), signer), NOW)
    with pytest.raises(MalformedRecord):
        check.check(NUMBER, "a.b.c", NOW)


class Revocation:
    """Says of every path the same."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self, path: Path, now: float) -> None:
        """Raise what it has."""
        if self.error is not None:
            raise self.error


def test_a_revoked_signer_is_refused(authority: Authority, company: Credential) -> None:
    """A record of a revoked certificate is refused, one of an unknown state as the policy says."""
    revocation = Revocation()
    check = RecordCheck(lambda: authority.anchors, SpcPolicy(), revocation=revocation)
    token = sign_record(record(), company)
    assert check.check(NUMBER, token, NOW) is not None
    for error in (CertificateRevoked("revoked"), CertificateUnavailable("not known")):
        revocation.error = error
        with pytest.raises(type(error)):
            check.check(NUMBER, token, NOW)


def row(record_spans: str, serial: int, **more: float) -> Row:
    """A row of Alice's."""
    spans = checked(*record_spans.split()).spans
    exp = more.get("exp", NOW + 3600)
    return Row("t", b"Alice", spans, serial, 1, exp, NOW + 8 * 86400, more.get("since", NOW - 9))


def test_a_newer_record_cuts_its_numbers_out_of_older_ones() -> None:
    """What it names whole is gone, of the rest the other numbers stay; its place is the first's."""
    ten, one, newest = row("10-16 18-19", 1, since=NOW - 99), row("15", 2), row("17", 9)
    placed = place(checked("15-18", serial=3), "15", [ten, one, newest], [], NOW)
    assert placed.shelved is Shelved.KEPT
    assert placed.gone == (one,)
    assert [each.spans for each in placed.cut] == [(("10", "14"), ("19", "19"))]
    assert placed.row is not None
    assert placed.row.spans == (("15", "16"), ("18", "18"))
    assert placed.row.since == NOW - 99
    assert place(checked("15-18", serial=3), "17", [newest], [], NOW).shelved is Shelved.NOT_NEWER


def test_a_serial_is_remembered_as_long_as_an_older_record_could_be_good() -> None:
    """Seven days, however soon the record itself expires; what took its place remembers longer."""
    placed = place(checked("15", serial=3), "15", [], [], NOW)
    assert placed.row is not None
    assert placed.row.until == NOW + REMEMBERED_SECONDS >= NOW + MAX_LIFETIME_SECONDS
    later = row("15", 1)
    placed = place(checked("15", serial=3), "15", [later], [], NOW)
    assert placed.row is not None
    assert placed.row.until == max(later.until, NOW + REMEMBERED_SECONDS)


def test_an_expired_holder_has_lost_its_place() -> None:
    """Who comes back after its record expired stands behind those who came meanwhile."""
    placed = place(checked("15", serial=3), "15", [row("15", 1, exp=NOW - 1)], [], NOW)
    assert placed.row is not None
    assert placed.row.since == NOW


def test_a_signer_is_bounded() -> None:
    """Neither rows nor spans grow beyond what is searched in little time."""
    rows = [row(str(1000 + each), 1, exp=NOW - 1) for each in range(MAX_ROWS_OF_A_SIGNER)]
    assert place(checked("15", serial=3), "15", rows, [], NOW).shelved is Shelved.TOO_MANY
    assert place(checked("1000", serial=3), "1000", rows, [], NOW).shelved is Shelved.KEPT
    many = row(" ".join(str(2 * each) for each in range(5000, 5000 + MAX_SPANS_OF_A_SIGNER)), 1)
    assert place(checked("15", serial=3), "15", [many], [], NOW).shelved is Shelved.TOO_MANY


def test_who_came_first_is_given_first() -> None:
    """Eight keys a number: a holder does not lose its place by renewing its record."""
    rows = [
        Row(str(since), bytes([since]), (("15", "15"),), 1, 2, NOW + 9, NOW + 9, float(since))
        for since in (5, 1, 4, 2, 3)
    ]
    assert given_out(rows, NOW) == ("1", "2", "3", "4")
    assert given_out(rows, NOW + 9) == ()


SPANS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99)).map(
        lambda pair: (f"{min(pair):02d}", f"{max(pair):02d}")
    )
    | st.integers(0, 9).map(lambda one: (str(one), str(one))),
    max_size=6,
)


@given(SPANS, SPANS)
def test_cutting_is_set_difference(
    spans: list[tuple[str, str]], taken: list[tuple[str, str]]
) -> None:
    """What is left covers exactly the numbers of the one and not of the other."""
    left = without(spans, taken)
    every = [f"{each:02d}" for each in range(100)] + [str(each) for each in range(10)]
    assert [covers(left, each) for each in every] == [
        covers(spans, each) and not covers(taken, each) for each in every
    ]
    assert without(left, taken) == left


@given(SPANS.filter(bool), st.integers(0, 99).map(str) | st.integers(0, 9).map(str))
def test_a_prefix_finds_what_has_a_number_under_it(
    spans: list[tuple[str, str]], prefix: str
) -> None:
    """A row has a place under a prefix exactly where it names a number that begins with it."""
    every = [f"{each:02d}" for each in range(100)] + [str(each) for each in range(10)]
    some = Row("t", b"s", tuple(spans), 1, 1, NOW, NOW, NOW)
    found = first_prefix_under(some, prefix)
    assert (found is not None) == any(
        covers(spans, each) for each in every if each.startswith(prefix)
    )
    if found is not None:
        assert found in {prefix_of(span) for span in spans}
        assert found.startswith(prefix) or prefix.startswith(found)
