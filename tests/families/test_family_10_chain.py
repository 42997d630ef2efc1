"""Family 10: chains with something missing, too much, in another order, or another's."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.families.hostile import FORGE, X5U, Court, Judging, token
from tests.stir.conftest import Issued


def test_family_10_chain_honest(court: Court, judging: Judging) -> None:
    """Any order, the root among them, text between, CRLF, doubled, another's certificates."""
    stranger = FORGE.root("Stranger")
    other = FORGE.leaf(stranger, "Other")
    alice, ca, root = court.alice, court.ca, court.root
    crlf = (alice.pem + ca.pem).replace(b"\n", b"\r\n")
    bundles: list[tuple[Issued | bytes, ...]] = [
        (alice, ca),
        (alice, ca, root),
        (root, ca, alice),
        (ca, alice),
        (alice, root, ca),
        (alice, alice, ca, ca, root),
        (alice, other, stranger, ca),
        (other, alice, ca),
        (b"# Alice\nsubject=CN=Alice\n", alice, b"\n\n-- issuer --\n", ca, b"junk after it"),
        (crlf,),
        (b"\xef\xbb\xbf" + alice.pem, ca),
        (alice.pem.rstrip(b"\n"), b"\n", ca.pem.rstrip(b"\n")),
        (alice, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ca),
        (alice, b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", ca),
        (alice, b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", ca),
        (alice, ca, b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
    ]
    for bundle in bundles:
        judging.passes(token(court.key, header={"x5u": court.chain(*bundle)}))


def test_family_10_chain_missing(court: Court, judging: Judging) -> None:
    """No intermediate, no leaf, no root that is trusted."""
    alice, ca, root = court.alice, court.ca, court.root
    for bundle in ((alice,), (alice, root), (ca,), (ca, root), (root,), (b"",), (b"junk",)):
        text = token(court.key, header={"x5u": court.chain(*bundle)})
        judging.refuses("certificate-untrusted", text)
    judging.refuses("certificate-untrusted", token(court.key), trust=[FORGE.root("Other")])
    # an intermediate that is trusted needs no root, and a leaf's issuer is enough
    judging.passes(token(court.key, header={"x5u": court.chain(alice)}), trust=[ca])


def test_family_10_chain_of_the_same_names(court: Court, judging: Judging) -> None:
    """Root and authority of the right names and other keys."""
    root, ca = FORGE.root(), FORGE.ca(FORGE.root())
    judging.refuses("certificate-untrusted", token(court.key), trust=[root])
    judging.refuses("certificate-untrusted", token(court.key), trust=[root, FORGE.root()])
    judging.passes(token(court.key), trust=[root, court.root, FORGE.root()])
    x5u = court.chain(court.alice, ca)
    judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))
    judging.passes(token(court.key, header={"x5u": court.chain(court.alice, ca, court.ca)}))
    mallory = FORGE.root("Mallory")
    fake = FORGE.ca(mallory)
    leaf = FORGE.leaf(fake, "Alice")
    for bundle in ((leaf, fake), (leaf, fake, mallory), (leaf, fake, court.ca, court.root)):
        judging.refuses("certificate-untrusted", court.signed(*bundle))


def test_family_10_chain_broken_links(court: Court, judging: Judging) -> None:
    """Signed by another key than its issuer's, or naming another issuer."""
    for leaf in (
        FORGE.leaf(court.ca, signing_key=FORGE.key()),
        FORGE.leaf(court.ca, signing_key=court.root.key),
        FORGE.leaf(court.ca, issuer_name="Root"),
        FORGE.leaf(court.ca, issuer_name="CA "),
        FORGE.leaf(court.ca, issuer_name="ca"),
        FORGE.leaf(court.ca, issuer_name=""),
        FORGE.leaf(None),
        FORGE.leaf(None, "CA"),
        FORGE.leaf(None, "Root"),
        FORGE.leaf(court.alice),
        FORGE.leaf(court.provider),
    ):
        bundle = (court.ca, court.root, court.alice, court.provider)
        judging.refuses("certificate-untrusted", court.signed(leaf, *bundle))
    text = court.signed(FORGE.leaf(court.root), court.root)
    judging.passes(text)


def _flipped(issued: Issued, at: int) -> bytes:
    der = bytearray(issued.der)
    der[at] ^= 1
    body = base64.encodebytes(bytes(der))
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("at", [40, 60, 120, 200, -1, -10, -40])
def test_family_10_chain_flipped_bit(court: Court, judging: Judging, at: int) -> None:
    """A bit of the leaf or of the authority changed: nothing holds."""
    x5u = court.chain(_flipped(court.alice, at), court.ca)
    assert judging(token(court.key, header={"x5u": x5u})).status == 1
    x5u = court.chain(court.alice, _flipped(court.ca, at))
    judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))


