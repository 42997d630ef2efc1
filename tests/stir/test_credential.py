"""A credential is right before the first call, or says what to mend."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.certificate import Anchors, find_path, parse_chain
from pbx_stir.stir.credential import load
from pbx_stir.stir.tnauthlist import TnAuthList

X5U = "https://cert.example.com/company.pem"


def pem_of(key, form=PrivateFormat.PKCS8, encryption=None) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.fixture(scope="module")
def issued(forge):
    """A root, an authority below it and a leaf."""
    root = forge.root()
    ca = forge.ca(root)
    return root, ca, forge.leaf(ca, "Company")


def test_loads_in_any_order_and_leaves_the_root_out(forge, issued) -> None:
    """The chain is leaf first, then issuers; root, strangers and order do not matter."""
    root, ca, leaf = issued
    pem = root.pem + b"\n# text\n" + forge.leaf(root, "Stranger").pem + ca.pem + leaf.pem
    credential = load(pem, pem_of(leaf.key), x5u=X5U)
    assert credential.chain == (leaf.der, ca.der)
    assert credential.certificate == leaf.cert
    assert credential.signer == "Company"
    assert credential.x5u == X5U
    assert find_path(parse_chain(credential.chain), Anchors.of([root.cert]), forge.now)


def test_ppt_follows_the_list(forge, issued) -> None:
    """Numbers make base PASSporTs unless shaken is configured, codes alone make shaken ones."""
    _, ca, leaf = issued
    spc = forge.leaf(ca, tn=TnAuthList(spcs=("1234",)))
    assert load(leaf.pem, pem_of(leaf.key), x5u=X5U).ppt == ""
    assert load(leaf.pem, pem_of(leaf.key), x5u=X5U, ppt="shaken").ppt == "shaken"
    provider = load(spc.pem, pem_of(spc.key), x5u=X5U)
    assert provider.ppt == "shaken"
    assert provider.signer == "1234"
    for credential, ppt in ((spc, ""), (leaf, "div"), (leaf, "Shaken")):
        with pytest.raises(ConfigurationError):
            load(credential.pem, pem_of(credential.key), x5u=X5U, ppt=ppt)


def test_covers(forge, issued) -> None:
    """Numbers are judged by the list and by the authorities in the chain; codes cover any."""
    root, _, leaf = issued
    credential = load(leaf.pem, pem_of(leaf.key), x5u=X5U)
    assert credential.covers("12125551299")
    assert not credential.covers("12125551300")
    narrow = forge.ca(root, tn=forge.numbers("12125551200", count=10))
    below = forge.leaf(narrow)
    credential = load(below.pem + narrow.pem, pem_of(below.key), x5u=X5U)
    assert credential.covers("12125551209")
    assert not credential.covers("12125551210")
    spc = forge.leaf(root, tn=TnAuthList(spcs=("1234",)))
    assert load(spc.pem, pem_of(spc.key), x5u=X5U).covers("19005550100")


def test_validity_is_that_of_the_chain(forge, issued) -> None:
    """Whoever is above us and ends earlier ends us, to the second."""
    root, _, _ = issued
    ca = forge.ca(root, not_after=forge.now)
    leaf = forge.leaf(ca, not_before=forge.now - 100)
    credential = load(leaf.pem + ca.pem, pem_of(leaf.key), x5u=X5U)
    assert credential.not_before == forge.now - 100
    assert credential.not_after == forge.now
    assert credential.valid_at(forge.now + 0.9)
    assert not credential.valid_at(forge.now + 1)
    assert credential.valid_at(forge.now - 100)
    assert not credential.valid_at(forge.now - 100.5)


def test_openssl_key_files_load(forge, issued) -> None:
    """Keys as openssl writes them are read: SEC 1, and with its curve in front."""
    leaf = issued[2]
    traditional = pem_of(leaf.key, PrivateFormat.TraditionalOpenSSL)
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert load(leaf.pem, traditional, x5u=X5U)
    assert load(leaf.pem, parameters + traditional, x5u=X5U)


def test_wrong_keys(forge, issued) -> None:
    """Another's key, another curve or kind, an encrypted one and rubbish are named, not shown."""
    leaf = issued[2]
    encrypted = pem_of(leaf.key, encryption=BestAvailableEncryption(b"secret"))
    wrong = {
        "not that of": pem_of(forge.key()),
        "secp384r1": pem_of(forge.key(ec.SECP384R1())),
        "elliptic": pem_of(rsa.generate_private_key(65537, 2048)),
        "encrypted": encrypted,
        "cannot be read": b"-----BEGIN PRIVATE KEY-----\nSECRETKEY\n-----END PRIVATE KEY-----\n",
    }
    for said, key in wrong.items():
        with pytest.raises(ConfigurationError, match=said) as caught:
            load(leaf.pem, key, x5u=X5U)
        assert "SECRETKEY" not in str(caught.value)
        assert caught.value.hint
    assert "EllipticCurve" not in repr(load(leaf.pem, pem_of(leaf.key), x5u=X5U))


def test_wrong_certificates(forge, issued) -> None:
    """A CA, a certificate without numbers, one with a key in its file, rubbish: refused."""
    root, ca, leaf = issued
    bare = forge.leaf(ca, tn=None)
    idle = forge.leaf(ca, usage_bits=forge.usage(key_agreement=True))
    for certificate, key in (
        (root.pem, root.key),
        (bare.pem, bare.key),
        (idle.pem, idle.key),
        (leaf.pem + pem_of(leaf.key), leaf.key),
        (b"", leaf.key),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", leaf.key),
    ):
        with pytest.raises(ConfigurationError):
            load(certificate, pem_of(key), x5u=X5U)


@pytest.mark.parametrize(
    "x5u",
    ["", "http://cert.example.com/a", "https://", "https://a/?q", "https://a/#f", "https://u@a/",
     "https://a b/", "https://a/\n", "ftp://a/", "https://a:99999/", "https://[::1/x", "https://é/",
     "https://a/" + "x" * 2048],
)  # fmt: skip
def test_wrong_x5u(issued, x5u: str) -> None:
    """What no verifier will fetch is refused here."""
    with pytest.raises(ConfigurationError):
        load(issued[2].pem, pem_of(issued[2].key), x5u=x5u)


@pytest.mark.parametrize("x5u", ["https://127.0.0.1:8443/a.pem", "https://localhost:9/", X5U])
def test_our_own_place_may_be_anywhere(issued, x5u: str) -> None:
    """The x5u of a laboratory may lie on this machine and any port."""
    assert load(issued[2].pem, pem_of(issued[2].key), x5u=x5u).x5u == x5u


def test_overlapping_issuers_end(forge) -> None:
    """Certificates that issued each other do not make an endless chain."""
    key_a, key_b = forge.key(), forge.key()
    first = forge.ca(None, "B", key=key_b, issuer_name="A", signing_key=key_a)
    second = forge.ca(None, "A", key=key_a, issuer_name="B", signing_key=key_b)
    leaf = forge.leaf(second)
    chain = load(leaf.pem + first.pem + second.pem, pem_of(leaf.key), x5u=X5U).chain
    assert [x509.load_der_x509_certificate(der).subject for der in chain] == [
        forge.name(name) for name in ("Leaf", "A", "B")
    ]
