"""Claim constraints: read strictly, enforced to the letter."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConstraintViolated, MalformedCertificate
from pbx_stir.stir.constraints import (
    OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
    ClaimConstraints,
)

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


@given(
    st.lists(names, max_size=3),
    st.lists(st.tuples(names, st.lists(st.text(max_size=5), min_size=1, max_size=3)), max_size=3),
    st.lists(names, max_size=3),
)
def test_what_is_written_is_read(
    include: list[str], permitted: list[tuple[str, list[str]]], exclude: list[str]
) -> None:
    """Encoding and parsing are each other's inverse; constraining nothing is malformed."""
    made = ClaimConstraints(
        tuple(include), tuple((name, tuple(values)) for name, values in permitted), tuple(exclude)
    )
    if made == ClaimConstraints():
        with pytest.raises(MalformedCertificate):
            ClaimConstraints.parse(made.encode(), enhanced=True)
    else:
        assert ClaimConstraints.parse(made.encode(), enhanced=True) == made


def test_vectors(vectors: Path) -> None:
    """The public examples of RFC 8226 and RFC 9118 extensions read as they are documented."""
    from cryptography import x509

    found = json.loads((vectors / "rfc/rfc8226_rfc9118_asn1.json").read_text())
    read = ClaimConstraints.parse(
        base64.b64decode(found["JWTClaimConstraints_der_b64"]), enhanced=False
    )
    assert read.must_include == ("foo",)
    assert read.permitted == (("foo", ("foo1", "foo2", "foo3")), ("bar", ("bar1", "bar2")))
    certificate = x509.load_pem_x509_certificate(found["rfc9118_cert_pem"].encode())
    value = certificate.extensions.get_extension_for_oid(OID_ENHANCED_JWT_CLAIM_CONSTRAINTS).value
    assert isinstance(value, x509.UnrecognizedExtension)
    read = ClaimConstraints.parse(value.value, enhanced=True)
    assert read == ClaimConstraints(
        ("confidence",), (("confidence", ("high", "medium")),), ("priority",)
    )


def test_must_include() -> None:
    """A demanded claim has to be there, whatever its value."""
    constraints = ClaimConstraints(must_include=("rcd",))
    constraints.check({"rcd": None})
    with pytest.raises(ConstraintViolated):
        constraints.check({"orig": {}})


def test_must_exclude() -> None:
    """A forbidden claim must not be there, not even empty (RFC 9118)."""
    constraints = ClaimConstraints(must_exclude=("rcd",))
    constraints.check({"orig": {}})
    with pytest.raises(ConstraintViolated):
        constraints.check({"rcd": ""})


def test_permitted_values_bind_only_a_claim_that_is_there() -> None:
    """permittedValues alone does not demand the claim; where it is there, its value must match."""
    constraints = ClaimConstraints(permitted=(("attest", ("A", "B")),))
    constraints.check({})
    constraints.check({"attest": "B"})
    for value in ("C", "", "a", None, ["A"], {"A": 1}):
        with pytest.raises(ConstraintViolated):
            constraints.check({"attest": value})


def test_a_claim_listed_twice_must_satisfy_both() -> None:
    """Two entries for one claim are two constraints."""
    constraints = ClaimConstraints(permitted=(("attest", ("A", "B")), ("attest", ("B", "C"))))
    constraints.check({"attest": "B"})
    with pytest.raises(ConstraintViolated):
        constraints.check({"attest": "A"})


@pytest.mark.parametrize(
    ("claim", "permitted", "holds"),
    [
        ({"nam": "Q Branch", "jcl": "x"}, '{"jcl":"x","nam":"Q Branch"}', True),
        ({"nam": "Q Branch"}, '{ "nam" : "Q Branch" }', True),
        ({"nam": "Q Branch"}, '{"nam":"Q branch"}', False),
        (MappingProxyType({"tn": ("1", "2")}), '{"tn":["1","2"]}', True),
        ({"tn": ["1", "2"]}, '{"tn":["2","1"]}', False),
        (1, "1", True),
        (1, "1.0", False),
        (True, "1", False),
        (True, "true", True),
        (None, "null", True),
        ("1", "1", True),
        ("high", '"high"', False),
        ({"a": 1}, "{", False),
        ({"a": 1}, "", False),
        ({"a": 1}, "[" * 100_000, False),
    ],
)
def test_values_that_are_not_strings(claim: object, permitted: str, holds: bool) -> None:
    """JSON values are compared as values of their exact type, strings as they stand."""
    constraints = ClaimConstraints(permitted=(("x", (permitted,)),))
    if holds:
        constraints.check({"x": claim})
    else:
        with pytest.raises(ConstraintViolated):
            constraints.check({"x": claim})


@pytest.mark.parametrize(
    "der",
    [
        "",
        "3000",
        "3004a0023000",
        "3004a1023000",
        "3009a20730051603726364",
        "3009a0073005160372636400",
        "300aa0073005160372636400",
        "300a80083006160472636461",
        "3009a007300516037263ff",
        "3009a00730050c03726364",
        "300aa00830810516037263 64".replace(" ", ""),
    ],
)
def test_malformed(der: str) -> None:
    """Nothing inside, wrong tags, IMPLICIT tags, loose lengths, octets left over: all refused."""
    with pytest.raises(MalformedCertificate):
        ClaimConstraints.parse(bytes.fromhex(der), enhanced=False)


def test_too_long() -> None:
    """An extension beyond any use is refused before it is read."""
    with pytest.raises(MalformedCertificate):
        ClaimConstraints.parse(bytes(20_000), enhanced=True)


@given(st.binary(max_size=64), st.booleans())
def test_any_octets_are_survived(der: bytes, enhanced: bool) -> None:
    """No value of a hostile certificate gets anything but the named error out."""
    with contextlib.suppress(MalformedCertificate):
        ClaimConstraints.parse(der, enhanced=enhanced)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), json_values), json_values)
def test_any_claims_are_survived(claims: Mapping[str, object], value: object) -> None:
    """Whatever a PASSporT claims, checking gives nothing but the named error."""
    constraints = ClaimConstraints(("a",), (("b", (json.dumps(value), str(value))),), ())
    with contextlib.suppress(ConstraintViolated):
        constraints.check(claims)
