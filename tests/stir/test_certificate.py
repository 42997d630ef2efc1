"""Paths: found whatever the order, refused for each broken rule, honest about time."""

from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from pbx_stir.errors import CertificateUntrusted, MalformedCertificate
from pbx_stir.stir.certificate import Anchors, find_path, parse_chain
from tests.stir.finding import ACCEPT, NOW, expired, find, refused


def test_the_path_from_leaf_to_anchor(root, ca, leaf) -> None:
    """A path says who is on it, until when it holds, and who signs."""
    path = find(leaf, ca, trust=[root])
    assert path.certificates == (leaf.cert, ca.cert, root.cert)
    assert path.leaf == leaf.cert
    assert path.signer == "Leaf"
    assert path.not_after == NOW + 30 * 86_400
    assert path.covers("12125551200", ACCEPT)
    assert path.covers("12125551299", ACCEPT)
    for number in ("12125551300", "12125551199", "121255512340", "2125551234", ""):
        assert not path.covers(number, ACCEPT)


def test_order_and_strangers_do_not_matter(forge, root, ca, leaf) -> None:
    """Root included, wrong order, another's certificates between: the path is found."""
    stranger = forge.root("Stranger")
    junk = forge.leaf(stranger, "Junk")
    for chain in (
        (leaf, ca, root),
        (leaf, root, ca),
        (leaf, junk, root, stranger, ca),
    ):
        assert find(*chain, trust=[stranger, root]).certificates[-1] == root.cert
    assert find(leaf, ca, trust=[root]) == find(leaf, root, ca, trust=[root])


def test_an_anchor_may_stand_anywhere(forge, root, ca, leaf) -> None:
    """An intermediate that is configured ends the path, and so does the leaf itself."""
    assert find(leaf, trust=[ca]).certificates == (leaf.cert, ca.cert)
    assert find(leaf, trust=[leaf]).certificates == (leaf.cert,)
    refused(forge.leaf(ca), trust=[leaf])


def test_missing_and_wrong_issuers(forge, root, ca, leaf) -> None:
    """No intermediate, no anchor, the right name with another key: untrusted."""
    refused(leaf, trust=[root])
    refused(leaf, ca, trust=[])
    refused(leaf, ca, trust=[forge.root("Root")])
    refused(leaf, ca, root, trust=[forge.root("Root")])
    refused(leaf, forge.ca(root), trust=[root])
    refused(forge.leaf(ca, issuer_name="Other"), ca, trust=[root])
    refused(forge.leaf(ca, signing_key=forge.key()), ca, trust=[root])
    with pytest.raises(MalformedCertificate):
        find(trust=[root])


def test_self_signed_leaf(forge, root) -> None:
    """A leaf that vouches for itself is untrusted, also under a trusted name."""
    refused(forge.leaf(None), trust=[root])
    refused(forge.leaf(None, "Root"), trust=[root])


def test_several_of_one_name(forge, root) -> None:
    """Old and new root, re-issued and forged authorities of one name: the right ones are found."""
    old, new = forge.root(), forge.root()
    ca_key = forge.key()
    by_old = forge.ca(old, key=ca_key)
    by_new = forge.ca(new, key=ca_key)
    fake = forge.ca(forge.root(), "CA")
    leaf = forge.leaf(by_new)
    assert find(leaf, fake, by_old, by_new, trust=[root, old, new]).certificates[-1] == old.cert
    assert find(leaf, fake, by_old, by_new, trust=[root, new]).certificates[1] == by_new.cert
    refused(leaf, fake, trust=[root, old, new])


def test_an_expired_one_of_one_name_is_passed_over(forge) -> None:
    """A renewed authority or root with the same key takes over from the expired one."""
    key = forge.key()
    old = forge.root(key=key, not_after=NOW - 1)
    new = forge.root(key=key)
    leaf = forge.leaf(new)
    assert find(leaf, trust=[old, new]).certificates[-1] == new.cert
    expired(leaf, trust=[old])
    ca_key = forge.key()
    ca_old = forge.ca(new, key=ca_key, not_after=NOW - 1)
    ca_new = forge.ca(new, key=ca_key)
    assert find(forge.leaf(ca_new), ca_old, ca_new, trust=[new]).certificates[1] == ca_new.cert


def test_validity(forge, root, ca) -> None:
    """From notBefore through notAfter, both included, for leaf, authority and anchor."""
    leaf = forge.leaf(ca, not_before=NOW - 10, not_after=NOW + 10)
    for now in (NOW - 10, NOW, NOW + 10, NOW + 10.9):
        assert find(leaf, ca, trust=[root], now=now)
    for now in (NOW - 11, NOW - 10.5, NOW + 11):
        expired(leaf, ca, trust=[root], now=now)
    late = forge.ca(root, not_after=NOW - 1)
    expired(forge.leaf(late), late, trust=[root])
    early = forge.ca(root, not_before=NOW + 1)
    expired(forge.leaf(early), early, trust=[root])
    past = forge.root(not_after=NOW - 1)
    expired(forge.leaf(past), trust=[past])
    assert find(forge.leaf(late), late, trust=[root], now=NOW - 1).not_after == NOW - 1


