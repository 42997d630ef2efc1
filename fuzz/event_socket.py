"""FreeSWITCH's event socket: frames, events in them, and the announcements in those."""

from __future__ import annotations

import contextlib

from pbx_stir.errors import MalformedAnnouncement, MalformedFrame
from pbx_stir.pbx import esl, hook
from pbx_stir.pbx.esl import Framer

_EVENT = (
    b"Event-Subclass: pbx_stir%3A%3Arequest\nEvent-Date-Timestamp: 1795304796478674\n"
    b"Stir-Ver: 1\nStir-Dir: in\nStir-Mode: on\nStir-Trunk: carrier\nStir-From: %2B12125551234\n"
    b"Stir-Pres: allowed\nStir-To: 13105552000\nStir-Uniqueid: 8691be06-3ee7-4367-a2e1\n"
    b"Stir-Linkedid: 8691be06\nStir-Nonce: 0123456789abcdef\nStir-Budget: 2000\n\n"
)
SEEDS = (
    b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n",
    b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n",
    b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(_EVENT), _EVENT),
    b"Content-Type: text/disconnect-notice\nContent-Length: 8\n\nGoodbye\n\n\n",
)


def one(octets: bytes) -> None:
    """Read them at once and in two pieces; what is whole is the same."""
    whole, cut = Framer(), Framer()
    try:
        frames = whole.feed(octets)
    except MalformedFrame:
        return
    assert cut.feed(octets[: len(octets) // 2]) + cut.feed(octets[len(octets) // 2 :]) == frames
    for frame in frames:
        assert len(frame.body) <= esl.MAX_BODY_OCTETS
        assert isinstance(frame.reply, str)
        with contextlib.suppress(MalformedFrame, MalformedAnnouncement):
            event = esl.parse_event(frame)
            hook.parse_announcement(
                {name.removeprefix("Stir-"): value for name, value in event.items()}, "fs"
            )
