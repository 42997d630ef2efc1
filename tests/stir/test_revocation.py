"""A path is good, revoked or unknown by what lists and answers prove, and by nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.ocsp import parse_answer
from pbx_stir.stir.revocation import (
    MOST_PLACES,
    SHORT_LIVED_SECONDS,
    Evidence,
    Finding,
    Kind,
    Place,
    Status,
    Trust,
    assess,
    is_authentic,
    places,
)
from pbx_stir.stir.revocation_list import parse_lists
from tests.stir import revoking
from tests.stir.conftest import DAY, NOW, Forge, Issued

FORGE = Forge()
ROOT = FORGE.root()
CA = FORGE.ca(ROOT)
# the policy administrator of SHAKEN, with a root of its own, and its name in every certificate
STI_PA = FORGE.root("STI-PA")
POLICY_POINT = revoking.at(revoking.URL, crl_issuer=STI_PA.cert.subject)
SHAKEN_CA = FORGE.ca(ROOT, "SHAKEN CA", extra=[POLICY_POINT])
SHAKEN_LEAF = FORGE.leaf(SHAKEN_CA, extra=[POLICY_POINT])
SHAKEN_PATH = revoking.path_of(SHAKEN_LEAF, SHAKEN_CA, ROOT)
LEAF = FORGE.leaf(CA)
PATH = revoking.path_of(LEAF, CA, ROOT)
NO_CA = revoking.crl(ROOT)
SERIAL = LEAF.cert.serial_number
INDIRECT = revoking.point(indirect_crl=True)


def judged(
    path: Path,
    *lists: bytes,
    signers: tuple[Issued, ...] = (),
    anchors: tuple[Issued, ...] = (),
    answers: tuple[bytes, ...] = (),
    now: float = NOW,
) -> Finding:
    """What is found by these octets."""
    parsed = tuple(one for octets in lists for one in parse_lists(octets))
    evidence = Evidence(parsed, tuple(map(parse_answer, answers)))
    trusted = Anchors.of([path.certificates[-1], *(one.cert for one in anchors)])
    trust = Trust(trusted, tuple(one.cert for one in signers))
    finding = assess(path, evidence, trust, now)
    assert (finding.detail == "") == (finding.status is Status.GOOD)
    return finding


def status(path: Path, *lists: bytes, **options: object) -> Status:
    """The status alone."""
    return judged(path, *lists, **options).status  # type: ignore[arg-type]


def test_lists_of_every_issuer_make_a_path_good() -> None:
    """Each certificate but the anchor needs a list; of another company's nothing is learnt."""
    assert status(PATH, revoking.crl(CA, [1]), NO_CA) is Status.GOOD
    assert status(PATH, revoking.crl(CA)) is Status.UNKNOWN
    assert status(PATH, NO_CA) is Status.UNKNOWN
    assert status(PATH) is Status.UNKNOWN
    assert status(PATH, revoking.crl(STI_PA, [SERIAL]), NO_CA) is Status.UNKNOWN


def test_one_revoked_certificate_revokes_the_path() -> None:
    """A leaf, or an authority above it, whatever else is unknown; the words say who."""
    finding = judged(PATH, revoking.crl(CA, [SERIAL]))
    assert finding == Finding(Status.REVOKED, "'Leaf' is revoked, says the list of 'CN=CA'")
    upper = revoking.crl(ROOT, [CA.cert.serial_number])
    assert "'CA' is revoked" in judged(PATH, upper).detail


def test_an_anchor_is_not_asked_for() -> None:
    """Who is trusted is the administrator's choice, not a list's."""
    leaf = FORGE.leaf(ROOT)
    lists = revoking.crl(ROOT, [ROOT.cert.serial_number])
    assert status(revoking.path_of(leaf, ROOT), lists) is Status.GOOD


def test_shaken_has_one_list_for_all() -> None:
    """ATIS-1000080: an indirect list of the STI-PA, named in cRLIssuer of every certificate."""
    nobody = revoking.crl(STI_PA, [7], says=INDIRECT)
    assert status(SHAKEN_PATH, nobody, signers=(STI_PA,)) is Status.GOOD
    assert status(SHAKEN_PATH, nobody, anchors=(STI_PA,)) is Status.GOOD
    for gone in (SHAKEN_LEAF, SHAKEN_CA):
        one = revoking.entry(gone.cert.serial_number, issuer=gone.cert.issuer)
        some = revoking.crl(STI_PA, [7, one, 8], says=INDIRECT)
        assert status(SHAKEN_PATH, some, signers=(STI_PA,)) is Status.REVOKED
        # the same serial number of another issuer is another certificate
        other = revoking.entry(gone.cert.serial_number, issuer=CA.cert.subject)
        others = revoking.crl(STI_PA, [other, 8], says=INDIRECT)
        assert status(SHAKEN_PATH, others, signers=(STI_PA,)) is Status.GOOD