def test_family_10_chain_private_key(court: Court, judging: Judging) -> None:
    """Who publishes the key has lost it, whatever its form."""
    for form in (
        serialization.PrivateFormat.PKCS8,
        serialization.PrivateFormat.TraditionalOpenSSL,
    ):
        key = court.key.private_bytes(
            serialization.Encoding.PEM, form, serialization.NoEncryption()
        )
        x5u = court.chain(court.alice, court.ca, key)
        judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))


def test_family_10_chain_too_much(court: Court, judging: Judging) -> None:
    """More certificates or octets than a chain has are not searched."""
    many = [FORGE.ca(court.root, f"CA {at}") for at in range(8)]
    x5u = court.chain(court.alice, *many, court.ca)
    judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))
    x5u = court.chain(court.alice, *many[:6], court.ca)
    judging.passes(token(court.key, header={"x5u": x5u}))
    x5u = court.chain(court.alice, court.ca, b"#" * 65_536)
    judging.refuses("certificate-unavailable", token(court.key, header={"x5u": x5u}))


def test_family_10_chain_that_was_all_made_to_cost(court: Court, judging: Judging) -> None:
    """Eight certificates of one name that all issued each other, below many roots of that name."""
    key = rsa.generate_private_key(65537, 2048)
    loop = [FORGE.ca(None, "Loop", key=key) for _ in range(7)]
    leaf = FORGE.leaf(loop[0])
    roots = [FORGE.root("Loop") for _ in range(20)]
    judging.refuses("certificate-untrusted", court.signed(leaf, *loop), trust=roots)
    judging.passes(court.signed(leaf, *loop), trust=[*roots, loop[3]])


def test_family_10_chain_der_is_not_pem(court: Court, judging: Judging) -> None:
    """x5u is PEM (RFC 7515 section 4.1.5)."""
    x5u = court.chain(court.alice.der)
    judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))
    both = [court.alice.cert, court.ca.cert]
    bag = pkcs7.serialize_certificates(both, serialization.Encoding.PEM)
    x5u = court.chain(bag)
    judging.refuses("certificate-untrusted", token(court.key, header={"x5u": x5u}))


def test_family_10_chain_anchor_that_is_a_leaf(court: Court, judging: Judging) -> None:
    """A leaf given as anchor vouches for nobody, itself among them."""
    text = token(court.key)
    judging.refuses("certificate-untrusted", text, trust=[court.alice])
    judging.passes(text, trust=[court.alice, court.root])
    own = FORGE.leaf(None, "Own")
    judging.refuses("certificate-untrusted", court.signed(own), trust=[own])


def test_family_10_chain_cross_signed(court: Court, judging: Judging) -> None:
    """An authority certified by two roots, of which one is trusted; a new root below the old."""
    second, key = FORGE.root("Second"), FORGE.key()
    by_first, by_second = (FORGE.ca(root, "Cross", key=key) for root in (court.root, second))
    leaf = FORGE.leaf(by_first)
    for bundle in ((by_first, by_second), (by_second, by_first)):
        text = court.signed(leaf, *bundle)
        judging.passes(text)
        judging.passes(text, trust=[second])
        judging.refuses("certificate-untrusted", text, trust=[FORGE.root("Third")])
    under_old = FORGE.ca(court.root, "Second", key=second.key)
    judging.passes(court.signed(FORGE.leaf(second), under_old))


def test_family_10_chain_unreadable_names(court: Court, judging: Judging) -> None:
    """A name that a terminal or log would obey is shown as what it is: words."""
    odd = FORGE.leaf(court.ca, "A\x1b[31m\r\nB\u202e${X}")
    found = judging.passes(court.signed(odd, court.ca))
    assert found.signer == "A\x1b[31m\r\nB\u202e${X}"
    assert isinstance(odd.cert, x509.Certificate)


def test_family_10_chain_map_spellings(court: Court, judging: Judging) -> None:
    """A URL is looked up as it stands, then in its one form; letters of its path count."""
    upper = X5U.replace("certificates", "CERTIFICATES").replace("https", "HTTPS")
    judging.passes(token(court.key, header={"x5u": upper}))
    judging.passes(token(court.key, header={"x5u": X5U.replace(".com/", ".com:443/")}))
    for other in ("Alice.pem", "alice.pem/", "%61lice.pem", "./alice.pem", "x/../alice.pem"):
        x5u = X5U.replace("alice.pem", other)
        judging.refuses("certificate-unavailable", token(court.key, header={"x5u": x5u}))
