"""Records: strict in form, and believed for exactly the numbers of their signer."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import (
    CertificateExpired,
    CertificateUntrusted,
    MalformedRecord,
    RecordRefused,
)
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import jws, sealing
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.record import (
    MAX_LIFETIME_SECONDS,
    TYP,
    EncryptionKey,
    Record,
    check_record,
    parse_record,
    sign_record,
)
from pbx_stir.stir.tnauthlist import TnAuthList

NOW = 1_750_000_000
KEY = EncryptionKey(
    bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
)
RECORD = Record(
    numbers=("12125551200-12125551209", "12125551250"),
    cps=("https://cps.example.net",),
    keys=(KEY,),
    serial=7,
    iat=NOW,
    exp=NOW + 86_400,
)


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
    """The anchors."""
    return Anchors.of([root.cert])


@pytest.fixture(scope="module")
def signer(forge, root):
    """Who has 12125551200 to 12125551299, through an authority."""
    ca = forge.ca(root)
    return credential_of(forge.leaf(ca, "Company"), ca)


def forged(signer, header=None, **claims) -> str:
    """A rightly signed token with other members; None takes one away."""
    good = jws.read(sign_record(RECORD, signer), typ=TYP, max_octets=99_999)
    members = {**good.claims, **claims}
    parameters = {**good.header, **(header or {})}
    return jws.sign(
        {key: value for key, value in parameters.items() if value is not None},
        {key: value for key, value in members.items() if value is not ...},
        signer.key,
    )


def test_what_is_signed_is_read_and_believed(signer, anchors) -> None:
    """A record comes back whole, with its chain, and its signer's numbers bear it out."""
    signed = parse_record(sign_record(RECORD, signer))
    assert signed.record == RECORD
    assert len(signed.chain) == 2
    path = check_record(signed, anchors, NOW, SpcPolicy())
    assert path.signer == "Company"


def test_tombstone(signer, anchors) -> None:
    """A record without keys revokes; one that revokes has none, one that does not has some."""
    tombstone = replace(RECORD, keys=(), cps=(), revoked=True)
    signed = parse_record(sign_record(tombstone, signer))
    assert signed.record.revoked
    assert check_record(signed, anchors, NOW, SpcPolicy())
    for wrong in ({"revoked": True}, {"keys": ()}, {"cps": ()}):
        with pytest.raises(MalformedRecord):
            replace(RECORD, **wrong)


def test_covers() -> None:
    """A record speaks of its numbers and ranges, with as many digits, and of no other."""
    for number in ("12125551200", "12125551205", "12125551209", "12125551250"):
        assert RECORD.covers(number)
    for number in ("12125551210", "121255512050", "1212555120", "", "12125551251"):
        assert not RECORD.covers(number)


@pytest.mark.parametrize(
    "wrong",
    [
        {"numbers": ()},
        {"numbers": tuple(str(n) for n in range(10, 75))},
        {"numbers": ("1", "1")},
        {"numbers": ("+12125551200",)},
        {"numbers": ("12125551200-",)},
        {"numbers": ("12125551209-12125551200",)},
        {"numbers": ("12125551200-12125551200",)},
        {"numbers": ("9-10",)},
        {"numbers": ("1234567890123456",)},
        {"numbers": ("\uff11\uff12",)},
        {"numbers": ("12125551200\n",)},
        {"numbers": ("1-2-3",)},
        {"cps": ("http://cps.example.net",)},
        {"cps": ("ftp://127.0.0.1",)},
        {"cps": ("https://",)},
        {"cps": ("https://u:p@cps.example.net",)},
        {"cps": ("https://cps.example.net/?q",)},
        {"cps": ("https://cps.example.net/\r\nHost: x",)},
        {"cps": ("https://cps.example.net:0",)},
        {"cps": ("https://[::1",)},
        {"cps": ("https://cps.example.net/" + "x" * 2048,)},
        {"cps": tuple(f"https://{n}.example.net" for n in range(5))},
        {"cps": ("https://a.example", "https://a.example")},
        {"keys": (KEY, KEY)},
        {"serial": -1},
        {"serial": 2**53},
        {"iat": -1},
        {"exp": NOW},
        {"exp": NOW + MAX_LIFETIME_SECONDS + 1},
    ],
)
def test_no_wrong_record_can_be_made(wrong) -> None:
    """Counts, forms, times: a record checks itself."""
    with pytest.raises(MalformedRecord):
        replace(RECORD, **wrong)