def test_an_indirect_list_of_nobody_whom_we_trust_counts_for_nothing() -> None:
    """The signer must be an anchor, or named for lists, and must be the one of that name."""
    gone = revoking.entry(SHAKEN_LEAF.cert.serial_number, issuer=SHAKEN_CA.cert.subject)
    some = revoking.crl(STI_PA, [gone], says=INDIRECT)
    finding = judged(SHAKEN_PATH, some)
    assert finding.status is Status.UNKNOWN
    assert "not signed by whom it should be" in finding.detail
    impostor = FORGE.root("STI-PA")
    assert status(SHAKEN_PATH, some, signers=(impostor,)) is Status.UNKNOWN
    assert status(SHAKEN_PATH, some + b"", signers=(ROOT,)) is Status.UNKNOWN
    # neither does its own word help, in the same file
    pem = revoking.crl(STI_PA, [gone], says=INDIRECT, encoding=Encoding.PEM)
    assert status(SHAKEN_PATH, pem + STI_PA.pem) is Status.UNKNOWN


def test_an_indirect_list_must_say_so_and_be_named() -> None:
    """Without indirectCRL, or without cRLIssuer in the certificate, it makes nobody good."""
    direct = revoking.crl(STI_PA)
    assert status(SHAKEN_PATH, direct, signers=(STI_PA,)) is Status.UNKNOWN
    indirect = revoking.crl(STI_PA, says=INDIRECT)
    assert status(PATH, indirect, signers=(STI_PA,)) is Status.UNKNOWN
    # but who is named for lists is believed of whoever he revokes
    one = revoking.entry(SERIAL, issuer=CA.cert.subject)
    some = revoking.crl(STI_PA, [one], says=INDIRECT)
    assert status(PATH, some, signers=(STI_PA,)) is Status.REVOKED
    assert status(PATH, some, anchors=(STI_PA,)) is Status.UNKNOWN


def test_the_policy_administrator_may_have_a_signer_below() -> None:
    """A list signer that came beside the list counts below the path's own anchor only."""
    only_lists = FORGE.usage(crl_sign=True)
    for root, expected in ((ROOT, Status.GOOD), (STI_PA, Status.UNKNOWN)):
        signer = FORGE.make(root, "Lists", usage_bits=only_lists)
        here = revoking.at(revoking.URL, crl_issuer=signer.cert.subject)
        path = revoking.path_of(FORGE.leaf(ROOT, extra=[here]), ROOT)
        pem = revoking.crl(signer, says=INDIRECT, encoding=Encoding.PEM) + signer.pem
        assert status(path, pem, anchors=(STI_PA,)) is expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"usage_bits": FORGE.usage(digital_signature=True)},
        {"usage_bits": None},
        {"not_after": NOW - 1},
        {"extra": [(revoking.UNKNOWN, True)]},
        {"signing_key": FORGE.key()},
        {"digest": hashes.SHA224()},
    ],
)
def test_a_signer_below_the_anchor_must_be_one(wrong: dict[str, object]) -> None:
    """cRLSign, valid now, understood, and really of the anchor."""
    settings: dict[str, object] = {"usage_bits": FORGE.usage(crl_sign=True)}
    signer = FORGE.make(ROOT, "Root", **(settings | wrong))  # type: ignore[arg-type]
    path = revoking.path_of(FORGE.leaf(ROOT), ROOT)
    pem = revoking.crl(signer, encoding=Encoding.PEM) + signer.pem
    assert status(path, pem) is Status.UNKNOWN


def test_a_new_key_of_the_issuer_signs_lists_too() -> None:
    """A certificate of the issuer's name below the same anchor, beside the list, is the issuer."""
    above = FORGE.ca(ROOT, "Above")
    ca = FORGE.ca(above)
    new = FORGE.ca(above, usage_bits=FORGE.usage(crl_sign=True, key_cert_sign=True))
    path = revoking.path_of(FORGE.leaf(ca), ca, above, ROOT)
    pem = revoking.crl(new, encoding=Encoding.PEM) + new.pem
    rest = (revoking.crl(above), NO_CA)
    assert status(path, pem, *rest) is Status.GOOD
    # another anchor of that name is another company
    assert status(path, revoking.crl(new), *rest, anchors=(new,)) is Status.UNKNOWN


