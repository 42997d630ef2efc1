"""Family 5: octets that are nearly a JWS. Two readers that see two tokens can be lied to."""

from __future__ import annotations

import base64
import json

import pytest

from tests.families.hostile import (
    ALICE,
    BOB,
    DROP,
    NOW,
    X5U,
    Court,
    Judging,
    b64,
    identity,
    octets_of_json,
    raw_signature,
    token,
)

HEADER = {"alg": "ES256", "typ": "passport", "x5u": X5U}
CLAIMS = {"dest": {"tn": [BOB]}, "iat": NOW, "orig": {"tn": ALICE}}
HEADER_OCTETS = octets_of_json(HEADER)
CLAIMS_OCTETS = octets_of_json(CLAIMS)


def parts(court: Court) -> list[str]:
    """The three segments of an honest token."""
    return token(court.key).split(".")


SHAPES = {
    "two segments": lambda h, c, s: f"{h}.{c}",
    "one segment": lambda h, c, s: h,
    "four segments": lambda h, c, s: f"{h}.{c}.{s}.{s}",
    "a dot at the end": lambda h, c, s: f"{h}.{c}.{s}.",
    "a dot in front": lambda h, c, s: f".{h}.{c}.{s}",
    "no header": lambda h, c, s: f".{c}.{s}",
    "no payload, as the compact form": lambda h, c, s: f"{h}..{s}",
    "compact form": lambda h, c, s: f"..{s}",
    "no signature": lambda h, c, s: f"{h}.{c}.",
    "padding": lambda h, c, s: f"{h}.{c}.{s}==",
    "padded payload": lambda h, c, s: f"{h}.{c}=.{s}",
    "a blank": lambda h, c, s: f"{h}.{c} .{s}",
    "a fold": lambda h, c, s: f"{h}.\r\n {c}.{s}",
    "a plus": lambda h, c, s: f"{h}.{c}.+{s[1:]}",
    "a slash": lambda h, c, s: f"{h}.{c}./{s[1:]}",
    "a foreign character": lambda h, c, s: f"{h}.{c}.{s[:20]}*{s[20:]}",
    "a percent escape": lambda h, c, s: f"{h}.{c}.%41{s[1:]}",
    "a length that no octets have": lambda h, c, s: f"{h}.{c}.{s}AAA",
    "stray bits": lambda h, c, s: f"{h}.{c}.{s[:-1]}" + ("B" if s[-1] in "AQgw" else "C"),
    "a full-width letter": lambda h, c, s: f"{h}.{c}.\uff21{s[1:]}",
    "a zero octet": lambda h, c, s: f"{h}.{c}.{s}\0",
    "a no-break space after": lambda h, c, s: f"{h}.{c}.{s}\u00a0",
    "a line separator after": lambda h, c, s: f"{h}.{c}.{s}\u2028",
    "a carriage return after": lambda h, c, s: f"{h}.{c}.{s}\rx",
    "a byte order mark before": lambda h, c, s: f"\ufeff{h}.{c}.{s}",
    "quotes": lambda h, c, s: f'"{h}.{c}.{s}"',
    "a header's name": lambda h, c, s: f"Identity: {h}.{c}.{s}",
    "JSON serialisation": lambda h, c, s: json.dumps(
        {"protected": h, "payload": c, "signature": s}
    ),
    "swapped": lambda h, c, s: f"{c}.{h}.{s}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_family_05_jws_shape(court: Court, judging: Judging, shape: str) -> None:
    """Three base64url segments in their one spelling, or nothing."""
    judging.refuses("malformed", SHAPES[shape](*parts(court)))


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"null", b"[]", b"1", b'"x"', b"{", b"{}}", b"{}{}", b"{}x",
        b"\xef\xbb\xbf" + CLAIMS_OCTETS,
        CLAIMS_OCTETS.decode().encode("utf-16"), CLAIMS_OCTETS.replace(b'"orig"', b'"or\xffig"'),
        CLAIMS_OCTETS[:-1] + b',"x":"\xed\xa0\x80"}', CLAIMS_OCTETS[:-1] + b',"x":"\\ud800"}',
        CLAIMS_OCTETS[:-1] + b',"x":"\\udc00\\ud800"}', CLAIMS_OCTETS[:-1] + b',"x":"\x01"}',
        CLAIMS_OCTETS[:-1] + b',"\\ud800":1}', CLAIMS_OCTETS[:-1] + b',"x":"\xc0\xaf"}',
        CLAIMS_OCTETS[:-1] + b',"x":NaN}', CLAIMS_OCTETS[:-1] + b',"x":1e400}',
        CLAIMS_OCTETS[:-1] + b',"x":01}', CLAIMS_OCTETS[:-1] + b",}",
        CLAIMS_OCTETS[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}",
        CLAIMS_OCTETS[:-1] + b',"x":' + b"[" * 5_000 + b"}",
        CLAIMS_OCTETS.replace(b'"', b"'"), CLAIMS_OCTETS + b"\0", b"/**/" + CLAIMS_OCTETS,
        CLAIMS_OCTETS.replace(b":", b"=", 1), "\u00a0".encode() + CLAIMS_OCTETS,
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["header", "claims"])
def test_family_05_jws_json(court: Court, judging: Judging, octets: bytes, which: str) -> None:
    """What is signed is UTF-8 JSON with an object at its top, in header and payload."""
    if which == "header":
        octets = octets.replace(CLAIMS_OCTETS[1:-1], HEADER_OCTETS[1:-1])
    wrong = {f"{which}_octets": octets}
    judging.refuses("malformed", token(court.key, **wrong))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"iat":', b'"iat":1,"iat":'),
        (b"}}", b'},"orig":{"tn":"12125551234"}}'),
        (b'"tn":"', b'"tn":"19995550000","tn":"'),
        (b'"iat":', b'"\\u0069at":1,"iat":'),
        (b'"dest":{', b'"dest":{"tn":["13105552000"]},"dest":{'),
        (b"{", b'{"x":{"a":{"b":1,"b":1}},'),
    ],
)
def test_family_05_jws_member_twice(court: Court, judging: Judging, old: bytes, new: bytes) -> None:
    """A member that stands twice, at any depth and however it is written."""
    octets = CLAIMS_OCTETS.replace(old, new, 1)
    assert octets != CLAIMS_OCTETS
    judging.refuses("malformed", token(court.key, claims_octets=octets))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": DROP}, {"typ": "JWT"}, {"typ": "Passport"}, {"typ": "PASSPORT"}, {"typ": None},
        {"typ": "application/passport"}, {"typ": ["passport"]}, {"typ": "passport "},
        {"crit": ["b64"], "b64": False}, {"crit": []}, {"crit": ["ppt"]}, {"crit": None},
        {"x5u": DROP}, {"x5u": ""}, {"x5u": None}, {"x5u": [X5U]}, {"x5u": 1},
        {"x5u": DROP, "x5t": "AAAA"}, {"x5u": DROP, "kid": X5U},
    ],
)  # fmt: skip
def test_family_05_jws_header(court: Court, judging: Judging, header: dict[str, object]) -> None:
    """typ is "passport", x5u is there, nothing critical is asked of us."""
    judging.refuses("malformed", token(court.key, header=header))