def test_the_bounds_can_be_reached() -> None:
    """What is just inside is a record."""
    keys = tuple(EncryptionKey(sealing.public_octets(sealing.new_private_key())) for _ in range(8))
    assert replace(RECORD, keys=keys, serial=0, exp=NOW + MAX_LIFETIME_SECONDS)
    assert replace(RECORD, numbers=tuple(str(n) for n in range(10, 74)))
    assert replace(RECORD, cps=("http://127.0.0.1:8480", "http://[::1]:1/x", "http://localhost"))


def test_keys_are_usable() -> None:
    """A key nobody can seal to is malformed; one of another suite is kept, not looked into."""
    for public in (b"", bytes(32), KEY.public[:-1], b"\xff" * 32):
        with pytest.raises(MalformedRecord):
            EncryptionKey(public)
    assert EncryptionKey(b"x" * 1184, "MLKEM768/HKDF-SHA256/AES-128-GCM")
    for public, suite in ((b"x", ""), (b"x", "a b"), (b"", "other"), (b"x" * 2049, "other")):
        with pytest.raises(MalformedRecord):
            EncryptionKey(public, suite)


@pytest.mark.parametrize(
    "claims",
    [
        {"serial": 1.0},
        {"serial": "1"},
        {"serial": True},
        {"iat": float(NOW)},
        {"exp": None},
        {"revoked": 0},
        {"revoked": "false"},
        {"numbers": "12125551250"},
        {"numbers": [12125551250]},
        {"cps": [None]},
        {"keys": [{"public": "AA", "suite": sealing.SUITE}]},
        {"keys": [{"public": "!!", "suite": sealing.SUITE}]},
        {"keys": [{"public": base64.b64encode(KEY.public).decode(), "suite": sealing.SUITE}]},
        {"keys": [{"public": jws.encode_segment(KEY.public)}]},
        {"keys": ["x"]},
        {"orig": {"tn": "1"}},
        {"exp": ...},
        {"revoked": ...},
        {"keys": ...},
    ],
)
def test_payload_is_strict(signer, claims) -> None:
    """Every member is there, of its exact type, and no other; though the signature holds."""
    with pytest.raises(MalformedRecord):
        parse_record(forged(signer, **claims))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "passport"},
        {"typ": "PBX-STIR-RECORD"},
        {"typ": None},
        {"x5c": None},
        {"x5c": []},
        {"x5c": "x"},
        {"x5c": [1]},
        {"x5c": ["!"]},
        {"x5c": ["AAAA"]},
        {"x5u": "https://cert.example.com/a"},
        {"crit": ["exp"]},
        {"kid": "1"},
    ],
)
def test_header_is_strict(signer, header) -> None:
    """Another typ, no chain, a broken one, or any other parameter is refused."""
    with pytest.raises(MalformedRecord):
        parse_record(forged(signer, header))


def test_signature_is_checked(forge, root, signer) -> None:
    """Another payload, another's chain, a key that is not P-256: the signature does not hold."""
    head, payload, signature = sign_record(RECORD, signer).split(".")
    other = sign_record(replace(RECORD, serial=8), signer).split(".")[1]
    with pytest.raises(MalformedRecord, match="does not hold"):
        parse_record(f"{head}.{other}.{signature}")
    stranger = base64.b64encode(forge.leaf(root).der).decode()
    with pytest.raises(MalformedRecord, match="does not hold"):
        parse_record(forged(signer, {"x5c": [stranger]}))
    from cryptography.hazmat.primitives.asymmetric import ec

    large = base64.b64encode(forge.leaf(root, key=forge.key(ec.SECP384R1())).der).decode()
    with pytest.raises(MalformedRecord, match="P-256"):
        parse_record(forged(signer, {"x5c": [large]}))
    with pytest.raises(MalformedRecord):
        parse_record(f"{head}.{payload}")


