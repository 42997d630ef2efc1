"""What a path lets its leaf say: numbers, codes and claims, within what the authorities have."""

from __future__ import annotations

import pytest
from cryptography import x509

from pbx_stir.errors import CertificateUntrusted, ConstraintViolated
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.constraints import OID_JWT_CLAIM_CONSTRAINTS, ClaimConstraints
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.stir.finding import ACCEPT, INSIDE, find, refused


def test_codes(forge, root, ca) -> None:
    """A code alone is accepted by policy; with any number beside it, it decides nothing."""
    provider = forge.leaf(ca, "SHAKEN 1234", tn=TnAuthList(spcs=("1234", "5678")))
    path = find(provider, ca, trust=[root])
    assert path.signer == "1234"
    assert path.covers("19005550100", ACCEPT)
    assert not path.covers("19005550100", SpcPolicy(accept=False))
    table = SpcPolicy(accept=False, table={"1900": frozenset({"5678"})})
    assert path.covers("19005550100", table)
    assert not path.covers("18005550100", table)
    mixed = forge.leaf(ca, "Mixed", tn=TnAuthList(spcs=("1234",), numbers=("12125551234",)))
    path = find(mixed, ca, trust=[root])
    assert path.signer == "Mixed"
    assert path.covers("12125551234", SpcPolicy(accept=False))
    assert not path.covers("19005550100", ACCEPT)


def test_authorities_without_numbers_are_transparent(forge, root) -> None:
    """No list, or one of codes, in an authority says nothing about its leaves' numbers."""
    for listed in (None, TnAuthList(spcs=("9999",))):
        ca = forge.ca(root, tn=listed)
        assert find(forge.leaf(ca), ca, trust=[root]).covers(INSIDE, ACCEPT)
        provider = forge.leaf(ca, tn=TnAuthList(spcs=("9999",)))
        assert find(provider, ca, trust=[root]).covers(INSIDE, ACCEPT)


def test_a_code_below_another(forge, root) -> None:
    """A provider who may delegate makes no certificates of other providers."""
    ca = forge.ca(root, tn=TnAuthList(spcs=("9999", "8888")))
    within = find(forge.leaf(ca, tn=TnAuthList(spcs=("8888",))), ca, trust=[root])
    assert within.covers(INSIDE, ACCEPT)
    outside = find(forge.leaf(ca, tn=TnAuthList(spcs=("8888", "1234"))), ca, trust=[root])
    with pytest.raises(CertificateUntrusted):
        outside.covers(INSIDE, ACCEPT)


def test_authorities_with_numbers_encompass(forge, root) -> None:
    """An authority's list must cover the number and hold the leaf's whole list (RFC 9060)."""
    wide = forge.ca(root, tn=forge.numbers("12125551000", count=1000))
    assert find(forge.leaf(wide), wide, trust=[root]).covers(INSIDE, ACCEPT)
    joined = forge.ca(root, tn=forge.numbers("12125551200", "12125551250", count=50))
    assert find(forge.leaf(joined), joined, trust=[root]).covers(INSIDE, ACCEPT)
    narrow = forge.ca(root, tn=forge.numbers("12125551200", count=50))
    path = find(forge.leaf(narrow), narrow, trust=[root])
    assert not path.covers("12125551250", ACCEPT)
    with pytest.raises(CertificateUntrusted):
        path.covers("12125551249", ACCEPT)
    longer = forge.ca(root, tn=forge.numbers("121255512000", count=1000))
    assert not find(forge.leaf(longer), longer, trust=[root]).covers(INSIDE, ACCEPT)


def test_every_authority_above_encompasses(forge) -> None:
    """The anchor's list binds, and that of an authority two levels up."""
    root = forge.root(tn=forge.numbers("12125551000", count=200))
    ca = forge.ca(root)
    assert not find(forge.leaf(ca), ca, trust=[root]).covers(INSIDE, ACCEPT)
    top = forge.root()
    upper = forge.ca(top, "Upper", tn=forge.numbers("12125551000", count=200))
    lower = forge.ca(upper, "Lower", tn=forge.numbers("12125551200"))
    assert not find(forge.leaf(lower), lower, upper, trust=[top]).covers(INSIDE, ACCEPT)


def test_a_code_below_numbers(forge, root) -> None:
    """Whoever was given numbers cannot make a provider, unless it was given the code as well."""
    ca = forge.ca(root, tn=forge.numbers("12125551200"))
    path = find(forge.leaf(ca, tn=TnAuthList(spcs=("1234",))), ca, trust=[root])
    assert not path.covers("19005550100", ACCEPT)
    with pytest.raises(CertificateUntrusted):
        path.covers(INSIDE, ACCEPT)
    both = TnAuthList(spcs=("1234",), ranges=(("12125551200", 100),))
    ca = forge.ca(root, tn=both)
    path = find(forge.leaf(ca, tn=TnAuthList(spcs=("1234",))), ca, trust=[root])
    assert path.covers(INSIDE, ACCEPT)
    assert not path.covers("19005550100", ACCEPT)


def test_a_path_that_encompasses_is_preferred(forge, root) -> None:
    """Of two certificates of one authority the one whose list is wide enough is used."""
    key = forge.key()
    narrow = forge.ca(root, key=key, tn=forge.numbers("12125551200", count=5))
    wide = forge.ca(root, key=key, tn=forge.numbers("12125551000", count=1000))
    assert find(forge.leaf(wide), narrow, wide, trust=[root]).covers(INSIDE, ACCEPT)


def test_broken_list_above(forge, root) -> None:
    """An authority whose list cannot be read is no authority."""
    ca = forge.ca(root, tn=b"\x30\x00")
    refused(forge.leaf(ca), ca, trust=[root])


def test_authorises_ranges(forge, root, ca, leaf) -> None:
    """All of a range, in the leaf and above; codes by the table only."""
    path = find(leaf, ca, trust=[root])
    assert path.authorises("12125551200", "12125551299", ACCEPT)
    assert path.authorises(INSIDE, INSIDE, ACCEPT)
    assert not path.authorises("12125551200", "12125551300", ACCEPT)
    wide = forge.ca(root, tn=forge.numbers("12125551000", count=1000))
    assert find(forge.leaf(wide), wide, trust=[root]).authorises(INSIDE, INSIDE, ACCEPT)
    provider = find(forge.leaf(ca, tn=TnAuthList(spcs=("1234",))), ca, trust=[root])
    assert not provider.authorises(INSIDE, INSIDE, ACCEPT)
    table = SpcPolicy(table={"1": frozenset({"1234"})})
    assert provider.authorises("12125551200", "12125551300", table)


def test_claim_constraints(forge, root) -> None:
    """The leaf's constraints are held against the claims."""
    value = ClaimConstraints(permitted=(("attest", ("A",)),)).encode()
    extension = x509.UnrecognizedExtension(OID_JWT_CLAIM_CONSTRAINTS, value)
    path = find(forge.leaf(root, extra=[(extension, False)]), trust=[root])
    path.check_claims({"attest": "A"})
    with pytest.raises(ConstraintViolated):
        path.check_claims({"attest": "B"})
    find(forge.leaf(root), trust=[root]).check_claims({"attest": "B"})
