"""Family 8: JSON that is not canonical, validly signed: the octets received are what counts."""

from __future__ import annotations

import json

import pytest

from pbx_stir.stir import passport
from tests.families.hostile import (
    ALICE,
    BOB,
    NOW,
    X5U,
    Court,
    Judging,
    b64,
    octets_of_json,
    raw_signature,
    token,
)

CLAIMS = {"dest": {"tn": [BOB]}, "iat": NOW, "orig": {"tn": ALICE}}
_WRITTEN = {
    "indented": json.dumps(CLAIMS, indent=2).encode(),
    "unsorted": b'{"orig":{"tn":"12125551234"},"iat":1750000000,"dest":{"tn":["13105552000"]}}',
    "blanks": b' \t\r\n{ "dest" : { "tn" : [ "13105552000" ] } , "iat" : 1750000000 , "orig" : {'
    b' "tn" : "12125551234" } } \n',
    "escapes": b'{"dest":{"tn":["\\u00313105552000"]},"\\u0069at":1750000000,"orig":{"tn":'
    b'"12125551234"}}',
    "escaped slash": b'{"dest":{"tn":["13105552000"],"uri":["sip:a\\/b@c.d"]},"iat":1750000000,'
    b'"orig":{"tn":"12125551234"}}',
    "plus": b'{"dest":{"tn":["+13105552000"]},"iat":1750000000,"orig":{"tn":"+12125551234"}}',
}  # fmt: skip
SPELLINGS = {
    name: octets.replace(b"1750000000", str(NOW).encode()) for name, octets in _WRITTEN.items()
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_family_08_spelling_honest(court: Court, judging: Judging, name: str) -> None:
    """White space, member order and escapes are the sender's choice."""
    judging.passes(token(court.key, claims_octets=SPELLINGS[name]))
    header = json.dumps({"x5u": X5U, "typ": "passport", "alg": "ES256"}, indent=1).encode()
    judging.passes(token(court.key, header_octets=header, claims_octets=SPELLINGS[name]))


@pytest.mark.parametrize("name", [name for name in SPELLINGS if name != "plus"])
def test_family_08_spelling_is_never_made_canonical(
    court: Court, judging: Judging, name: str
) -> None:
    """A signature over the canonical octets does not hold for others, nor the other way round."""
    canonical = octets_of_json(json.loads(SPELLINGS[name]))
    header, payload, signature = token(court.key, claims_octets=canonical).split(".")
    judging.passes(f"{header}.{payload}.{signature}")
    judging.refuses("bad-signature", f"{header}.{b64(SPELLINGS[name])}.{signature}")
    header, payload, signature = token(court.key, claims_octets=SPELLINGS[name]).split(".")
    judging.refuses("bad-signature", f"{header}.{b64(canonical)}.{signature}")


@pytest.mark.parametrize("name", SPELLINGS)
def test_family_08_spelling_is_another_passport(court: Court, name: str) -> None:
    """For single use each spelling is its own: its signer made it, nobody else can."""
    plain = passport.parse(token(court.key))
    other = passport.parse(token(court.key, claims_octets=SPELLINGS[name]))
    assert passport.used_key(plain) != passport.used_key(other)


def test_family_08_spelling_compact_form(court: Court, judging: Judging) -> None:
    """RFC 8225 section 7: the compact form leaves out what we compare, and is refused."""
    header, payload, signature = token(court.key).split(".")
    for text in (f"..{signature}", f"{header}..{signature}", f".{payload}.{signature}"):
        judging.refuses("malformed", text)
        judging.refuses("malformed", f"{text};info=<{X5U}>;alg=ES256")


def test_family_08_spelling_ends_of_the_signed_octets(court: Court, judging: Judging) -> None:
    """What follows the JSON text belongs to no reader."""
    claims = octets_of_json(CLAIMS)
    for tail in (b"\0", b"}", b"{}", b"//", b"\xc2\xa0", b"\x0b", b"\x0c"):
        judging.refuses("malformed", token(court.key, claims_octets=claims + tail))
    judging.passes(token(court.key, claims_octets=claims + b" \n"))


def test_family_08_spelling_detached_signature(court: Court, judging: Judging) -> None:
    """A signature over unencoded octets (RFC 7797) is another one."""
    header, payload, _ = token(court.key, header={"b64": False}).split(".")
    signed = header.encode() + b"." + octets_of_json(CLAIMS)
    judging.refuses("bad-signature", f"{header}.{payload}.{b64(raw_signature(court.key, signed))}")