def test_too_large(signer) -> None:
    """A token beyond its bound is neither made nor read."""
    with pytest.raises(MalformedRecord):
        parse_record("a" * 32_769)
    heavy = replace(signer, chain=(signer.chain[0], b"\x30" * 30_000))
    with pytest.raises(MalformedRecord):
        sign_record(RECORD, heavy)


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()))
def test_any_token_is_survived(token: str) -> None:
    """Whatever a CPS serves as a record gives a record or the named error."""
    with contextlib.suppress(MalformedRecord):
        parse_record(token)
    with contextlib.suppress(MalformedRecord):
        parse_record(f"{token}.{token}.{token}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@given(
    member=st.sampled_from(["cps", "exp", "iat", "keys", "numbers", "revoked", "serial", "new"]),
    value=json_values,
)
def test_any_member_is_survived(member: str, value: object) -> None:
    """Whatever stands in a signed payload, reading it gives a record or the named error."""
    from pbx_stir.stir import record as module

    claims = {
        "cps": list(RECORD.cps), "exp": RECORD.exp, "iat": RECORD.iat, "keys": [],
        "numbers": list(RECORD.numbers), "revoked": True, "serial": 1, member: value,
    }  # fmt: skip
    with contextlib.suppress(MalformedRecord):
        module._record(json.loads(json.dumps(claims)))


def test_time(signer, anchors) -> None:
    """Five seconds of the future are tolerated; the last second counts; a dead chain does not."""
    signed = parse_record(sign_record(RECORD, signer))
    policy = SpcPolicy()
    assert check_record(signed, anchors, NOW - 5, policy)
    assert check_record(signed, anchors, RECORD.exp, policy)
    for now in (NOW - 6, RECORD.exp + 1):
        with pytest.raises(RecordRefused):
            check_record(signed, anchors, now, policy)
    with pytest.raises(CertificateExpired):
        check_record(signed, anchors, NOW + 31 * 86_400, policy)


def test_untrusted(forge, signer) -> None:
    """A record of somebody nobody trusts is refused for that."""
    signed = parse_record(sign_record(RECORD, signer))
    with pytest.raises(CertificateUntrusted):
        check_record(signed, Anchors.of([forge.root().cert]), NOW, SpcPolicy())


@pytest.mark.parametrize(
    "numbers",
    [
        ("12125551300",),
        ("12125551200-12125551300",),
        ("12125551199-12125551299",),
        ("12125551200", "13105550100"),
        ("121255512000",),
    ],
)
def test_numbers_of_others_are_refused(signer, anchors, numbers) -> None:
    """Every number and the whole of every range has to be the signer's."""
    signed = parse_record(sign_record(replace(RECORD, numbers=numbers), signer))
    with pytest.raises(RecordRefused):
        check_record(signed, anchors, NOW, SpcPolicy())


def test_an_authority_bounds_its_delegates(forge, root, anchors) -> None:
    """Numbers that the authority above never had are nobody's to hand out."""
    ca = forge.ca(root, tn=forge.numbers("12125551200", count=5))
    signer = credential_of(forge.leaf(ca), ca)
    signed = parse_record(sign_record(RECORD, signer))
    with pytest.raises(RecordRefused):
        check_record(signed, anchors, NOW, SpcPolicy())
    inside = parse_record(sign_record(replace(RECORD, numbers=("12125551200",)), signer))
    with pytest.raises(CertificateUntrusted):
        check_record(inside, anchors, NOW, SpcPolicy())


def test_a_code_alone_gives_no_numbers(forge, root, anchors) -> None:
    """A provider's record is believed where the table says so, whatever PASSporTs it may sign."""
    signer = credential_of(forge.leaf(root, tn=TnAuthList(spcs=("1234",))))
    signed = parse_record(sign_record(RECORD, signer))
    for policy in (SpcPolicy(), SpcPolicy(table={"1212555": frozenset({"9999"})})):
        with pytest.raises(RecordRefused):
            check_record(signed, anchors, NOW, policy)
    table = {"1212": frozenset({"1234"})}
    assert check_record(signed, anchors, NOW, SpcPolicy(accept=False, table=table))


def test_plain_http_only_where_allowed(signer, anchors) -> None:
    """A CPS without TLS is for a laboratory on one machine, which says so."""
    record = replace(RECORD, cps=("http://127.0.0.1:8480",))
    signed = parse_record(sign_record(record, signer))
    with pytest.raises(RecordRefused):
        check_record(signed, anchors, NOW, SpcPolicy())
    assert check_record(signed, anchors, NOW, SpcPolicy(), allow_plain=True)
