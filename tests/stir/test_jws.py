"""What pbx_stir.stir.jws promises."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import Malformed
from pbx_stir.stir import jws

KEY = ec.derive_private_key(4711, ec.SECP256R1())
TOKEN = jws.sign({"typ": "t"}, {"b": 1, "a": "\u00e9"}, KEY)


def segment(octets: bytes) -> str:
    """Encode base64url by other code than the module's."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def read(token: str) -> jws.Jws:
    """Read a token of typ "t"."""
    return jws.read(token, typ="t", max_octets=16_384)


def test_signs_canonical_octets_that_hold() -> None:
    """A token is made of sorted, unspaced, unescaped UTF-8 JSON, and its signature holds."""
    found = read(TOKEN)
    header, payload, _ = TOKEN.split(".")
    assert jws.decode_segment(header) == b'{"alg":"ES256","typ":"t"}'
    assert jws.decode_segment(payload) == '{"a":"\u00e9","b":1}'.encode()
    assert found.claims == {"a": "\u00e9", "b": 1}
    assert jws.signature_holds(found.signing_input, found.signature, KEY.public_key())
    other = ec.derive_private_key(4712, ec.SECP256R1()).public_key()
    assert not jws.signature_holds(found.signing_input, found.signature, other)


@given(st.text("ABCQghw048-_", min_size=1, max_size=9) | st.text(max_size=5))
def test_a_segment_is_read_in_the_one_form_that_its_octets_have(text: str) -> None:
    """Read is exactly what encoding its octets gives back, and nothing else is."""
    try:
        octets = jws.decode_segment(text)
    except Malformed:
        padded = text + "=" * (-len(text) % 4)
        with contextlib.suppress(ValueError):
            octets = base64.b64decode(padded, altchars="-_", validate=True)
            assert segment(octets) != text or not text
    else:
        assert segment(octets) == text


