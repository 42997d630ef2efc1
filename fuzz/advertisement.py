"""Advertisements (RFC 9888): bare, as tokens, and as claims that an honest company signed."""

from __future__ import annotations

from fuzz import seeds
from pbx_stir.errors import Malformed, MalformedAdvertisement, PbxStirError
from pbx_stir.stir import advertisement, jws
from pbx_stir.stir.spc import SpcPolicy

_PAIRS = {
    "0-1234": "https://cps.example.com",
    "1-12125551200-50": "https://cps.example.com",
    f"2-{seeds.ALICE}": "https://b.example.com:8443/x",
}
_BARE = advertisement.Advertisement(_PAIRS)
_OWN = advertisement.Advertisement({f"2-{seeds.ALICE}": "https://cps.example.com"})
_TIMES = {"iat": seeds.NOW, "exp": seeds.NOW + 3_600, "serial": 1}
_TOKEN = advertisement.sign_advertisement(_OWN, seeds.CREDENTIAL, **_TIMES)
_PINNED = advertisement.sign_pinned(_BARE, seeds.KEY, **_TIMES)
_HEADER, _CLAIMS = (jws.decode_segment(one) for one in _TOKEN.split(".")[:2])
# the first octet says what the others are: the bare object, a token's text, a payload
SEEDS = (
    b"\x00" + _BARE.encode(),
    b"\x00" + b'{"1-1-2":"https://a.example"}',
    b"\x01" + _TOKEN.encode(),
    b"\x01" + _PINNED.encode(),
    b"\x02" + _CLAIMS,
)


def one(octets: bytes) -> None:
    """Read it; what reads keeps its promises."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    if kind % 3 == 0:
        try:
            _holds(advertisement.parse_advertisement(rest))
        except MalformedAdvertisement:
            pass
        return
    text = rest.decode("latin-1")
    if kind % 3 == 2:
        try:
            text = jws.sign(jws.read_object(_HEADER), jws.read_object(rest), seeds.KEY)
        except Malformed:
            return
    try:
        _holds(advertisement.parse_pinned(text, seeds.KEY.public_key()).advertisement)
    except MalformedAdvertisement:
        pass
    try:
        signed = advertisement.parse_signed(text)
    except MalformedAdvertisement:
        return
    _holds(signed.advertisement)
    for moment in (seeds.NOW, signed.iat, signed.exp + 1):
        try:
            advertisement.check_signed(signed, seeds.ANCHORS, moment, SpcPolicy())
        except PbxStirError:
            continue
        # by the seeds' company, for nothing but its own numbers
        names = signed.advertisement.names
        assert seeds.LISTED.contains(names)
        assert set(names.spcs) <= set(seeds.LISTED.spcs)
        assert signed.iat - 5 <= moment <= signed.exp


def _holds(read: advertisement.Advertisement) -> None:
    """Every URL is https, each key finds one, and what is written is read."""
    assert 1 <= len(read) <= advertisement.MAX_PAIRS
    assert all(url.lower().startswith("https://") for url in read.urls())
    assert advertisement.parse_advertisement(read.encode()) == read
    for number in read.names.numbers:
        assert read.match(number) is not None
    for start, _ in read.names.ranges:
        assert read.match(start) is not None
    for code in read.names.spcs:
        assert read.match("", {code}) is not None
