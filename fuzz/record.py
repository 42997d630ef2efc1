"""Signed records: as text, and as claims that an honest company signed."""

from __future__ import annotations

from typing import Any

from fuzz import seeds
from pbx_stir.errors import Malformed, MalformedRecord, PbxStirError
from pbx_stir.stir import jws, record, sealing
from pbx_stir.stir.spc import SpcPolicy

_KEY = sealing.public_octets(sealing.new_private_key())


def _record(**changes: Any) -> record.Record:
    fields: dict[str, Any] = {
        "numbers": (seeds.ALICE, "12125551200-12125551299"),
        "cps": ("https://cps.example.com",),
        "keys": (record.EncryptionKey(_KEY, sealing.SUITE),),
        "serial": 1,
        "iat": seeds.NOW,
        "exp": seeds.NOW + 3_600,
        "revoked": False,
    }
    return record.Record(**(fields | changes))


_TOKEN = record.sign_record(_record(), seeds.CREDENTIAL)
_HEADER, _CLAIMS = (jws.decode_segment(one) for one in _TOKEN.split(".")[:2])
# the first octet says what the others are: the token's text, a payload, a header
SEEDS = (
    b"\x00" + _TOKEN.encode(),
    b"\x01" + _CLAIMS,
    b"\x01" + _CLAIMS.replace(b"false", b"true"),
    b"\x02" + _HEADER,
)


def one(octets: bytes) -> None:
    """Read it; what reads keeps its promises."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    text = rest.decode("latin-1")
    if kind % 3:
        try:
            header = jws.read_object(_HEADER if kind % 3 == 1 else rest)
            claims = jws.read_object(rest if kind % 3 == 1 else _CLAIMS)
            text = jws.sign(header, claims, seeds.KEY)
        except Malformed:
            return
    try:
        signed = record.parse_record(text)
    except MalformedRecord:
        return
    read = signed.record
    assert 1 <= len(read.numbers) <= 64
    assert 1 <= len(read.cps) <= 4
    assert read.exp - read.iat <= 7 * 86_400
    assert read.revoked == (not read.keys)
    assert record.parse_record(text).record == read
    for moment in (seeds.NOW, read.iat, read.exp + 1):
        try:
            record.check_record(signed, seeds.ANCHORS, moment, SpcPolicy())
        except PbxStirError:
            continue
        # by the seeds' company, for no number but its own
        assert all(seeds.LISTED.covers(first) for first, _ in read.ranges())
        assert read.iat <= moment + 5
        assert moment <= read.exp
