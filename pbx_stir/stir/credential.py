"""What we sign with: a certificate, its chain, its private key, and where others find it.

Takes the PEM text of both and the x5u; gives a ``Credential``, or says what an administrator got
wrong, before the first call fails of it. It reads no file, and whether anybody trusts the chain is
not looked at. Source: RFC 8226, RFC 8225 section 4.3 (x5u), RFC 8588 (shaken).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pbx_stir.errors import ConfigurationError, Malformed, Refused, UrlRefused
from pbx_stir.stir.chain import parse_pem_chain
from pbx_stir.stir.constraints import ClaimConstraints
from pbx_stir.stir.profile import (
    check_leaf,
    claim_constraints,
    name_of,
    public_key,
    tn_auth_list,
)
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.stir.x5u import EgressRule, check_url

SHAKEN: Final = "shaken"
BASE: Final = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """``chain``: DER, the leaf first, then its issuers as far as we have them, no root.

    ``ppt`` is that of the PASSporTs it makes, empty for base ones. ``not_before`` and ``not_after``
    are epoch seconds between which the whole chain is valid. ``above`` are the lists with numbers
    of the issuers in the chain; ``constraints`` are the certificate's on the claims of PASSporTs.
    The key is never shown.
    """

    certificate: x509.Certificate
    chain: tuple[bytes, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    x5u: str
    tn_auth_list: TnAuthList
    ppt: str
    not_before: float
    not_after: float
    above: tuple[TnAuthList, ...] = ()
    constraints: tuple[ClaimConstraints, ...] = ()

    @property
    def signer(self) -> str:
        """As others will see us: the provider's code, or the certificate's common name."""
        if self.tn_auth_list.has_numbers:
            return name_of(self.certificate)
        return self.tn_auth_list.spcs[0]

    def covers(self, number: str) -> bool:
        """Tell whether the certificates allow to sign for ``number`` (canonical).

        Where the list has provider's codes only that is always so: which numbers are the
        provider's, no certificate says.
        """
        listed = self.tn_auth_list
        own = listed.covers(number) if listed.has_numbers else True
        return own and all(upper.covers(number) for upper in self.above)

    def allowed(self, claims: Mapping[str, object]) -> dict[str, object]:
        """Give those of ``claims`` that its constraints let a PASSporT have with these values."""
        return {
            name: value
            for name, value in claims.items()
            if all(one.allows(name, value) for one in self.constraints)
        }

    def valid_at(self, now: float) -> bool:
        """Tell whether the certificate and its issuers are valid at ``now`` (epoch seconds)."""
        return self.not_before <= now and int(now) <= self.not_after


def load(certificate_pem: bytes, key_pem: bytes, *, x5u: str, ppt: str | None = None) -> Credential:
    """Make a credential of PEM text: the certificate with its chain in any order, and its key.

    ``ppt``: "shaken", "" for base PASSporTs, or None for what the list says (any number: base;
    codes only: shaken). ``x5u`` is put into PASSporTs as it is.

    Raises ``ConfigurationError``: unreadable or encrypted key, a key that is not P-256 or not the
    certificate's, a certificate that nobody may accept PASSporTs of, or a ``ppt`` that does not go
    with its list.
    """
    key = _load_key(key_pem)
    try:
        certificates = parse_pem_chain(certificate_pem)
    except Malformed as error:
        raise ConfigurationError(
            f"no usable certificate: {error.message}",
            hint="the certificate file holds the PEM certificate and its chain, and no key",
        ) from error
    own = [one for one in certificates if public_key(one) == key.public_key()]
    if not own:
        raise ConfigurationError(
            f"the key is not that of the certificate {name_of(certificates[0])!r}",
            hint="each certificate goes with the one key that was made for its request",
        )
    try:
        listed = check_leaf(own[0])
        chain = _ordered(own[0], certificates)
        above = [tn_auth_list(one) for one in chain[1:]]
        constraints = claim_constraints(own[0])
    except (Malformed, Refused) as error:
        raise ConfigurationError(
            f"the certificate cannot sign calls: {error.message}", hint=error.hint
        ) from error
    return Credential(
        certificate=own[0],
        chain=tuple(one.public_bytes(Encoding.DER) for one in chain),
        key=key,
        x5u=_checked_x5u(x5u),
        tn_auth_list=listed,
        ppt=_checked_ppt(ppt, listed),
        not_before=max(one.not_valid_before_utc.timestamp() for one in chain),
        not_after=min(one.not_valid_after_utc.timestamp() for one in chain),
        above=tuple(one for one in above if one is not None and one.has_numbers),
        constraints=constraints,
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read the private key; its octets never get into a message."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigurationError(
            "the private key is encrypted",
            hint="write it without a pass phrase and let only the service read the file",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # not "from error": what a parser says of a key may quote it
        raise ConfigurationError(
            "the private key cannot be read", hint="a PEM file that begins -----BEGIN PRIVATE KEY"
        ) from (None if isinstance(error, ValueError) else error)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(
            "the private key is not an elliptic curve key", hint="PASSporTs need a P-256 key"
        )
    if not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(
            f"the private key is on curve {key.curve.name}", hint="PASSporTs need a P-256 key"
        )
    return key


def _ordered(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """Give the leaf, its issuer, and so on; without a root and what belongs to somebody else."""
    chain = [leaf]
    while (above := _issuer(chain[-1], certificates)) is not None and above not in chain:
        chain.append(above)
    return chain


def _issuer(
    certificate: x509.Certificate, certificates: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """Find who signed a certificate; None where it is not there, or is a root."""
    for other in certificates:
        if other.subject == other.issuer:
            continue
        try:
            certificate.verify_directly_issued_by(other)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            continue
        return other
    return None


def _checked_ppt(ppt: str | None, listed: TnAuthList) -> str:
    """Choose the kind of PASSporT (RFC 8588: shaken; RFC 9060: base for numbers)."""
    if ppt is None:
        return BASE if listed.has_numbers else SHAKEN
    if ppt not in (BASE, SHAKEN):
        raise ConfigurationError(f"ppt {ppt!r} is not one we make", hint='"shaken" or ""')
    if ppt == BASE and not listed.has_numbers:
        raise ConfigurationError(
            "a certificate without numbers cannot make base passports", hint='ppt = "shaken"'
        )
    return ppt


def _checked_x5u(x5u: str) -> str:
    """Refuse what no verifier will fetch (RFC 8225 section 4.3: an https URL)."""
    try:
        parts = urlsplit(x5u)
        # our own place: only the form of the URL is looked at
        origin = (parts.hostname or "", parts.port or 443)
        check_url(x5u, EgressRule(origins=frozenset({origin})))
    except (ValueError, UrlRefused) as error:
        raise ConfigurationError(
            f"x5u {x5u[:80]!r} is not an https url without query and fragment",
            hint="the url at which others get the certificate file",
        ) from error
    return x5u