def test_expired_and_wrong_is_untrusted(forge, root) -> None:
    """Only what is right but for the time is called expired."""
    late = forge.ca(root, not_after=NOW - 1, path_length=0)
    below = forge.ca(late, "Below")
    refused(forge.leaf(below), below, late, trust=[root])
    refused(forge.leaf(forge.root(), not_after=NOW - 1), trust=[root])


@pytest.mark.parametrize(
    "wrong",
    [
        {"ca": False},
        {"ca": None},
        {"usage_bits": None},
        {"extra": [(x509.InhibitAnyPolicy(0), True)]},
        {"key": rsa.generate_private_key(65537, 1024)},
    ],
)
def test_authorities_are_authorities(forge, root, wrong) -> None:
    """Whoever may not issue makes no path, though its signatures hold."""
    ca = forge.ca(root, **wrong)
    refused(forge.leaf(ca), ca, trust=[root])
    anchor = forge.root(**wrong)
    if wrong == {"usage_bits": None}:
        assert find(forge.leaf(anchor), trust=[anchor])
    else:
        refused(forge.leaf(anchor), trust=[anchor])


def test_a_leaf_issues_nothing(forge, root, ca, leaf) -> None:
    """A trusted leaf cannot make another leaf."""
    below = forge.leaf(leaf, "Below")
    refused(below, leaf, ca, trust=[root])


def test_path_length(forge, root) -> None:
    """pathLenConstraint counts authorities between; self-issued ones do not count."""
    short = forge.ca(root, "Short", path_length=0)
    assert find(forge.leaf(short), short, trust=[root])
    delegate = forge.ca(short, "Delegate")
    refused(forge.leaf(delegate), delegate, short, trust=[root])
    rolled = forge.ca(short, "Short")
    assert find(forge.leaf(rolled), rolled, short, trust=[root])
    one = forge.root("One", path_length=1)
    first = forge.ca(one, "First")
    second = forge.ca(first, "Second")
    assert find(forge.leaf(first), first, trust=[one])
    refused(forge.leaf(second), second, first, trust=[one])


def test_other_algorithms_above_the_leaf(forge) -> None:
    """P-384 with SHA-384 and RSA may certify a P-256 leaf; SHA-224 may not."""
    root = forge.root(key=forge.key(ec.SECP384R1()), digest=hashes.SHA384())
    ca = forge.ca(root, digest=hashes.SHA384())
    assert find(forge.leaf(ca), ca, trust=[root])
    rsa_root = forge.root(key=rsa.generate_private_key(65537, 2048))
    assert find(forge.leaf(rsa_root), trust=[rsa_root])
    refused(forge.leaf(ca, digest=hashes.SHA224()), ca, trust=[root])


def test_signature_algorithm_inside_and_outside(forge, root) -> None:
    """An algorithm outside that is not the signed one is refused (RFC 5280 section 4.1.1.2)."""
    leaf = forge.leaf(root)
    inside = bytes.fromhex("06082a8648ce3d040302")
    outside = bytes.fromhex("06082a8648ce3d040303")
    at = leaf.der.rindex(inside)
    der = leaf.der[:at] + outside + leaf.der[at + len(outside) :]
    (mixed,) = parse_chain([der])
    with pytest.raises(CertificateUntrusted):
        find_path([mixed], Anchors.of([root.cert]), NOW)


def test_bounded_time(forge) -> None:
    """Certificates that all issued each other cost milliseconds, not minutes."""
    key = forge.key()
    loop = [forge.ca(None, "Loop", key=key) for _ in range(7)]
    leaf = forge.leaf(loop[0])
    anchors = [forge.root("Loop") for _ in range(20)]
    started = time.process_time()
    refused(leaf, *loop, trust=anchors)
    assert time.process_time() - started < 2


def test_anchors(forge, root, ca) -> None:
    """The digest names the set, whatever its order; doubles count once."""
    one = Anchors.of([root.cert, ca.cert])
    two = Anchors.of([ca.cert, root.cert, ca.cert])
    assert one.digest == two.digest
    assert len(two.certificates) == 2
    assert Anchors.of([root.cert]).digest != one.digest
    assert root.cert in one
    assert forge.root().cert not in one


def test_messages_bound_a_strangers_words(forge, root) -> None:
    """What a stranger wrote into a name reaches a message quoted and cut."""
    with pytest.raises(CertificateUntrusted) as caught:
        find(forge.leaf(root, "a\nb\x1b[2J" + "x" * 50, tn=None), trust=[root])
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_rsa_pss_is_verified(forge) -> None:
    """An RSA authority may sign with PSS; the library checks its parameters."""
    root = forge.root(key=rsa.generate_private_key(65537, 2048))
    leaf = forge.leaf(root)
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.cert.subject)
        .issuer_name(root.cert.subject)
        .public_key(leaf.cert.public_key())
        .serial_number(7)
        .not_valid_before(leaf.cert.not_valid_before_utc)
        .not_valid_after(leaf.cert.not_valid_after_utc)
    )
    for extension in leaf.cert.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signed = builder.sign(root.key, hashes.SHA256(), rsa_padding=scheme)
    assert find_path([signed], Anchors.of([root.cert]), NOW)
