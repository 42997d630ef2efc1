"""Chains as they arrive: any order, rubbish around them, never too much."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.chain import parse_chain, parse_pem_chain

PRIVATE = b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
BROKEN = b"-----BEGIN CERTIFICATE-----\nMIIB!\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def issued(forge):
    """A root, an authority, a leaf."""
    root = forge.root()
    ca = forge.ca(root)
    return root, ca, forge.leaf(ca)


def test_the_leaf_comes_first_whatever_the_order(issued) -> None:
    """Root first, leaf in the middle, twice the same: the leaf is found, doubles go."""
    root, ca, leaf = issued
    assert parse_pem_chain(leaf.pem + ca.pem) == (leaf.cert, ca.cert)
    mixed = root.pem + leaf.pem + ca.pem + leaf.pem
    assert parse_pem_chain(mixed) == (leaf.cert, root.cert, ca.cert)


def test_the_leaf_is_the_one_with_numbers(forge, issued) -> None:
    """Of two that are no authorities the one with a TNAuthList, else the first."""
    root, _, leaf = issued
    web = forge.leaf(root, "Web", tn=None)
    other = forge.leaf(root, "Other")
    assert parse_pem_chain(web.pem + leaf.pem)[0] == leaf.cert
    assert parse_pem_chain(other.pem + leaf.pem)[0] == other.cert
    assert parse_pem_chain(web.pem + root.pem)[0] == web.cert
    assert parse_pem_chain(root.pem)[0] == root.cert


def test_line_ends_text_and_broken_blocks_do_no_harm(issued) -> None:
    """CRLF, a byte order mark, text, blocks of other kinds and broken ones are passed over."""
    _, ca, leaf = issued
    request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    cut = b"-----BEGIN CERTIFICATE-----\nMIIB"
    text = (
        b"\xef\xbb\xbfsubject=CN\xe9\n" + BROKEN + request + leaf.pem + b"issuer\n" + ca.pem + cut
    )
    assert parse_pem_chain(text.replace(b"\n", b"\r\n")) == (leaf.cert, ca.cert)


def test_a_certificate_that_cannot_be_read_is_left_out(forge, issued) -> None:
    """Well-formed PEM around octets that are no certificate does not spoil the others."""
    leaf = issued[2]
    junk = b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"
    twice = forge.leaf(issued[0], tn=b"\xff")
    assert parse_pem_chain(junk + leaf.pem) == (leaf.cert,)
    assert parse_pem_chain(twice.pem + leaf.pem)[0] == leaf.cert


@pytest.mark.parametrize(
    "pem", [b"", b"<html>404</html>", BROKEN, PRIVATE, b"-----BEGIN CERTIFICATE-----", b"x" * 65537]
)
def test_files_without_a_certificate(pem: bytes) -> None:
    """HTML, nothing, broken blocks, too much: malformed."""
    with pytest.raises(MalformedCertificate):
        parse_pem_chain(pem)


def test_a_private_key_in_the_file(issued) -> None:
    """Whoever publishes a private key is not believed any more."""
    for pem in (issued[2].pem + PRIVATE, PRIVATE.replace(b"EC ", b"") + issued[2].pem):
        with pytest.raises(MalformedCertificate, match="private key"):
            parse_pem_chain(pem)


def test_at_most_eight(forge, issued) -> None:
    """Eight certificates are a chain, nine are an attack on our time."""
    root = issued[0]
    many = [forge.leaf(root, str(n)) for n in range(9)]
    assert len(parse_pem_chain(b"".join(one.pem for one in many[:8]))) == 8
    assert len(parse_chain([one.der for one in many[:8]])) == 8
    with pytest.raises(MalformedCertificate):
        parse_pem_chain(b"".join(one.pem for one in many))
    with pytest.raises(MalformedCertificate):
        parse_chain([one.der for one in many])


def test_der_keeps_its_order(issued) -> None:
    """In a sealed PASSporT and in x5c the first certificate is the signer's, whatever it is."""
    root, ca, leaf = issued
    assert parse_chain([ca.der, leaf.der, ca.der]) == (ca.cert, leaf.cert)
    assert parse_chain([root.der]) == (root.cert,)


def test_der_is_strict(issued) -> None:
    """One that cannot be read spoils a DER chain, octets behind a certificate too."""
    leaf = issued[2]
    for ders in ([], [b""], [leaf.der, b"\x30\x00"], [leaf.der + b"\0"], [b"\0" * 70_000]):
        with pytest.raises(MalformedCertificate):
            parse_chain(ders)


@given(data=st.data())
def test_damaged_certificates_are_survived(data, issued) -> None:
    """A certificate with octets changed anywhere parses or is malformed."""
    der = bytearray(issued[2].der)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedCertificate):
        parse_chain([bytes(der)])


@given(st.binary(max_size=100))
def test_any_octets_are_survived(octets: bytes) -> None:
    """No body behind an x5u gets anything but the named error out."""
    with contextlib.suppress(MalformedCertificate):
        parse_pem_chain(octets)
    with contextlib.suppress(MalformedCertificate):
        parse_pem_chain(b"-----BEGIN CERTIFICATE-----" + octets + b"-----END CERTIFICATE-----")
    with contextlib.suppress(MalformedCertificate):
        parse_chain([octets])


def test_many_unfinished_blocks_take_no_time() -> None:
    """A file of nothing but beginnings is read in one pass."""
    with pytest.raises(MalformedCertificate):
        parse_pem_chain(b"-----BEGIN CERTIFICATE-----" * 2_400)