def test_a_list_with_a_wrong_signature_is_none() -> None:
    """Another key, another root of the same name, or a weak digest: nothing is learnt."""
    assert status(PATH, revoking.crl(CA, [SERIAL], key=FORGE.key()), NO_CA) is Status.UNKNOWN
    twin = FORGE.root("CA")
    assert status(PATH, revoking.crl(twin, [SERIAL]), NO_CA, anchors=(twin,)) is Status.UNKNOWN
    weak = revoking.crl(CA, [SERIAL], digest=hashes.SHA224())
    assert status(PATH, weak, NO_CA) is Status.UNKNOWN


def test_an_issuer_that_may_not_sign_lists_is_not_believed() -> None:
    """RFC 5280 section 6.3.3 (f): cRLSign where keyUsage is there."""
    ca = FORGE.ca(ROOT, usage_bits=FORGE.usage(key_cert_sign=True))
    leaf = FORGE.leaf(ca)
    path = revoking.path_of(leaf, ca, ROOT)
    assert status(path, revoking.crl(ca, [leaf.cert.serial_number]), NO_CA) is Status.UNKNOWN
    root = FORGE.root(usage_bits=None)
    leaf = FORGE.leaf(root)
    assert status(revoking.path_of(leaf, root), revoking.crl(root)) is Status.GOOD


def test_keys_of_other_kinds_sign_lists() -> None:
    """RSA and P-384 issuers are as good as P-256 ones."""
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        root = FORGE.root(key=key)
        path = revoking.path_of(FORGE.leaf(root), root)
        assert status(path, revoking.crl(root)) is Status.GOOD


def test_a_list_that_is_over_makes_nobody_good() -> None:
    """After nextUpdate it still shows who is revoked, but for holds; before thisUpdate nothing."""
    held = revoking.entry(SERIAL, reason=x509.ReasonFlags.certificate_hold)
    for one, expected in ((3, Status.UNKNOWN), (held, Status.UNKNOWN), (SERIAL, Status.REVOKED)):
        over = revoking.crl(CA, [one], next_update=NOW - 1)
        finding = judged(PATH, over, NO_CA)
        assert finding.status is expected
        assert ("is over" in finding.detail) is (expected is Status.UNKNOWN)
    assert status(PATH, revoking.crl(CA, [held]), NO_CA) is Status.REVOKED
    early = revoking.crl(CA, [SERIAL], this_update=NOW + revoking.HOUR)
    assert status(PATH, early, NO_CA) is Status.UNKNOWN


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"only_contains_user_certs": True}, Status.GOOD),
        ({"only_contains_ca_certs": True}, Status.UNKNOWN),
        ({"only_contains_attribute_certs": True}, Status.UNKNOWN),
        ({"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})}, Status.UNKNOWN),
        ({"full_name": revoking.uri(revoking.URL)}, Status.UNKNOWN),
        ({"full_name": revoking.directory(CA.cert.subject)}, Status.GOOD),
        ({"indirect_crl": True}, Status.GOOD),
    ],
)
def test_a_list_speaks_within_its_scope(says: dict[str, object], expected: Status) -> None:
    """RFC 5280 section 6.3.3 (b) and (d): for users, authorities, some reasons, one place."""
    found = status(PATH, revoking.crl(CA, says=revoking.point(**says)), NO_CA)
    assert found is expected


def test_some_reasons_still_show_revocation() -> None:
    """A list for some reasons says that a certificate is revoked, never that it is not."""
    some = frozenset({x509.ReasonFlags.key_compromise})
    part = revoking.point(only_some_reasons=some)
    assert status(PATH, revoking.crl(CA, [SERIAL], says=part)) is Status.REVOKED
    named = revoking.point(full_name=revoking.uri(revoking.URL))
    leaf = FORGE.leaf(ROOT, extra=[revoking.at(revoking.URL, reasons=some)])
    path = revoking.path_of(leaf, ROOT)
    assert status(path, revoking.crl(ROOT, says=named)) is Status.UNKNOWN
    gone = revoking.crl(ROOT, [leaf.cert.serial_number], says=named)
    assert status(path, gone) is Status.REVOKED


def test_a_list_of_one_place_is_of_those_who_name_it() -> None:
    """RFC 5280 section 6.3.3 (b)(2)(i): a name in both distribution points."""
    named = revoking.point(full_name=revoking.uri(revoking.URL, "http://else.example.com/1"))
    for url, expected in ((revoking.URL, Status.GOOD), ("http://a.example.com/", Status.UNKNOWN)):
        path = revoking.path_of(FORGE.leaf(ROOT, extra=[revoking.at(url)]), ROOT)
        assert status(path, revoking.crl(ROOT, says=named)) is expected


def test_answers_of_responders_count() -> None:
    """OCSP makes good or revoked what no list speaks of."""
    good = revoking.answer(LEAF, CA)
    gone = revoking.answer(LEAF, CA, status=ocsp.OCSPCertStatus.REVOKED)
    assert status(PATH, NO_CA, answers=(good,)) is Status.GOOD
    assert status(PATH, NO_CA, answers=(good, gone)) is Status.REVOKED
    assert status(PATH, revoking.crl(CA), NO_CA, answers=(gone,)) is Status.REVOKED
    assert status(PATH, NO_CA, answers=(revoking.answer(CA, ROOT),)) is Status.UNKNOWN