def test_family_05_jws_size(court: Court, judging: Judging) -> None:
    """16 KiB are read, more is not."""
    room = 16_384 - len(token(court.key, claims={"x": ""}))
    fits = token(court.key, claims={"x": "x" * (room * 3 // 4 - 4)})
    assert 16_300 < len(fits) <= 16_384
    judging.passes(fits)
    judging.refuses("malformed", token(court.key, claims={"x": "x" * (room * 3 // 4 + 100)}))
    judging.refuses("malformed", "A" * 900_000)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"\x00" * 50,
        b"." * 60_000,
        b".." + b"A" * 86,
        b";" * 1_000,
        b"a;b;c",
        b"\x1b[2J",
    ],
)
def test_family_05_jws_garbage(judging: Judging, line: bytes) -> None:
    """Octets of any kind have a verdict."""
    judging.refuses("malformed", line)


@pytest.mark.parametrize(
    "rest",
    [
        "", ";", ";info", ";info=", f";info={X5U}", f";info=<{X5U}", f";info=<{X5U}/>",
        f';info="{X5U}"', f";info=<{X5U}>;info=<{X5U}>", f";info=<{X5U}>;INFO=<{X5U}>",
        f";info=<{X5U}>;alg=ES384", f";info=<{X5U}>;alg=none", f";info=<{X5U}>;alg=es256",
        f";info=<{X5U}>;alg=ES256;alg=ES256", f";info=<{X5U}>;ppt=shaken", f";info=<{X5U}>;ppt",
        f";info=<{X5U}>;ppt=", f";info=<{X5U}>;ppt=\"\"x", f";info=<{X5U}>\x01",
        f"; info=<{X5U}>;;",
        f";info=<{X5U}>;alg=ES256 trailing", f",info=<{X5U}>", ";info=<https://evil.example/>",
        f";info=<{X5U}>;x=\"a\\\"b\"", f";alg=ES256;info=<{X5U}>\u00a0", f";info=<{X5U}>;alg",
    ],
)  # fmt: skip
def test_family_05_jws_identity_header(court: Court, judging: Judging, rest: str) -> None:
    """Parameters once each, and saying what the token says."""
    text = token(court.key)
    if not rest:
        judging.passes(text)
        rest = ";info=<>"
    judging.refuses("malformed", text + rest)


@pytest.mark.parametrize(
    "rest",
    [
        f";info=<{X5U}>", f";info=<{X5U}>;alg=ES256", f" ; info = <{X5U}> ; alg = ES256 ",
        f";alg=ES256;info=<{X5U}>", f";ALG=ES256;Info=<{X5U}>", f";info=<{X5U}>;x=y;z",
        f"\r\n ;info=<{X5U}>\r\n\t;alg=ES256", f";\n info=<{X5U}>", f";info=<{X5U}>\t",
        f';info=<{X5U}>;x="a;b"',
    ],
)  # fmt: skip
def test_family_05_jws_identity_header_honest(court: Court, judging: Judging, rest: str) -> None:
    """Any order, blanks, folds, any letter case of names, parameters of others."""
    judging.passes(token(court.key) + rest)


def test_family_05_jws_honest(court: Court, judging: Judging) -> None:
    """The neighbours of all these: unknown members, escapes, astral characters, bare and headed."""
    judging.passes(token(court.key))
    judging.passes(identity(token(court.key)))
    judging.passes(token(court.key, header={"kid": "x", "x5c": ["AAAA"], "jwk": {}, "b64": True}))
    judging.passes(token(court.key, claims={"x": ["\u00e9", "\U0001f600", {"y": None}], "exp": 1}))
    escaped = CLAIMS_OCTETS[:-1] + b',"x":"\\ud83d\\ude00","\\u0078\\u0079":1}'
    judging.passes(token(court.key, claims_octets=escaped))
    deep = CLAIMS_OCTETS[:-1] + b',"x":' + b"[" * 30 + b"]" * 30 + b"}"
    judging.passes(token(court.key, claims_octets=deep))
    judging.passes(b"\n\r\n  " + token(court.key).encode() + b"  \r\n\n")


def test_family_05_jws_standard_base64_is_another_alphabet(court: Court, judging: Judging) -> None:
    """A token in base64 instead of base64url, signed as such."""
    for salt in range(50):
        claims = base64.b64encode(octets_of_json(CLAIMS | {"x": f"\u00ff\u00fe\u00bf?{salt}>"}))
        if b"+" in claims or b"/" in claims:
            break
    signed = b64(HEADER_OCTETS) + "." + claims.decode().rstrip("=")
    judging.refuses("malformed", f"{signed}.{b64(raw_signature(court.key, signed.encode()))}")
