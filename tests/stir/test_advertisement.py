"""Advertisements: strict in form, most specific key first, and only of what the signer has."""

from __future__ import annotations

import contextlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import (
    AdvertisementRefused,
    CertificateExpired,
    CertificateUntrusted,
    MalformedAdvertisement,
)
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import jws
from pbx_stir.stir.advertisement import (
    MAX_LIFETIME_SECONDS,
    MAX_OCTETS,
    MAX_PAIRS,
    TYP,
    Advertisement,
    Match,
    Signed,
    check_signed,
    check_time,
    number_key,
    parse_advertisement,
    parse_pinned,
    parse_signed,
    sign_advertisement,
    sign_pinned,
)
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.tnauthlist import TnAuthList

NOW = 1_750_000_000
DAY = 86_400
A, B, C, D = (f"https://{name}.example.com" for name in "abcd")
TABLE = SpcPolicy(table={"1571": frozenset({"1234"})})


def credential_of(*issued):
    """A credential of a leaf and what is above it."""
    pem = b"".join(one.pem for one in issued)
    key = issued[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return credentials.load(pem, key, x5u="https://cert.example.com/a")


@pytest.fixture(scope="module")
def root(forge):
    """A trusted root."""
    return forge.root()


@pytest.fixture(scope="module")
def anchors(root):
    """The anchors in force."""
    return Anchors.of([root.cert])


def test_the_examples_of_the_rfc_are_read() -> None:
    """What RFC 9888 section 4 shows is an advertisement; the RFC's range starts at its number."""
    assert parse_advertisement(b'{ "0-1234":"https://cps.example.com" }').match("1", {"1234"}) == (
        Match(2, 0, "https://cps.example.com")
    )
    found = parse_advertisement(b'{"1-15714341000-99":"https://cps.example.com"}')
    assert found.match("15714341000") is not None
    assert found.match("15714341098") is not None
    assert found.match("15714341099") is None
    assert found.match("15714340999") is None


def test_the_most_specific_key_counts() -> None:
    """A single number comes before the smallest range, and that before a code."""
    found = Advertisement(
        {"0-1234": A, "1-15714341000-1000": B, "1-15714341000-100": C, "2-15714341005": D}
    )
    assert found.match("15714341005", {"1234"}) == Match(0, 1, "")
    assert [found.match(one, {"1234"}).cps for one in (  # type: ignore[union-attr]
        "15714341005", "15714341006", "15714341500", "15714349000")] == [D, C, B, A]  # fmt: skip
    assert found.match("15714349000") is None
    assert found.match("15714349000", {"9999"}) is None


def test_matches_of_several_advertisements_compare() -> None:
    """The more specific of two matches is the smaller one, whatever its CPS."""
    assert Match(0, 1, "z") < Match(1, 2, "a") < Match(1, 3, "a") < Match(2, 0, "a")


def test_a_code_may_have_hyphens() -> None:
    """All behind "0-" is the code."""
    assert Advertisement({"0-12-34": A}).match("1", {"12-34"}) is not None


WRONG_KEYS = [
    "", "0", "0-", "1-", "2-", "3-12025550100", "-1", "12025550100", "00-1234", "0_1234",
    "2-+12025550100", "2-1234567890123456", "2-1202555010a", "2- 12025550100", "2-12025550100 ",
    "2-12025550100\n", "2-1.202.555.0100", "2-١٢٣", " 2-12025550100", "٢-12025550100",
    "1-15714341000", "1-15714341000-", "1-15714341000-0", "1-15714341000-1", "1-15714341000-099",
    "1-15714341000--99", "1-15714341000-+99", "1-15714341000-9.0", "1-15714341000-9e9",
    "1-+15714341000-99", "1-1571434100012345-99", "1-1571434100*-99", "1--99",
    "1-15714341000-99-1", "1-15714341000-12345678901234567", "0-\u00e9", "0-" + "x" * 256,
    "\ufeff2-12025550100", "2-12025550100\0",
]  # fmt: skip


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_other_keys_are_malformed(key: str) -> None:
    """A key in any other form refuses the whole advertisement: half of one would mislead."""
    with pytest.raises(MalformedAdvertisement):
        parse_advertisement(json.dumps({"2-12025550100": A, key: B}).encode())


WRONG_VALUES = [
    "", "http://cps.example.com", "ftp://cps.example.com", "cps.example.com", "https://",
    "https://user@cps.example.com", "https://cps.example.com?a", "https://cps.example.com#a",
    "https://cps.example.com:0", "https://cps.example.com:99999", "https://cps.example.com:x",
    " https://cps.example.com", "https://cps.example.com ", "https://cps.example.com/a b",
    "https://cps.exämple.com", "https://cps.example.com\\a", "https://[::1", "javascript:alert(1)",
    "https://" + "a" * 2_100, None, 1, True, [], ["https://cps.example.com"], {}, 1.5,
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_VALUES)
def test_values_are_https_urls(value: object) -> None:
    """ "CPS URIs MUST be HTTPS URIs", and texts of their one form."""
    with pytest.raises(MalformedAdvertisement):
        parse_advertisement(json.dumps({"2-12025550100": value}).encode())


WRONG_OCTETS = [
    b"", b"{}", b"[]", b"null", b'"0-1234"', b"{", b'{"2-1":"https://a.example"',
    b'{"2-1":"https://a.example"}}', b'x{"2-1":"https://a.example"}',
    b'\xef\xbb\xbf{"2-1":"https://a.example"}', b'{"2-1":"https://a.example"}x',
    b'{"2-1":"https://a.example","2-1":"https://a.example"}',
    b'{"2-1":"https://a.example","\\u0032-1":"https://b.example"}',
    b'{"2-1":{"2-1":"https://a.example"}}', b'[{"2-1":"https://a.example"}]',
    b'{"2-1":"https://a.example",}', b"{'2-1':'https://a.example'}", b'{"2-1":NaN}',
    b'{"2-1":"https://a.example/\xff"}', b'{"2-1":' * 5_000, b"[" * 100_000,
    '{"2-1":"https://a.example"}'.encode("utf-16"), b"\0",
]  # fmt: skip


@pytest.mark.parametrize("octets", WRONG_OCTETS, ids=range(len(WRONG_OCTETS)))
def test_only_one_strict_object_is_read(octets: bytes) -> None:
    """Nothing but one flat JSON object is an advertisement, with each member once."""
    with pytest.raises(MalformedAdvertisement):
        parse_advertisement(octets)


def test_sizes_are_bounded() -> None:
    """So many octets and pairs are read, and not one more."""
    most = {f"2-{at}": A for at in range(MAX_PAIRS)}
    assert len(Advertisement(most)) == MAX_PAIRS
    with pytest.raises(MalformedAdvertisement):
        Advertisement(most | {"2-99999": A})
    blank = b'{"2-1":"https://a.example"}'.ljust(MAX_OCTETS)
    assert parse_advertisement(blank)
    with pytest.raises(MalformedAdvertisement):
        parse_advertisement(blank + b" ")


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_malformed(octets: bytes) -> None:
    """Nothing else is ever raised."""
    for read in (parse_advertisement, lambda raw: parse_signed(raw.decode("latin-1"))):
        with contextlib.suppress(MalformedAdvertisement):
            read(octets)


@given(
    st.dictionaries(
        st.one_of(
            st.from_regex(r"0-[ -~]{1,20}", fullmatch=True),
            st.from_regex(r"1-[0-9]{1,15}-[2-9][0-9]{0,3}", fullmatch=True),
            st.from_regex(r"2-[0-9]{1,15}", fullmatch=True),
        ),
        st.sampled_from((A, B, C)),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_is_read(pairs: dict[str, str]) -> None:
    """Every advertisement comes back as it was."""
    made = Advertisement(pairs)
    assert parse_advertisement(made.encode()) == made
    assert made.pairs() == pairs
    assert made.urls() == set(pairs.values())


def test_keys_are_named_by_arithmetic() -> None:
    """One number is a "2-", more are a "1-" with their count."""
    assert number_key("12125551200", "12125551200") == "2-12125551200"
    assert number_key("12125551200", "12125551299") == "1-12125551200-100"


OURS = Advertisement({"1-12125551200-50": A, "2-12125551299": B})


def signed_by(*issued, pairs=OURS, iat=NOW, exp=NOW + DAY, serial=1):
    return sign_advertisement(pairs, credential_of(*issued), iat=iat, exp=exp, serial=serial)


def test_a_signer_with_the_numbers_is_believed(forge, root, anchors) -> None:
    """Signed, read and checked, the advertisement says what was signed."""
    signed = parse_signed(signed_by(forge.leaf(root)))
    assert (signed.advertisement, signed.iat, signed.exp, signed.serial) == (
        OURS,
        NOW,
        NOW + DAY,
        1,
    )
    assert check_signed(signed, anchors, NOW, SpcPolicy()).signer == "Leaf"


@pytest.mark.parametrize(
    ("pairs", "listed"),
    [
        ({"2-12125551300": A}, TnAuthList(ranges=(("12125551200", 100),))),
        ({"1-12125551200-101": A}, TnAuthList(ranges=(("12125551200", 100),))),
        ({"2-12125551200": A, "2-13105550000": B}, TnAuthList(ranges=(("12125551200", 100),))),
        ({"0-1234": A}, TnAuthList(ranges=(("12125551200", 100),))),
        ({"0-1234": A}, TnAuthList(spcs=("5678",))),
        ({"0-1234": A, "0-5678": A}, TnAuthList(spcs=("5678",))),
        ({"2-13105550000": A}, TnAuthList(spcs=("1234",))),
        ({"2-15714341000": A}, TnAuthList(spcs=("5678",))),
        ({"1-15699999999-2": A}, TnAuthList(spcs=("1234",))),
        ({"2-*21": A}, TnAuthList(spcs=("1234",))),
        ({"2-*21": A}, TnAuthList(ranges=(("12125551200", 100),))),
    ],
)
def test_a_key_that_the_signer_has_not_refuses_all(forge, root, anchors, pairs, listed) -> None:
    """One key beyond the signer's list, a code without a table among them, and nothing counts."""
    signed = parse_signed(signed_by(forge.leaf(root, tn=listed), pairs=Advertisement(pairs)))
    with pytest.raises(AdvertisementRefused):
        check_signed(signed, anchors, NOW, TABLE)


@pytest.mark.parametrize(
    "pairs", [{"0-1234": A}, {"2-15714341000": A}, {"1-15710000000-10000000": A, "0-1234": B}]
)
def test_a_code_has_itself_and_what_the_table_gives_it(forge, root, anchors, pairs) -> None:
    """A provider advertises its code, and numbers as far as the configured table says so."""
    leaf = forge.leaf(root, tn=TnAuthList(spcs=("1234",)))
    signed = parse_signed(signed_by(leaf, pairs=Advertisement(pairs)))
    assert check_signed(signed, anchors, NOW, TABLE).signer == "1234"


def test_a_delegate_has_no_more_than_its_authority(forge, root, anchors) -> None:
    """RFC 9060: a list beyond that of the certificate above it advertises nothing."""
    above = forge.ca(root, tn=TnAuthList(ranges=(("12125551200", 10),)))
    signed = parse_signed(
        signed_by(forge.leaf(above), above, pairs=Advertisement({"2-12125551201": A}))
    )
    with pytest.raises(AdvertisementRefused):
        check_signed(signed, anchors, NOW, SpcPolicy())


def test_a_delegate_has_no_code_that_its_authority_has_not(forge, root, anchors) -> None:
    """A code beside numbers must be on the authority's list, too."""
    numbers = (("12125551200", 100),)
    above = forge.ca(root, tn=TnAuthList(spcs=("1",), ranges=numbers))
    leaf = forge.leaf(above, tn=TnAuthList(spcs=("2",), ranges=numbers))
    signed = parse_signed(signed_by(leaf, above, pairs=Advertisement({"0-2": A})))
    with pytest.raises(AdvertisementRefused):
        check_signed(signed, anchors, NOW, SpcPolicy())


def test_a_stranger_is_not_believed(forge, root, anchors) -> None:
    """A chain to another root, or one that has ended, signs nothing."""
    other = parse_signed(signed_by(forge.leaf(forge.root())))
    with pytest.raises(CertificateUntrusted):
        check_signed(other, anchors, NOW, SpcPolicy())
    over = parse_signed(signed_by(forge.leaf(root, not_after=NOW - 1)))
    with pytest.raises(CertificateExpired):
        check_signed(over, anchors, NOW, SpcPolicy())


@pytest.mark.parametrize(("now", "holds"), [(-6, False), (-5, True), (DAY, True), (DAY + 1, False)])
def test_time_is_checked(now: int, holds: bool) -> None:
    """From iat (five seconds of tolerance) to exp, both inclusive."""
    signed = Signed(OURS, NOW, NOW + DAY, 1)
    with contextlib.nullcontext() if holds else pytest.raises(AdvertisementRefused):
        check_time(signed, NOW + now)


def test_a_pinned_key_signs(forge) -> None:
    """Signed with a key that is known, without a chain, it is read under that key alone."""
    key, other = forge.key(), forge.key()
    token = sign_pinned(OURS, key, iat=NOW, exp=NOW + DAY, serial=3)
    signed = parse_pinned(token, key.public_key())
    assert (signed.advertisement, signed.serial, signed.chain) == (OURS, 3, ())
    with pytest.raises(MalformedAdvertisement):
        parse_pinned(token, other.public_key())
    with pytest.raises(MalformedAdvertisement):
        parse_pinned(token, ec.generate_private_key(ec.SECP384R1()).public_key())


def test_the_two_signed_forms_are_not_one_another(forge, root) -> None:
    """A chain is no pinned key's, and a pinned key's token brings no chain."""
    leaf = forge.leaf(root)
    with pytest.raises(MalformedAdvertisement):
        parse_pinned(signed_by(leaf), leaf.key.public_key())
    with pytest.raises(MalformedAdvertisement):
        parse_signed(sign_pinned(OURS, leaf.key, iat=NOW, exp=NOW + DAY, serial=1))


def test_other_statements_are_not_advertisements(forge) -> None:
    """The typ says what was signed, and no other is taken."""
    key = forge.key()
    claims = {"advertisement": OURS.pairs(), "exp": NOW + DAY, "iat": NOW, "serial": 1}
    for typ in ("pbx-stir-record", "passport", TYP.upper()):
        with pytest.raises(MalformedAdvertisement):
            parse_pinned(jws.sign({"typ": typ}, claims, key), key.public_key())
    assert parse_pinned(jws.sign({"typ": TYP}, claims, key), key.public_key())


WRONG_CLAIMS = {
    "one missing": {"serial": ...},
    "one more": {"aud": "x"},
    "a text for a time": {"iat": str(NOW)},
    "true": {"serial": True},
    "a fraction": {"exp": float(NOW + DAY)},
    "below nothing": {"serial": -1},
    "beyond JSON": {"serial": 2**53},
    "no time between": {"exp": NOW},
    "too long": {"exp": NOW + MAX_LIFETIME_SECONDS + 1},
    "no object": {"advertisement": [OURS.pairs()]},
    "no text": {"advertisement": {"2-1": 1}},
    "nothing in it": {"advertisement": {}},
    "a wrong key in it": {"advertisement": {"3-1": A}},
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
def test_the_claims_are_exactly_four(forge, name: str) -> None:
    """Another member, type or bound is malformed."""
    key = forge.key()
    claims: dict[str, object] = {"advertisement": OURS.pairs(), "exp": NOW + DAY, "iat": NOW}
    claims |= {"serial": 1} | WRONG_CLAIMS[name]
    claims = {name: value for name, value in claims.items() if value is not ...}
    with pytest.raises(MalformedAdvertisement):
        parse_pinned(jws.sign({"typ": TYP}, claims, key), key.public_key())


def test_a_spoilt_signature_is_malformed(forge, root) -> None:
    """Anything changed in a signed advertisement ends it."""
    head, body, signature = signed_by(forge.leaf(root)).split(".")
    for spoilt in (
        f"{head}.{body[:-2]}.{signature}",
        f"{head}.{body}.{'A' + signature[1:] if signature[0] != 'A' else 'B' + signature[1:]}",
        f"{head}.{body}.",
        f"{head}.{body}",
    ):
        with pytest.raises(MalformedAdvertisement):
            parse_signed(spoilt)


def test_a_large_advertisement_is_checked_at_once(forge, root, anchors) -> None:
    """Four thousand numbers are held against a list of as many without a look at each pair."""
    numbers = tuple(str(12_125_550_000 + 2 * at) for at in range(MAX_PAIRS))
    leaf = forge.leaf(root, tn=TnAuthList(ranges=(("12125550000", 10_000),)))
    pairs = Advertisement({f"2-{one}": A for one in numbers})
    signed = parse_signed(signed_by(leaf, pairs=pairs))
    assert check_signed(signed, anchors, NOW, SpcPolicy())
