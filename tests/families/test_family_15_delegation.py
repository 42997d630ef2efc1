"""Family 15: authorities with lists of their own (RFC 9060), and constraints on claims."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from pbx_stir.stir.constraints import (
    OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
    OID_JWT_CLAIM_CONSTRAINTS,
    ClaimConstraints,
)
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.families.hostile import ALICE, BOB, FORGE, NONE, Court, Judging, shaken, token
from tests.stir.conftest import tlv

HUNDRED = FORGE.numbers("12125551200")
UPPER: dict[str, tuple[TnAuthList | bytes | None, str]] = {
    # the authority's list, and what becomes of a leaf of 12125551200-99 that calls from 1234
    "no list": (None, ""),
    "a code": (TnAuthList(spcs=("1234",)), ""),
    "the same": (HUNDRED, ""),
    "larger": (FORGE.numbers("12125550000", count=10_000), ""),
    "two halves": (TnAuthList(ranges=(("12125551200", 50), ("12125551250", 50))), ""),
    "overlapping": (TnAuthList(ranges=(("12125551210", 90), ("12125551200", 30))), ""),
    "a range and a number": (
        TnAuthList(ranges=(("12125551200", 99),), numbers=("12125551299",)), "",
    ),
    "more than asked, and a code": (
        TnAuthList(spcs=("1234",), ranges=(("12125551000", 1_000),)), "",
    ),
    "one short at the end": (FORGE.numbers("12125551200", count=99), "certificate-untrusted"),
    "one short at the beginning": (FORGE.numbers("12125551201"), "certificate-untrusted"),
    "a hole": (
        TnAuthList(ranges=(("12125551200", 60), ("12125551261", 39))), "certificate-untrusted",
    ),
    "only the caller": (TnAuthList(numbers=(ALICE,)), "certificate-untrusted"),
    "another's": (FORGE.numbers("19995550000"), "number-not-covered"),
    "the same digits, longer": (FORGE.numbers("121255512000"), "number-not-covered"),
    "malformed": (b"\x30\x00", "certificate-untrusted"),
}  # fmt: skip


@pytest.mark.parametrize("name", UPPER)
def test_family_15_delegation_encompassing(court: Court, judging: Judging, name: str) -> None:
    """An authority with numbers gives no more than it has; one without is transparent."""
    upper, reason = UPPER[name]
    ca = FORGE.ca(court.root, "Delegate", tn=upper)
    text = court.signed(FORGE.leaf(ca), ca)
    if reason:
        judging.refuses(reason, text)
    else:
        judging.passes(text)


def test_family_15_delegation_every_authority(court: Court, judging: Judging) -> None:
    """Each authority of the path counts, not the nearest alone; and a root with a list."""
    narrow = FORGE.ca(court.root, "Narrow", tn=FORGE.numbers("12125551200", count=40))
    wide = FORGE.ca(narrow, "Wide", tn=HUNDRED)
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(wide), wide, narrow))
    within = FORGE.leaf(wide, tn=FORGE.numbers("12125551230", count=10))
    judging.passes(court.signed(within, wide, narrow))
    root = FORGE.root("Listed", tn=FORGE.numbers("19995550000"))
    judging.refuses("number-not-covered", court.signed(FORGE.leaf(root)), trust=[root])
    root = FORGE.root("Listed", tn=HUNDRED)
    judging.passes(court.signed(FORGE.leaf(root)), trust=[root])
    hidden = FORGE.ca(narrow, "Transparent")
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(hidden), hidden, narrow))


def test_family_15_delegation_codes(court: Court, judging: Judging) -> None:
    """A code below numbers is not inside them."""
    ca = FORGE.ca(court.root, "Numbers", tn=HUNDRED)
    leaf = FORGE.leaf(ca, tn=TnAuthList(spcs=("1234",)))
    x5u = court.chain(leaf, ca)
    found = judging(shaken(leaf.key, header={"x5u": x5u}))  # type: ignore[arg-type]
    assert found.short == (1, NONE, "certificate-untrusted")
    ca = FORGE.ca(court.root, "Provider CA", tn=TnAuthList(spcs=("1234",)))
    leaf = FORGE.leaf(ca, tn=TnAuthList(spcs=("1234",)))
    judging.passes(shaken(leaf.key, header={"x5u": court.chain(leaf, ca)}))  # type: ignore[arg-type]
    # a provider who may delegate makes no certificates of other providers
    leaf = FORGE.leaf(ca, tn=TnAuthList(spcs=("5678",)))
    text = shaken(leaf.key, header={"x5u": court.chain(leaf, ca)})  # type: ignore[arg-type]
    judging.refuses("certificate-untrusted", text)


def test_family_15_delegation_better_path(court: Court, judging: Judging) -> None:
    """Where a chain has two ways up, one that encompasses is enough."""
    key = FORGE.key()
    narrow = FORGE.ca(court.root, "Delegate", key=key, tn=TnAuthList(numbers=(ALICE,)))
    wide = FORGE.ca(court.root, "Delegate", key=key, tn=HUNDRED)
    leaf = FORGE.leaf(wide)
    for bundle in ((narrow, wide), (wide, narrow)):
        judging.passes(court.signed(leaf, *bundle))
    judging.refuses("certificate-untrusted", court.signed(leaf, narrow))


def constrained(court: Court, *extensions: tuple[x509.ObjectIdentifier, bytes, bool]) -> Any:
    """A leaf of Alice's numbers with these constraints."""
    extra = [(x509.UnrecognizedExtension(oid, der), critical) for oid, der, critical in extensions]
    leaf = FORGE.leaf(court.ca, extra=extra)
    return leaf.key, {"x5u": court.chain(leaf, court.ca)}


