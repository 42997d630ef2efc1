"""PASSporTs: signed as the RFCs print them, read strictly, refused for each broken rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedPassport
from pbx_stir.stir import jws, passport
from tests.stir.passports import KEY, ORIGID, SHAKEN, X5U, base, made, made_raw, shaken


def test_shaken_is_made_as_rfc_8588_prints_it(vectors: Path) -> None:
    """The canonical octets of RFC 8588's example come out of its claims."""
    found = json.loads((vectors / "rfc/rfc8588_example.json").read_text())
    token = passport.sign(
        orig="12155550121",
        dest=["12155550131"],
        iat=1443208345,
        x5u="https://cert.example.org/passport.cer",
        key=KEY,
        attest="A",
        origid=ORIGID,
    ).token
    header, payload, _ = token.split(".")
    assert jws.decode_segment(header).decode() == found["canonical_header"]
    assert jws.decode_segment(payload).decode() == found["canonical_payload"]


def test_rfc_8225_signing_input(vectors: Path) -> None:
    """The signing input of RFC 8225 appendix A reads as printed, and no printed key signed it."""
    found = json.loads((vectors / "rfc/rfc8225_examples.json").read_text())
    read = passport.parse(found["appendix_a_token"])
    assert (read.orig, read.dest, read.iat) == ("12155551212", (), 1471375418)
    assert read.dest_uri == ("sip:alice@example.com",)
    assert read.ppt == ""
    key = load_pem_public_key(found["rfc8225_A2_public_pem"].encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert not passport.signature_holds(read, key)


def test_rfc_8225_draft_token_with_a_string_iat(vectors: Path) -> None:
    """The draft's section 7 example is signed well, but its iat is a string: refused."""
    found = json.loads((vectors / "rfc/rfc8225_examples.json").read_text())
    with pytest.raises(MalformedPassport, match="iat"):
        passport.parse(found["section7_draft_token"])


def test_what_is_signed_reads_back_and_holds() -> None:
    """A PASSporT of ours reads as what it says, equals itself, and holds under its key alone."""
    one = shaken()
    assert passport.parse(one.token) == one
    assert (one.orig, one.dest, one.iat, one.x5u) == (
        "12155551212",
        ("12125551234",),
        1443208345,
        X5U,
    )
    assert (one.ppt, one.attest, one.origid) == ("shaken", "A", ORIGID)
    assert one.signing_input == one.token.rpartition(".")[0].encode()
    assert passport.signature_holds(one, KEY.public_key())
    other = ec.derive_private_key(4712, ec.SECP256R1()).public_key()
    assert not passport.signature_holds(one, other)


def test_base_has_no_ppt_and_no_attestation() -> None:
    """Without an attestation a base PASSporT is made; its jti stands in the claims."""
    one = base()
    assert (one.ppt, one.attest, one.origid, one.orig) == ("", "", "", "12155551212")
    assert one.claims["jti"] == "j1"


def test_attest_of_another_kind_is_not_an_attestation() -> None:
    """A base PASSporT that carries an attest claim has no attestation."""
    assert passport.parse(made(attest="A", origid=ORIGID)).attest == ""


def test_dest_is_sorted_and_each_number_once() -> None:
    """Several called numbers stand in order, each once, whatever was given (RFC 8225)."""
    one = passport.sign(
        orig="1", dest=["22", "+12", "12", "21"], iat=1, x5u=X5U, key=KEY, extra={"mky": []}
    )
    assert one.dest == ("12", "21", "22")
    assert one.claims["mky"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"orig": "sip:alice@example.com"}, {"orig": ""}, {"orig": "1" * 33}, {"dest": []},
        {"dest": ["x"]}, {"iat": -1}, {"iat": 1.5}, {"iat": 2**53}, {"iat": True}, {"x5u": ""},
        {"x5u": "cert.pem"}, {"x5u": "https://a/b c"}, {"x5u": "https://a/>;x=<"},
        {"x5u": "https://a/\r\nX: 1"}, {"attest": "A"}, {"origid": "1"},
        {"attest": "D", "origid": "1"}, {"extra": {"iat": 1}}, {"extra": {"attest": "A"}},
        {"extra": {"a": object()}}, {"extra": {"a": "x" * 20_000}},
        {"key": ec.derive_private_key(1, ec.SECP384R1())},
    ],
)  # fmt: skip
def test_what_would_be_refused_is_not_signed(wrong: dict[str, Any]) -> None:
    """Nothing that ``parse`` refuses is ever signed: MalformedPassport."""
    good: dict[str, Any] = {"orig": "1", "dest": ["2"], "iat": 1, "x5u": X5U, "key": KEY}
    with pytest.raises(MalformedPassport):
        passport.sign(**(good | wrong))


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": ...}, {"iat": "1443208345"}, {"iat": 1443208345.0}, {"iat": True}, {"iat": None},
        {"iat": -1}, {"iat": 2**53}, {"iat": [1]}, {"iat": 0.5},
        {"orig": ...}, {"orig": "12155551212"}, {"orig": []}, {"orig": {}}, {"orig": None},
        {"orig": [{"tn": "1"}]}, {"orig": {"tn": "1", "uri": "sip:a@b"}},
        {"orig": {"tn": "1", "x": 1}}, {"orig": {"tn": ["1"]}}, {"orig": {"tn": 1}},
        {"orig": {"tn": None}}, {"orig": {"tn": ""}}, {"orig": {"tn": "+"}},
        {"orig": {"tn": "1-2"}}, {"orig": {"tn": " 1"}}, {"orig": {"tn": "1\n"}},
        {"orig": {"tn": "*67"}}, {"orig": {"tn": "12#"}}, {"orig": {"tn": "1" * 16}},
        {"orig": {"tn": "\u0661\u0662"}}, {"orig": {"tn": "++1"}}, {"orig": {"TN": "1"}},
        {"orig": {"uri": ""}}, {"orig": {"uri": "alice"}}, {"orig": {"uri": ["sip:a@b"]}},
        {"orig": {"uri": "sip:a b"}}, {"orig": {"uri": "sip:\u00e9"}}, {"orig": {"uri": None}},
        {"dest": ...}, {"dest": {}}, {"dest": {"x": ["1"]}}, {"dest": []}, {"dest": ["1"]},
        {"dest": "1"}, {"dest": None}, {"dest": {"tn": []}}, {"dest": {"uri": []}},
        {"dest": {"tn": "12125551234"}}, {"dest": {"tn": [1]}}, {"dest": {"tn": ["1", None]}},
        {"dest": {"tn": ["1", "x"]}}, {"dest": {"tn": ["1"], "uri": []}},
        {"dest": {"tn": [], "uri": ["sip:a@b"]}}, {"dest": {"tn": None}},
        {"dest": {"tn": ["1"], "uri": "sip:a@b"}}, {"dest": {"tn": {"0": "1"}}},
        {"dest": {"uri": ["x"]}}, {"dest": {"tn": [["1"]]}}, {"dest": {"tn": ["*67"]}},
        {"dest": {"tn": ["1" * 16]}},
    ],
)  # fmt: skip
def test_claims_that_are_refused(claims: dict[str, Any]) -> None:
    """A claim missing, of another type, of another form or out of range is MalformedPassport."""
    with pytest.raises(MalformedPassport):
        passport.parse(made(**claims))


