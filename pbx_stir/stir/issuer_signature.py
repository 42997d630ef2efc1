"""The signature of an authority on a revocation list or an OCSP answer.

Takes signature and signed octets, keeps the digest alone: so that many keys may be tried at any
time, whatever the size of what was signed. SHA-256, SHA-384 and SHA-512 with ECDSA or
RSASSA-PKCS1-v1_5 count, as for certificates; nothing else does.
Source: RFC 5758, RFC 4055.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import SignatureAlgorithmOID

_ECDSA: Final[dict[x509.ObjectIdentifier, type[hashes.HashAlgorithm]]] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: hashes.SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: hashes.SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA512,
}
_RSA: Final[dict[x509.ObjectIdentifier, type[hashes.HashAlgorithm]]] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: hashes.SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384: hashes.SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512: hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class IssuerSignature:
    """A signature, not yet known to be anybody's. An unsuitable algorithm has no digest."""

    octets: bytes
    algorithm: x509.ObjectIdentifier
    digest: bytes

    @classmethod
    def over(
        cls, signed: bytes, octets: bytes, algorithm: x509.ObjectIdentifier
    ) -> IssuerSignature:
        """Take the digest of what was signed; as costly as ``signed`` is long."""
        kind = _ECDSA.get(algorithm) or _RSA.get(algorithm)
        if kind is None:
            return cls(octets, algorithm, b"")
        hashing = hashes.Hash(kind())
        hashing.update(signed)
        return cls(octets, algorithm, hashing.finalize())

    def is_by(self, key: object) -> bool:
        """Tell whether this key made it. Never raises."""
        try:
            if isinstance(key, ec.EllipticCurvePublicKey) and self.algorithm in _ECDSA:
                how = ec.ECDSA(Prehashed(_ECDSA[self.algorithm]()))
                key.verify(self.octets, self.digest, how)
                return True
            if isinstance(key, rsa.RSAPublicKey) and self.algorithm in _RSA:
                hashed = Prehashed(_RSA[self.algorithm]())
                key.verify(self.octets, self.digest, padding.PKCS1v15(), hashed)
                return True
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            pass
        return False