RULES: list[tuple[ClaimConstraints, dict[str, object], bool]] = [
    # the constraints, claims of a shaken PASSporT, whether it may
    (ClaimConstraints(must_include=("attest",)), {}, True),
    (ClaimConstraints(must_include=("rcd",)), {}, False),
    (ClaimConstraints(must_include=("rcd",)), {"rcd": {"nam": "A"}}, True),
    (ClaimConstraints(must_include=("iat", "orig", "dest", "origid")), {}, True),
    (ClaimConstraints(must_include=("Attest",)), {}, False),
    (ClaimConstraints(permitted=(("attest", ("A",)),)), {}, True),
    (ClaimConstraints(permitted=(("attest", ("B", "C")),)), {}, False),
    (ClaimConstraints(permitted=(("attest", ("B", "A")),)), {}, True),
    (ClaimConstraints(permitted=(("attest", ("a",)),)), {}, False),
    (ClaimConstraints(permitted=(("attest", ("A ",)),)), {}, False),
    (ClaimConstraints(permitted=(("absent", ("x",)),)), {}, True),
    (ClaimConstraints(permitted=(("n", ("1",)),)), {"n": 1}, True),
    (ClaimConstraints(permitted=(("n", ("1",)),)), {"n": "1"}, True),
    (ClaimConstraints(permitted=(("n", ("1",)),)), {"n": 2}, False),
    (ClaimConstraints(permitted=(("n", ("true",)),)), {"n": True}, True),
    (ClaimConstraints(permitted=(("n", ("1",)),)), {"n": True}, False),
    (ClaimConstraints(permitted=(("orig", ('{"tn":"12125551234"}',)),)), {}, True),
    (ClaimConstraints(permitted=(("orig", ('{ "tn" : "12125551234" }',)),)), {}, True),
    (ClaimConstraints(permitted=(("orig", ('{"tn":"12125551235"}',)),)), {}, False),
    (ClaimConstraints(permitted=(("orig", ("12125551234",)),)), {}, False),
    (ClaimConstraints(permitted=(("rcd", ('{"nam":"A"}',)),)), {"rcd": {"nam": "A"}}, True),
    (ClaimConstraints(permitted=(("rcd", ('{"nam":"A"}',)),)), {"rcd": {"nam": "B"}}, False),
    (
        ClaimConstraints(permitted=(("rcd", ('{"nam":"A"}',)),)),
        {"rcd": {"nam": "A", "icn": "https://a.example/x"}},
        False,
    ),
    (ClaimConstraints(must_exclude=("rcd",)), {}, True),
    (ClaimConstraints(must_exclude=("rcd",)), {"rcd": {"nam": "A"}}, False),
    (ClaimConstraints(must_exclude=("attest",)), {}, False),
    (ClaimConstraints(must_exclude=("rcd",)), {"rcd": None}, False),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "claims", "may"), RULES)
