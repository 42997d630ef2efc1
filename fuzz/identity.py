"""Identity header values: whole, and as parameters behind an honest token."""

from __future__ import annotations

from fuzz import seeds
from fuzz.token import check
from pbx_stir.errors import MalformedPassport
from pbx_stir.stir import passport

_HEADERS = tuple(passport.identity_header(one) for one in seeds.TOKENS)
SEEDS = (
    *(b"\x00" + one.encode() for one in _HEADERS),
    *(bytes((2 * at + 1,)) + one.partition(";")[2].encode() for at, one in enumerate(_HEADERS)),
    b"\x00" + _HEADERS[1].replace(";", "\r\n ; ").encode(),
)


def one(octets: bytes) -> None:
    """Read it; what reads is the token that stands in it."""
    kind, rest = octets[0] if octets else 0, octets[1:].decode("utf-8", "surrogateescape")
    if kind % 2:
        rest = f"{seeds.TOKENS[kind // 2 % len(seeds.TOKENS)].token};{rest}"
    try:
        read = passport.parse_identity(rest)
    except MalformedPassport:
        return
    assert read.token in rest.replace("\r", "").replace("\n", "")
    assert f"<{read.x5u}>" in rest
    check(read)
