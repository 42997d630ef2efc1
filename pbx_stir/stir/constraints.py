"""JWTClaimConstraints: which claims a certificate's PASSporTs must, may and must not hold.

Takes the DER value of the certificate extension and the claims of a PASSporT; gives nothing, or
says which constraint is broken. It knows no certificate and no signature.

::

    JWTClaimConstraints ::= SEQUENCE {                                  (all tags EXPLICIT)
        mustInclude [0] JWTClaimNames OPTIONAL,
        permittedValues [1] JWTClaimValuesList OPTIONAL }
    EnhancedJWTClaimConstraints ::= SEQUENCE { the same two, and
        mustExclude [2] JWTClaimNames OPTIONAL }
    JWTClaimValues ::= SEQUENCE { claim IA5String, values SEQUENCE SIZE (1..MAX) OF UTF8String }

At least one member is there. Source: RFC 8226 section 8, RFC 9118 sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1

from pbx_stir.errors import ConstraintViolated, MalformedCertificate

OID_JWT_CLAIM_CONSTRAINTS: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.27")
OID_ENHANCED_JWT_CLAIM_CONSTRAINTS: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.33")

MAX_OCTETS: Final = 16_384

_canonical_json = msgspec.json.Encoder(order="sorted")


@asn1.sequence
class _Values:
    """JWTClaimValues."""

    claim: asn1.IA5String
    values: Annotated[list[str], asn1.Size(min=1, max=1024)]


_Include = Annotated[list[asn1.IA5String] | None, asn1.Explicit(0)]
_Permitted = Annotated[list[_Values] | None, asn1.Explicit(1)]
_Exclude = Annotated[list[asn1.IA5String] | None, asn1.Explicit(2)]


@asn1.sequence
class _Enhanced:
    """EnhancedJWTClaimConstraints; without its last member it is also JWTClaimConstraints."""

    must_include: _Include
    permitted_values: _Permitted
    must_exclude: _Exclude


@dataclass(frozen=True, slots=True)
class ClaimConstraints:
    """What one extension demands. ``permitted`` pairs a claim with the values that it may have."""

    must_include: tuple[str, ...] = ()
    permitted: tuple[tuple[str, tuple[str, ...]], ...] = ()
    must_exclude: tuple[str, ...] = ()

    @classmethod
    def parse(cls, der: bytes, *, enhanced: bool) -> ClaimConstraints:
        """Read the extension's value, strictly DER; ``enhanced`` where it is RFC 9118's.

        Raises ``MalformedCertificate``.
        """
        if len(der) > MAX_OCTETS:
            raise MalformedCertificate(f"claim constraints of {len(der)} octets are too long")
        try:
            read = asn1.decode_der(_Enhanced, der)
        except ValueError as error:
            raise MalformedCertificate(f"claim constraints are not der: {error}") from error
        parts = (read.must_include, read.permitted_values, read.must_exclude)
        # "SEQUENCE SIZE (1..MAX)": what is there is not empty, and something is there
        if [] in parts or parts == (None, None, None):
            raise MalformedCertificate("claim constraints that constrain nothing")
        if read.must_exclude is not None and not enhanced:
            raise MalformedCertificate("claim constraints of RFC 8226 with a mustExclude")
        return cls(
            tuple(name.as_str() for name in read.must_include or ()),
            tuple((one.claim.as_str(), tuple(one.values)) for one in read.permitted_values or ()),
            tuple(name.as_str() for name in read.must_exclude or ()),
        )

    def encode(self) -> bytes:
        """Give the DER value: RFC 9118's where ``must_exclude`` is there, else RFC 8226's.

        Each is valid as the other, but for ``must_exclude``.
        """
        include = [asn1.IA5String(name) for name in self.must_include] or None
        permitted = [
            _Values(claim=asn1.IA5String(claim), values=list(values))
            for claim, values in self.permitted
        ] or None
        exclude = [asn1.IA5String(name) for name in self.must_exclude] or None
        return asn1.encode_der(
            _Enhanced(must_include=include, permitted_values=permitted, must_exclude=exclude)
        )

    def check(self, claims: Mapping[str, object]) -> None:
        """Check a PASSporT's decoded payload. Raises ``ConstraintViolated``, naming the claim."""
        for name in self.must_include:
            if name not in claims:
                raise ConstraintViolated(f"the certificate demands a claim {name[:40]!r}")
        for name in self.must_exclude:
            if name in claims:
                raise ConstraintViolated(f"the certificate forbids the claim {name[:40]!r}")
        for name, values in self.permitted:
            # "if the claim name is present, the claim MUST exactly match one of the values"
            if name in claims and not any(_equal(claims[name], value) for value in values):
                raise ConstraintViolated(f"the certificate forbids this value of {name[:40]!r}")

    def allows(self, name: str, value: object) -> bool:
        """Tell whether a PASSporT may have this claim with this value."""
        if name in self.must_exclude:
            return False
        listed = [values for claim, values in self.permitted if claim == name]
        return all(any(_equal(value, one) for one in values) for values in listed)


def _equal(claim: object, permitted: str) -> bool:
    """Compare a claim with a permitted value.

    Strings are compared as they are. RFC 8226 writes every value as a string; of a claim that is
    something else it means the JSON text, which we compare without regard to member order and
    white space (RFC 8225 section 9), since only those can differ between two writings of one value.
    """
    if isinstance(claim, str):
        return claim == permitted
    try:
        return _canonical(claim) == _canonical(msgspec.json.decode(permitted))
    except (ValueError, TypeError, RecursionError):
        return False


def _canonical(value: object) -> bytes:
    """Write JSON in its one spelling; read-only mappings are written as objects."""
    return _canonical_json.encode(_plain(value))


def _plain(value: object) -> object:
    """Turn read-only mappings and tuples into what the encoder knows."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