@pytest.mark.parametrize("critical", [False, True])
def test_family_15_delegation_constraints(
    court: Court,
    judging: Judging,
    rules: ClaimConstraints,
    claims: dict[str, object],
    may: bool,
    critical: bool,
) -> None:
    """mustInclude, permittedValues, mustExclude: the certificate speaks of its PASSporTs."""
    enhanced = bool(rules.must_exclude)
    oid = OID_ENHANCED_JWT_CLAIM_CONSTRAINTS if enhanced else OID_JWT_CLAIM_CONSTRAINTS
    key, header = constrained(court, (oid, rules.encode(), critical))
    text = shaken(key, header=header, claims=claims)
    if may:
        judging.passes(text)
    elif claims.get("rcd", 0) is None:
        judging.refuses("malformed", text)
    else:
        judging.refuses("constraint-violated", text)


def test_family_15_delegation_both_extensions(court: Court, judging: Judging) -> None:
    """Where both stand, both hold."""
    old = (OID_JWT_CLAIM_CONSTRAINTS, ClaimConstraints(must_include=("attest",)).encode(), False)
    new = (
        OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
        ClaimConstraints(permitted=(("attest", ("A",)),)).encode(),
        False,
    )
    key, header = constrained(court, old, new)
    judging.passes(shaken(key, header=header))
    judging.refuses("constraint-violated", shaken(key, header=header, claims={"attest": "B"}))
    judging.refuses("constraint-violated", token(key, header=header))


BROKEN = {
    "nothing": b"",
    "an empty sequence": b"\x30\x00",
    "an empty mustInclude": tlv(0x30, tlv(0xA0, b"\x30\x00")),
    "an implicit tag": tlv(0x30, tlv(0x80, b"attest")),
    "a permittedValues without values": tlv(
        0x30, tlv(0xA1, tlv(0x30, tlv(0x30, tlv(0x16, b"attest") + b"\x30\x00")))
    ),
    "a mustExclude of RFC 9118": tlv(0x30, tlv(0xA2, tlv(0x30, tlv(0x16, b"rcd")))),
    "octets after": ClaimConstraints(must_include=("attest",)).encode() + b"\0",
    "the wrong order": tlv(
        0x30,
        tlv(0xA1, tlv(0x30, tlv(0x30, tlv(0x16, b"attest") + tlv(0x30, tlv(0x0C, b"A")))))
        + tlv(0xA0, tlv(0x30, tlv(0x16, b"attest"))),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_family_15_delegation_broken_constraints(court: Court, judging: Judging, name: str) -> None:
    """Constraints that cannot be read constrain everything, critical or not."""
    for critical in (False, True):
        key, header = constrained(court, (OID_JWT_CLAIM_CONSTRAINTS, BROKEN[name], critical))
        judging.refuses("certificate-untrusted", shaken(key, header=header))


def test_family_15_delegation_honest(court: Court, judging: Judging) -> None:
    """A delegate two authorities down, within all lists, with a name that it may give."""
    upper = FORGE.ca(court.root, "Carrier", tn=FORGE.numbers("12125550000", count=10_000))
    lower = FORGE.ca(upper, "Reseller", tn=FORGE.numbers("12125551000", count=1_000))
    rules = ClaimConstraints(must_include=("rcd",), permitted=(("rcd", ('{"nam":"Alice & Co"}',)),))
    extra = [(x509.UnrecognizedExtension(OID_JWT_CLAIM_CONSTRAINTS, rules.encode()), True)]
    leaf = FORGE.leaf(lower, extra=extra)
    rcd = {"rcd": {"nam": "Alice & Co"}}
    text = court.signed(leaf, lower, upper, header={"ppt": "rcd"}, claims=rcd)
    judging.passes(text, dest=BOB)
    text = court.signed(leaf, lower, upper)
    judging.refuses("constraint-violated", text)
