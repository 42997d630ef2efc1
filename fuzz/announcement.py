"""What a dialplan announces: the fields of an event, whatever stands in them."""

from __future__ import annotations

import re
from urllib.parse import quote

from fuzz import seeds
from pbx_stir.errors import MalformedAnnouncement
from pbx_stir.pbx import hook
from pbx_stir.stir import passport

_FIELDS = {
    "Ver": "1",
    "Dir": "in",
    "Mode": "on",
    "Trunk": "carrier",
    "From": quote("+12125551234", safe=""),
    "Pres": "allowed_not_screened",
    "To": "13105552000",
    "CameIn": "carrier",
    "Uniqueid": "1700000000.1",
    "Linkedid": "1700000000.1",
    "Nonce": "A" * 16,
    "Budget": "2000",
    "Listener": "one",
    "Channel": "PJSIP/alice-00000001",
    "Answered": "yes",
    "Identity1": quote(passport.identity_header(seeds.BASE), safe=""),
}

_ANSWER = re.compile(r"STIR_ANSWER[A-Za-z0-9_]*=[A-Za-z0-9 .+@_|-]*")


def _lines(**changes: str) -> bytes:
    return "\n".join(f"{name}: {value}" for name, value in {**_FIELDS, **changes}.items()).encode()


SEEDS = (_lines(), _lines(Dir="out", Mode="monitor", CameIn=""), _lines(From="%F0%9F%98%80"))


def one(octets: bytes) -> None:
    """Read the fields as those of each event."""
    fields: dict[str, object] = {}
    for line in octets.decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.partition(": ")
        # a field that comes twice is a list, as the manager interface gives it
        before = fields.get(name)
        fields[name] = value if before is None else [before, value]
    assert isinstance(hook.listener_of(fields), str)
    waiting = hook.waiting(fields)
    assert waiting is None or len(waiting) == 2
    try:
        hook.parse_ended(fields)
    except MalformedAnnouncement:
        pass
    try:
        call = hook.parse_announcement(fields, "pbx")
    except MalformedAnnouncement:
        return
    assert 100 <= call.budget_ms <= 10_000
    assert len(call.nonce) == 16
    assert len(call.orig) <= 160
    assert len(call.dest) <= 160
    assert len(call.identity) <= hook.MAX_IDENTITIES
    assert call.unique_id.isascii()
    assert call.unique_id.isprintable()
    # what goes back cannot leave its line
    for name, value in hook.pack_answer(call.nonce, [("STIR_NAME", call.orig)]):
        assert _ANSWER.fullmatch(f"{name}={value}")
