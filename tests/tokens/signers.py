"""STIR credentials for token requests: leaves of one authority, and authorities below it."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.certificates import issuing
from pbx_stir.stir import credential as credentials
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.tokens.spending import NOW

NUMBERS = TnAuthList(ranges=(("12125550000", 1000),))


class Authority:
    """One that issues leaves, or stands above others that do."""

    def __init__(self, above: Authority | None = None, name: str = "Lab") -> None:
        self.above = above
        if above is None:
            self.certificate, self.key = issuing.new_root(name, NOW - 1000, 30)
        else:
            self.key = issuing.new_key()
            self.certificate = issuing.issue_ca(
                above.certificate,
                above.key,
                self.key.public_key(),
                name,
                NOW - 1000,
                29,
                path_length=None,
            )

    @property
    def anchors(self) -> Anchors:
        """This authority, trusted."""
        return Anchors.of([self.certificate])

    def credential(
        self,
        listed: TnAuthList = NUMBERS,
        *,
        name: str = "Company",
        key: ec.EllipticCurvePrivateKey | None = None,
        begins: float = NOW - 1000,
        days: int = 20,
    ) -> Credential:
        """A leaf with these numbers or codes, and the chain above it but for the root."""
        private = key or issuing.new_key()
        leaf = issuing.issue_leaf(
            self.certificate, self.key, private.public_key(), name, listed, begins, days
        )
        chain: list[x509.Certificate] = [leaf]
        authority: Authority | None = self
        while authority is not None and authority.above is not None:
            chain.append(authority.certificate)
            authority = authority.above
        pem = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
        written = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return credentials.load(pem, written, x5u="https://cert.example.com/c.pem")
