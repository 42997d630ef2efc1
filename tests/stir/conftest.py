"""A forger of certificates: right ones by default, wrong in whatever way a test asks for."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

# another moment is for those who hold other verifiers, which know the time of day alone, to it
NOW = int(os.environ.get("PBX_STIR_TEST_NOW", "1750000000"))
DAY = 86_400
_UNSET = object()


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    cert: x509.Certificate
    key: object

    @property
    def der(self) -> bytes:
        """Its DER octets."""
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """Its PEM text."""
        return self.cert.public_bytes(serialization.Encoding.PEM)


def name(common_name: str) -> x509.Name:
    """A subject of one common name; of nothing at all where that is empty."""
    if not common_name:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def usage(**bits: bool) -> x509.KeyUsage:
    """A keyUsage with these bits alone."""
    every = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
         "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**(every | bits))


class Forge:
    """Makes roots, authorities and leaves; keyword arguments make them wrong."""

    now = NOW
    day = DAY
    usage = staticmethod(usage)
    name = staticmethod(name)

    def key(self, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
        """A fresh key."""
        return ec.generate_private_key(curve or ec.SECP256R1())

    def numbers(self, *starts: str, count: int = 100) -> TnAuthList:
        """A list of ranges."""
        return TnAuthList(ranges=tuple((start, count) for start in starts))

    def root(self, common_name: str = "Root", **wrong: object) -> Issued:
        """A self-signed root."""
        return self.ca(None, common_name, **wrong)

    def ca(self, issuer: Issued | None, common_name: str = "CA", **wrong: object) -> Issued:
        """An authority."""
        settings = {"ca": True, "usage_bits": usage(key_cert_sign=True, crl_sign=True)}
        return self.make(issuer, common_name, **(settings | wrong))

    def leaf(
        self,
        issuer: Issued | None,
        common_name: str = "Leaf",
        tn: object = _UNSET,
        **wrong: object,
    ) -> Issued:
        """A leaf for 12125551200 to 12125551299."""
        settings = {"ca": False, "usage_bits": usage(digital_signature=True)}
        listed = self.numbers("12125551200") if tn is _UNSET else tn
        return self.make(issuer, common_name, tn=listed, **(settings | wrong))

    def make(
        self,
        issuer: Issued | None,
        common_name: str,
        *,
        key: object = None,
        ca: bool | None = None,
        ca_critical: bool = True,
        path_length: int | None = None,
        usage_bits: x509.KeyUsage | None = None,
        tn: object = None,
        tn_critical: bool = False,
        not_before: float = NOW - 30 * DAY,
        not_after: float = NOW + 30 * DAY,
        extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
        issuer_name: str | None = None,
        digest: hashes.HashAlgorithm | None = None,
        signing_key: object = None,
    ) -> Issued:
        """A certificate of whatever kind, signed by its issuer or by itself."""
        key = key or self.key()
        signer = signing_key or (issuer.key if issuer else key)
        subject = name(common_name)
        above = issuer.cert.subject if issuer else subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(above if issuer_name is None else name(issuer_name))
            .public_key(key.public_key())  # type: ignore[attr-defined]
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime.fromtimestamp(not_before, datetime.UTC))
            .not_valid_after(datetime.datetime.fromtimestamp(not_after, datetime.UTC))
        )
        if ca is not None:
            constraints = x509.BasicConstraints(ca=ca, path_length=path_length)
            builder = builder.add_extension(constraints, ca_critical)
        if usage_bits is not None:
            builder = builder.add_extension(usage_bits, True)
        if tn is not None:
            der = tn.encode() if isinstance(tn, TnAuthList) else tn
            value = x509.UnrecognizedExtension(OID_TN_AUTH_LIST, der)  # type: ignore[arg-type]
            builder = builder.add_extension(value, tn_critical)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        return Issued(builder.sign(signer, digest or hashes.SHA256()), key)  # type: ignore[arg-type]

    def resign(self, cert: x509.Certificate, old: bytes, new: bytes, key: object) -> bytes:
        """The DER of a certificate with octets replaced (as many), signed again with ``key``."""
        assert len(old) == len(new)
        assert cert.tbs_certificate_bytes.count(old) == 1
        tbs = cert.tbs_certificate_bytes.replace(old, new)
        signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))  # type: ignore[attr-defined]
        return sequence(tbs + ECDSA_SHA256 + tlv(0x03, b"\0" + signature))


ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def tlv(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    return bytes((tag, 0x82)) + size.to_bytes(2, "big") + content


def sequence(content: bytes) -> bytes:
    """A DER SEQUENCE of at least 256 octets."""
    return tlv(0x30, content)


@pytest.fixture(scope="session")
def forge() -> Forge:
    """The forger."""
    return Forge()


@pytest.fixture(scope="module")
def root(forge):
    """A trusted root."""
    return forge.root()


@pytest.fixture(scope="module")
def ca(forge, root):
    """An authority below it."""
    return forge.ca(root)


@pytest.fixture(scope="module")
def leaf(forge, ca):
    """A leaf below that."""
    return forge.leaf(ca)
