"""Bare PASSporTs: as text, and as the octets inside, signed by us so that they get further."""

from __future__ import annotations

from fuzz import seeds
from pbx_stir.errors import BrokenDiversion, Malformed, MalformedPassport
from pbx_stir.stir import diversion, jws, passport, rich_call_data

_HEADERS = tuple(jws.decode_segment(one.token.split(".")[0]) for one in seeds.TOKENS)
_CLAIMS = tuple(jws.decode_segment(one.token.split(".")[1]) for one in seeds.TOKENS)
_SIGNATURE = jws.encode_segment(b"\x01" * 64)
# the first octet says what the others are: the token's text, a payload, a header
SEEDS = (
    *(b"\x00" + one.token.encode() for one in seeds.TOKENS),
    *(bytes((4 * at + 1,)) + claims for at, claims in enumerate(_CLAIMS)),
    *(bytes((4 * at + 2,)) + header for at, header in enumerate(_HEADERS)),
)


def one(octets: bytes) -> None:
    """Read it; what reads keeps its promises."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    which = kind // 4 % len(_HEADERS)
    if kind % 4 == 0 or not rest:
        text = rest.decode("latin-1")
    elif kind % 4 == 1:
        text = f"{jws.encode_segment(_HEADERS[which])}.{jws.encode_segment(rest)}.{_SIGNATURE}"
    else:
        text = f"{jws.encode_segment(rest)}.{jws.encode_segment(_CLAIMS[which])}.{_SIGNATURE}"
    try:
        read = passport.parse(text)
    except MalformedPassport:
        return
    check(read)


def check(read: passport.Passport) -> None:
    """What is promised of every PASSporT that reads."""
    assert passport.parse(read.token) == read
    assert len(passport.used_key(read)) == 32
    assert passport.signature_holds(read, seeds.KEY.public_key()) in (True, False)
    assert all(one.isascii() and one.isdigit() and len(one) <= 15 for one in read.dest)
    assert read.orig.isdigit() or read.orig_uri
    assert bool(read.attest) == bool(read.origid) == (read.ppt == "shaken")
    try:
        header = passport.identity_header(read)
    except MalformedPassport:
        # an x5u or ppt that cannot stand in one
        header = ""
    assert not header or passport.parse_identity(header) == read
    try:
        once = jws.canonical_octets(read.claims)
    except Malformed:
        # integers beyond 64 bits
        once = b""
    if once:
        assert jws.canonical_octets(jws.read_object(once)) == once
    try:
        rich_call_data.read(read)
    except MalformedPassport:
        pass
    if read.ppt == diversion.DIV_O:
        try:
            assert diversion.unwrap(read).all[-1] == read
        except (BrokenDiversion, MalformedPassport):
            pass
