"""What a CPS answers, and what it is asked: lists, records, problems, dates, paths."""

from __future__ import annotations

import json
from collections.abc import Callable

from fuzz import seeds
from pbx_stir.cps import wire
from pbx_stir.errors import MalformedAnswer, MalformedNumber
from pbx_stir.stir import sealing

_ID = wire.format_id(bytes(range(16)))
_WIRE = sealing.to_wire(sealing.dummy(bytes(32)))
# the first octet says what the others are
SEEDS = (
    b"\x00" + wire.format_list(seeds.BOB, [_ID]),
    b"\x00" + wire.format_expanded(seeds.BOB, [(_ID, _WIRE)]),
    b"\x01" + wire.format_uri_list(seeds.BOB, [_ID]),
    b"\x02" + wire.format_records([seeds.BASE.token]),
    b"\x03" + wire.format_problem(429, "later"),
    b"\x04Sun, 06 Nov 1994 08:49:37 GMT",
    b"\x05" + wire.item_path(seeds.BOB, _ID).encode(),
    b"\x05/cps/%2B1.310.555.2000/ppts?expand=1",
    b"\x00" + json.dumps({"ppts": [{"href": "a", "passport": 1}]}).encode(),
)


def one(octets: bytes) -> None:
    """Read it."""
    kind, rest = octets[0] if octets else 0, octets[1:]
    try:
        _KINDS[kind % len(_KINDS)](rest)
    except MalformedAnswer:
        pass


def _list(octets: bytes) -> None:
    for item in wire.parse_list(octets, "application/json"):
        assert isinstance(item.href, str)
        assert item.wire is None or isinstance(item.wire, bytes)


def _uris(octets: bytes) -> None:
    for item in wire.parse_list(octets, "text/uri-list"):
        assert item.wire is None


def _records(octets: bytes) -> None:
    assert all(isinstance(one, str) for one in wire.parse_records(octets))


def _problem(octets: bytes) -> None:
    said = wire.parse_problem(octets)
    assert len(said) <= 1_000
    assert said.isprintable()


def _date(octets: bytes) -> None:
    moment = wire.parse_date(octets.decode("latin-1"))
    assert moment is None or moment == moment  # noqa: PLR0124


def _target(octets: bytes) -> None:
    try:
        target = wire.parse_target(octets.decode("latin-1"))
    except MalformedNumber:
        return
    if target is not None and target.number:
        assert target.number.isascii()
        assert target.number.isdigit()


_KINDS: tuple[Callable[[bytes], None], ...] = (_list, _uris, _records, _problem, _date, _target)