@pytest.mark.parametrize("octets", [1, 2, 3, 4, 5])
def test_every_last_character_but_those_of_zero_bits_is_refused(octets: int) -> None:
    """Of all 64 characters that may end a segment, those that its encoder writes are taken."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    start = segment(b"\x5a" * octets)[:-1]
    taken = set()
    for last in alphabet:
        try:
            jws.decode_segment(start + last)
        except Malformed:
            continue
        taken.add(last)
    ends = {segment(b"\x5a" * (octets - 1) + bytes([one]))[-1] for one in range(256)}
    assert taken == ends


def test_claims_cannot_be_changed() -> None:
    """What was read is read-only."""
    with pytest.raises(TypeError):
        read(TOKEN).claims["a"] = 1  # type: ignore[index]


def test_every_token_changed_in_one_character_is_refused_or_does_not_hold() -> None:
    """No character of a token can be another one without notice."""
    for at, old in enumerate(TOKEN):
        changed = TOKEN[:at] + ("A" if old != "A" else "B") + TOKEN[at + 1 :]
        try:
            found = read(changed)
        except Malformed:
            continue
        assert not jws.signature_holds(found.signing_input, found.signature, KEY.public_key())


def test_signature_vectors_of_wycheproof(vectors: Path) -> None:
    """Of the P1363 vectors exactly the valid ones hold, malleable ones too, none raises."""
    count = 0
    path = vectors / "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"
    for group in json.loads(path.read_text())["testGroups"]:
        key = load_pem_public_key(group["publicKeyPem"].encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            held = jws.signature_holds(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]), key)
            assert held == (case["result"] == "valid"), case
            count += 1
    assert count > 100


def test_token_vectors_of_wycheproof(vectors: Path) -> None:
    """No invalid ES256 token of Wycheproof both decodes strictly and holds."""
    count = 0
    path = vectors / "wycheproof/json_web_signature_test.json"
    for group in json.loads(path.read_text())["testGroups"]:
        public = group.get("public", {})
        if public.get("alg") != "ES256":
            continue
        x, y = (int.from_bytes(base64.urlsafe_b64decode(public[at] + "==")) for at in "xy")
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        for case in group["tests"]:
            try:
                segments = [jws.decode_segment(one) for one in str(case["jws"]).split(".")]
                alg = jws.read_object(segments[0]).get("alg")
                held = (
                    alg == "ES256"
                    and len(segments) == 3
                    and jws.signature_holds(jws.signing_input(case["jws"]), segments[2], key)
                )
            except Malformed:
                held = False
            if case["result"] == "invalid":
                assert not held, case
            count += 1
    assert count > 20


@pytest.mark.parametrize(
    "scalar", [0, jws.GROUP_ORDER, jws.GROUP_ORDER + 1, 2**256 - 1], ids=["0", "n", "n+1", "max"]
)
def test_scalars_out_of_range_do_not_hold(scalar: int) -> None:
    """r or s of 0, or not below the group order, is a signature that does not hold."""
    found = read(TOKEN)
    out = scalar.to_bytes(32)
    for signature in (out + found.signature[32:], found.signature[:32] + out, out + out):
        again = read(TOKEN.rpartition(".")[0] + "." + segment(signature))
        assert not jws.signature_holds(again.signing_input, again.signature, KEY.public_key())


def test_high_s_holds() -> None:
    """The other signature that anyone can make of one, n - s, holds as well."""
    found = read(TOKEN)
    r, s = jws.scalars(found.signature)
    other = r.to_bytes(32) + (jws.GROUP_ORDER - s).to_bytes(32)
    assert jws.signature_holds(found.signing_input, other, KEY.public_key())


def test_keys_of_other_curves_neither_sign_nor_hold() -> None:
    """A key that is not on P-256 makes no token, and no signature holds under it."""
    for curve in (ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()):
        other = ec.derive_private_key(4711, curve)
        found = read(TOKEN)
        assert not jws.signature_holds(found.signing_input, found.signature, other.public_key())
        with pytest.raises(Malformed, match="P-256"):
            jws.sign({"typ": "t"}, {}, other)


HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")
RAW = jws.decode_segment(SIGNATURE)
MALFORMED = {
    "nothing": "",
    "two segments": f"{HEADER}.{PAYLOAD}",
    "four segments": f"{TOKEN}.{SIGNATURE}",
    "dot at the end": f"{TOKEN}.",
    "empty signature": f"{HEADER}.{PAYLOAD}.",
    "empty payload": f"{HEADER}..{SIGNATURE}",
    "compact form": f"..{SIGNATURE}",
    "padding": f"{TOKEN}==",
    "line break at the end": f"{TOKEN}\n",
    "blank before": f" {TOKEN}",
    "blank inside": f"{HEADER}. {PAYLOAD}.{SIGNATURE}",
    "standard alphabet": f"{HEADER}.{PAYLOAD}.+/{SIGNATURE[2:]}",
    "foreign character": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:5]}!{SIGNATURE[5:]}",
    "non-ASCII": f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}\u0661",
    "non-zero trailing bits": TOKEN[:-1] + chr(ord(TOKEN[-1]) + 1)
    if TOKEN[-1] in "AQgw"
    else TOKEN[:-1] + "_",
    "63 octets": f"{HEADER}.{PAYLOAD}.{segment(RAW[:63])}",
    "65 octets": f"{HEADER}.{PAYLOAD}.{segment(RAW + bytes(1))}",
    "DER signature": f"{HEADER}.{PAYLOAD}.{segment(b'0D' + RAW)}",
    "too long": TOKEN + "A" * 16_384,
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_tokens_are_refused(token: str) -> None:
    """Whatever is not three canonical base64url segments with 64 octets at the end is Malformed."""
    with pytest.raises(Malformed):
        read(token)


def with_parts(header: bytes, payload: bytes = b"{}") -> str:
    """Put a token together from octets, signed by KEY."""
    unsigned = f"{segment(header)}.{segment(payload)}"
    return f"{unsigned}.{SIGNATURE}"


@pytest.mark.parametrize(
    "header",
    [
        b'{"typ":"t"}', b'{"alg":"none","typ":"t"}', b'{"alg":"HS256","typ":"t"}',
        b'{"alg":"es256","typ":"t"}', b'{"alg":"ES384","typ":"t"}', b'{"alg":"RS256","typ":"t"}',
        b'{"alg":["ES256"],"typ":"t"}', b'{"alg":null,"typ":"t"}', b'{"alg":"ES256 ","typ":"t"}',
        b'{"alg":"ES256"}', b'{"alg":"ES256","typ":"T"}', b'{"alg":"ES256","typ":"JWT"}',
        b'{"alg":"ES256","typ":"t","crit":["x"]}', b'{"alg":"ES256","typ":"t","crit":[]}',
        b'{"alg":"ES256","typ":"t","crit":null}', b'{"alg":"ES256","alg":"ES256","typ":"t"}',
        b'{"alg":"none","alg":"ES256","typ":"t"}', b'{"\\u0061lg":"ES256","alg":"ES256","typ":"t"}',
        b'["ES256"]', b'"ES256"', b"1", b"null", b"true", b"not json",
    ],
)  # fmt: skip
def test_headers_that_are_refused(header: bytes) -> None:
    """Another alg or typ, crit, a member twice, or no object at all is Malformed."""
    with pytest.raises(Malformed):
        read(with_parts(header))


def test_unknown_header_members_are_allowed() -> None:
    """Members that we do not know, and keys that strangers put in, change nothing."""
    header = b'{"alg":"ES256","typ":"t","kid":"1","jwk":{"kty":"EC"},"x5c":["AA"],"b64":false}'
    assert read(with_parts(header)).header["kid"] == "1"


NOT_JSON = {
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\x80"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\uDC00x"}',
    "surrogates swapped": b'{"a":"\\udc00\\ud800"}',
    "lone surrogate as a name": b'{"\\ud800":1}',
    "member twice": b'{"a":1,"a":1}',
    "member twice, deep": b'{"a":[{"b":{"c":1,"c":2}}]}',
    "member twice by an escape": b'{"a":1,"\\u0061":2}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "infinite exponent": b'{"a":1e999}',
    "5,000 digits": b'{"a":' + b"1" * 5_000 + b"}",
    "5,000 decimals": b'{"a":0.' + b"1" * 5_000 + b"}",
    "deep arrays": b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "deep objects": b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    "unclosed arrays": b"[" * 12_000,
    "33 deep": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "leading zero": b'{"a":01}',
    "plus": b'{"a":+1}',
    "hexadecimal": b'{"a":0x1}',
    "single quotes": b"{'a':1}",
    "trailing comma": b'{"a":1,}',
    "comment": b'{"a":1/**/}',
    "text after": b'{"a":1}{}',
    "NUL after": b'{"a":1}\x00',
    "line break in a string": b'{"a":"\n"}',
    "NBSP": b'{\xc2\xa0"a":1}',
    "form feed": b'{"a":1}\x0c',
    "array": b"[]",
    "string": b'"a"',
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("octets", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_json_that_readers_disagree_on_is_refused(octets: bytes) -> None:
    """Whatever two JSON readers could take differently is Malformed, and nothing else is raised."""
    with pytest.raises(Malformed):
        jws.read_object(octets)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b' {\r\n\t"b" : 1 , "a":[ ] } ', {"b": 1, "a": []}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"[[[[{{{{' + b"[" * 99 + b'\\""}', {"a": "[[[[{{{{" + "[" * 99 + '"'}),
        (b'{"a":1.5,"b":-0,"c":1e2,"d":null,"e":false}',
         {"a": 1.5, "b": 0, "c": 100.0, "d": None, "e": False}),
        (b'{"a":' + b"[" * 31 + b"]" * 31 + b"}", None),
        (b'{"a":[' + b"[]," * 99 + b"[]]}", {"a": [[]] * 100}),
        (b"{}", {}),
    ],
)  # fmt: skip
def test_json_that_is_only_unusual_is_read(octets: bytes, expected: object) -> None:
    """White space, member order, escapes, brackets in strings and wide arrays are no offence."""
    found = jws.read_object(octets)
    assert expected is None or found == expected


@given(st.binary(max_size=80))
def test_any_octets_are_an_object_or_malformed(octets: bytes) -> None:
    """Whatever the octets: an object, or Malformed."""
    try:
        assert isinstance(jws.read_object(octets), dict)
    except Malformed:
        pass


@given(st.text(max_size=60) | st.text("abcAB01-_.=+/", max_size=60))
def test_any_text_is_a_token_or_malformed(text: str) -> None:
    """Whatever the text: Malformed, nothing else."""
    with pytest.raises(Malformed):
        read(text)


@given(st.binary(min_size=1, max_size=60))
def test_segments_decode_to_what_was_encoded(octets: bytes) -> None:
    """Base64url without padding goes there and back, and has one form only."""
    assert jws.decode_segment(jws.encode_segment(octets)) == octets
    assert jws.encode_segment(octets) == segment(octets)


@pytest.mark.parametrize(
    "text",
    ["", "A", "AAAAA", "AB", "AAB", "AA==", "AA=", "A+AA", "A/AA", "AA A", "AAAA\n", "\xaa\xaa"],
)
def test_segments_that_no_encoder_makes(text: str) -> None:
    """No octets, an impossible length, stray bits, padding and foreign characters are Malformed."""
    with pytest.raises(Malformed):
        jws.decode_segment(text)


@pytest.mark.parametrize("value", [object(), {1: object()}, {(1, 2): 3}, "\ud800"])
def test_what_is_not_json_is_not_signed(value: object) -> None:
    """A claim that JSON cannot hold raises Malformed when signing."""
    with pytest.raises(Malformed):
        jws.sign({"typ": "t"}, {"a": value}, KEY)