@pytest.mark.parametrize("iat", [b"18e8", b"1443208345.0", b"1.443208345e9", b"NaN", b"01", b"--1"])
def test_numbers_that_are_no_integers(iat: bytes) -> None:
    """An iat that equals an integer, but is not written as one, is MalformedPassport."""
    with pytest.raises(MalformedPassport):
        passport.parse(made_raw(b'{"dest":{"tn":["2"]},"iat":' + iat + b',"orig":{"tn":"1"}}'))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": ...}, {"typ": "JWT"}, {"typ": "PASSporT"}, {"typ": None}, {"x5u": ...},
        {"x5u": ""}, {"x5u": None}, {"x5u": [X5U]}, {"x5u": 1}, {"ppt": ""}, {"ppt": None},
        {"ppt": ["shaken"]}, {"ppt": 1}, {"ppt": True}, {"crit": ["ppt"]}, {"crit": []},
    ],
)  # fmt: skip
def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    """A wrong typ, no x5u, an empty or non-string ppt, and crit are MalformedPassport."""
    with pytest.raises(MalformedPassport):
        passport.parse(made(header))


@pytest.mark.parametrize(
    "claims",
    [
        {"attest": ...}, {"attest": "a"}, {"attest": "D"}, {"attest": ""}, {"attest": ["A"]},
        {"attest": None}, {"attest": "AA"}, {"attest": "A "}, {"origid": ...}, {"origid": ""},
        {"origid": 1}, {"origid": None}, {"origid": [ORIGID]},
    ],
)  # fmt: skip
def test_shaken_claims_that_are_refused(claims: dict[str, Any]) -> None:
    """Shaken without attest A, B or C and a non-empty string origid is MalformedPassport."""
    with pytest.raises(MalformedPassport):
        passport.parse(made({"ppt": "shaken"}, **(SHAKEN | claims)))


def test_compact_and_other_forms_are_refused() -> None:
    """Tokens of two or four segments, with empty ones, or with blanks around are refused."""
    token = shaken().token
    header, payload, signature = token.split(".")
    for wrong in (
        f"..{signature}", f".{payload}.{signature}", f"{header}..{signature}",
        f"{header}.{payload}.", f"{header}.{payload}", f"{token}.x", f"{token}=", f"{token}\n",
        f" {token}", "", ".", "..", f'"{token}"', "x" * 20_000,
    ):  # fmt: skip
        with pytest.raises(MalformedPassport):
            passport.parse(wrong)