def test_short_lived_certificates_need_no_list() -> None:
    """Seven days in all, and not a second more; who revokes one is still believed."""
    for more, expected in ((0, Status.GOOD), (1, Status.UNKNOWN)):
        begins = NOW - DAY
        leaf = FORGE.leaf(ROOT, not_before=begins, not_after=begins + SHORT_LIVED_SECONDS + more)
        path = revoking.path_of(leaf, ROOT)
        assert status(path) is expected
        assert status(path, revoking.crl(ROOT, [leaf.cert.serial_number])) is Status.REVOKED


def test_no_rev_avail_needs_no_list() -> None:
    """RFC 9608: not beside a place to ask, not on an authority; who revokes it is believed."""
    leaf = FORGE.leaf(ROOT, extra=[(revoking.NO_REV_AVAIL, False)])
    path = revoking.path_of(leaf, ROOT)
    assert status(path) is Status.GOOD
    assert status(path, revoking.crl(ROOT, [leaf.cert.serial_number])) is Status.REVOKED
    for beside in (revoking.at(revoking.URL), revoking.asks(revoking.RESPONDER)):
        odd = FORGE.leaf(ROOT, extra=[(revoking.NO_REV_AVAIL, False), beside])
        assert status(revoking.path_of(odd, ROOT)) is Status.UNKNOWN
    ca = FORGE.ca(ROOT, extra=[(revoking.NO_REV_AVAIL, False)])
    below = FORGE.leaf(ca, extra=[(revoking.NO_REV_AVAIL, False)])
    assert status(revoking.path_of(below, ca, ROOT)) is Status.UNKNOWN


def test_places_are_lists_before_responders() -> None:
    """http and https URLs of each certificate; a responder only where there is no list."""
    ca = FORGE.ca(ROOT, extra=[revoking.at("ldap://a.example.com/x", revoking.URL)])
    both = [revoking.at("https://a.example.com/1.crl"), revoking.asks(revoking.RESPONDER)]
    leaf = FORGE.leaf(ca, extra=both)
    assert places(revoking.path_of(leaf, ca, ROOT)) == (
        Place(Kind.LIST, "https://a.example.com/1.crl"),
        Place(Kind.LIST, revoking.URL),
    )
    asking = FORGE.leaf(ROOT, extra=[revoking.asks(revoking.RESPONDER, "ldap://a.example.com")])
    (place,) = places(revoking.path_of(asking, ROOT))
    assert place.kind is Kind.ANSWER
    assert place.url.startswith(revoking.RESPONDER + "/M")
    assert places(PATH) == ()


def test_places_are_few() -> None:
    """A certificate with a hundred places has us fetch four at most, each once."""
    urls = [f"http://a.example.com/{number}" for number in range(100)]
    leaf = FORGE.leaf(ROOT, extra=[revoking.at(urls[0], *urls)])
    found = places(revoking.path_of(leaf, ROOT))
    assert [one.url for one in found] == urls[:MOST_PLACES]


def test_broken_extensions_say_nothing() -> None:
    """Distribution points that cannot be read leave a certificate unknown, without an error."""
    oid = x509.ExtensionOID.CRL_DISTRIBUTION_POINTS
    broken = x509.UnrecognizedExtension(oid, b"\x30\x03\x02\x01\x01")
    leaf = FORGE.leaf(ROOT)
    bad = FORGE.leaf(ROOT, extra=[(broken, False)])
    good = revoking.path_of(leaf, ROOT)
    path = Path(
        leaf=bad.cert,
        certificates=(bad.cert, ROOT.cert),
        tn_auth_list=good.tn_auth_list,
        not_after=good.not_after,
        signer=good.signer,
    )
    assert places(path) == ()
    assert status(path) is Status.UNKNOWN
    for_users = revoking.point(only_contains_user_certs=True)
    assert status(path, revoking.crl(ROOT, says=for_users)) is Status.UNKNOWN


def test_a_list_is_authentic_for_a_path_or_not() -> None:
    """Of whoever may speak of one of the path's certificates."""
    trust = Trust(Anchors.of([ROOT.cert]))
    for octets, expected in (
        (revoking.crl(CA), True),
        (NO_CA, True),
        (revoking.crl(CA, key=FORGE.key()), False),
        (revoking.crl(STI_PA), False),
    ):
        (listed,) = parse_lists(octets)
        assert is_authentic(listed, PATH, trust, NOW) is expected