def test_plus_is_tolerated_and_dropped() -> None:
    """A "+" before the digits of a tn is not part of the number."""
    one = passport.parse(made(orig={"tn": "+12155551212"}, dest={"tn": ["+1", "2"]}))
    assert (one.orig, one.dest) == ("12155551212", ("1", "2"))


def test_uris_and_unknown_claims() -> None:
    """URIs stand as they are; unknown claims and header members are allowed and kept."""
    one = passport.parse(
        made(
            {"ppt": "div", "kid": "x", "x5c": ["AA"]},
            orig={"uri": "sip:alice@example.com"},
            dest={"uri": ["sip:bob@example.com", "tel:1"], "tn": ["2"]},
            div={"tn": "3"},
        )
    )
    assert (one.ppt, one.orig, one.orig_uri) == ("div", "", "sip:alice@example.com")
    assert (one.dest, one.dest_uri) == (("2",), ("sip:bob@example.com", "tel:1"))
    assert one.claims["div"] == {"tn": "3"}


def test_longer_numbers_where_configured() -> None:
    """A tn of more than 15 digits is read only up to the limit given."""
    token = made(orig={"tn": "3" * 17})
    assert passport.parse(token, max_digits=17).orig == "3" * 17
    with pytest.raises(MalformedPassport):
        passport.parse(token)


def test_ppt_keeps_its_letter_case() -> None:
    """ "SHAKEN" is another ppt than "shaken"; judging it is not the parser's."""
    one = passport.parse(made({"ppt": "SHAKEN"}))
    assert (one.ppt, one.attest) == ("SHAKEN", "")


def test_json_that_is_not_canonical_holds_over_the_octets_received() -> None:
    """White space and member order do not matter, since nothing is serialised again."""
    token = made_raw(
        b'{ "orig" : {"tn":"1"},\r\n "iat": 5, "dest":{"tn":["2"]}, "note":"\\u00e9" }',
        b'{"x5u": "https://a.example/b", "typ":"passport", "alg":"ES256"}',
    )
    one = passport.parse(token)
    assert passport.signature_holds(one, KEY.public_key())
    again = jws.sign({"typ": "passport", "x5u": "https://a.example/b"}, one.claims, KEY)
    swapped = again.rpartition(".")[0] + "." + token.rpartition(".")[2]
    assert not passport.signature_holds(passport.parse(swapped), KEY.public_key())


def test_used_key_is_one_for_both_signatures_of_a_token() -> None:
    """The other s of a signature makes no other PASSporT; another signature or claim does."""
    one = shaken()
    r, s = jws.scalars(one.signature)
    signature = r.to_bytes(32) + (jws.GROUP_ORDER - s).to_bytes(32)
    twin = passport.parse(one.token.rpartition(".")[0] + "." + jws.encode_segment(signature))
    assert passport.signature_holds(twin, KEY.public_key())
    assert twin != one
    assert passport.used_key(twin) == passport.used_key(one)
    assert len(passport.used_key(one)) == 32
    assert passport.used_key(shaken()) != passport.used_key(one)
    assert passport.used_key(base()) != passport.used_key(one)


@pytest.mark.parametrize("octets", [bytes(64), b"\xff" * 64])
def test_signatures_out_of_range_have_a_used_key_and_do_not_hold(octets: bytes) -> None:
    """r and s of 0 or above the group order are a bad signature, never an exception."""
    token = shaken().token.rpartition(".")[0] + "." + jws.encode_segment(octets)
    one = passport.parse(token)
    assert not passport.signature_holds(one, KEY.public_key())
    assert len(passport.used_key(one)) == 32


@given(st.text(max_size=40) | st.text("eyJ.;=<>info \r\n\t", max_size=40))
def test_any_text_is_refused(text: str) -> None:
    """Whatever the text: MalformedPassport, nothing else, from both parsers."""
    with pytest.raises(MalformedPassport):
        passport.parse(text)
    with pytest.raises(MalformedPassport):
        passport.parse_identity(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tn", "uri", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["orig", "dest", "iat", "attest", "origid"]), json_values),
    st.dictionaries(st.sampled_from(["ppt", "x5u", "typ", "crit", "alg"]), json_values),
)
def test_any_claims_are_read_or_refused(claims: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever JSON stands in the claims: a PASSporT with all types right, or MalformedPassport."""
    head = {"alg": "ES256", "typ": "passport", "x5u": X5U, "ppt": "shaken"} | header
    body = SHAKEN | claims
    token = made_raw(json.dumps(body).encode(), json.dumps(head).encode())
    try:
        one = passport.parse(token)
    except MalformedPassport:
        return
    assert bool(one.orig) != bool(one.orig_uri)
    assert one.dest or one.dest_uri
    assert type(one.iat) is int
    assert one.x5u
