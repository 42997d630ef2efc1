"""The words between a dialplan and the daemon: the announcement of a call, and the answer to it.

Takes the fields of the event that a dialplan raised, gives a ``Call``; takes the variables that the
dialplan shall have, gives what to write and in which order. Pure: it knows no socket, no clock and
no PBX but the field names. Everything in an announcement may have been chosen by a stranger, so
every field is bounded and matched whole; free text comes percent-encoded (RFC 3986 section 2.1).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pbx_stir.errors import MalformedAnnouncement, PbxStirError
from pbx_stir.services.call import MOST_HEADERS, Call, Direction, Mode
from pbx_stir.services.treatment import HEADER, LONGEST_HEADER, NAMES, readable

VERSION = "1"
ANNOUNCEMENT_EVENT = "PbxStir"
ENDED_EVENT = "PbxStirEnded"

# What an answer holds, in this order, after its nonce.
ANSWER_FIELDS = NAMES
# A line of AMI holds 1,024 octets with its name; a longer answer is written in parts of this size.
PART_OCTETS = 900
MAX_VALUE_OCTETS = 512
MAX_IDENTITIES = MOST_HEADERS
MAX_IDENTITY_OCTETS = 3000

_IN_WORDS = frozenset({"STIR_NAME", "STIR_CALL_REASON"})

_NONCE = re.compile(r"[A-Za-z0-9]{16}")
_UNIQUE_ID = re.compile(r"[!-~]{1,150}")
_CAME_IN_ID = re.compile(r"[!-~]{0,150}")
_TRUNK = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BUDGET = re.compile(r"[0-9]{1,5}")
_PRESENTATION = re.compile(r"[a-z_]{0,40}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~-]++|%[0-9A-Fa-f]{2})*+")
_SAFE = re.compile(r"[A-Za-z0-9 .+@_-]*")
_HEADERS = re.compile(rf"[0-{MOST_HEADERS}]?")
# a line of SIP that goes on in the next one (RFC 3261 section 7.3.1), as a PBX may hand it over
_FOLD = re.compile(r"(?:%0D)?%0A(?:%20|%09)+", re.IGNORECASE)
# Technology/resource-serial, as Asterisk names its channels.
_CHANNEL = re.compile(r"([A-Za-z0-9_]+)/(.+)-[0-9A-Fa-f]+(?:;[12])?")

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that a PASSporT had vouched for is over."""

    unique_id: str
    answered: bool


def parse_announcement(fields: Fields, pbx: str) -> Call:
    """The call that waits at ``pbx``.

    ``fields`` are the event's headers. One that is missing counts as empty; one that comes twice is
    a list and malformed. Numbers are as the PBX has them, not canonical. An Identity header that is
    malformed counts as none.

    Raises MalformedAnnouncement.
    """
    if _text(fields, "Ver") != VERSION:
        raise MalformedAnnouncement(
            f"announcement of version {_text(fields, 'Ver')[:10]!r}",
            hint="use the dialplan that came with this version of pbx-stir",
        )
    budget_ms = int(_matched(fields, "Budget", _BUDGET))
    if not 100 <= budget_ms <= 10_000:
        raise MalformedAnnouncement(f"budget of {budget_ms} ms is not in 100 to 10000")
    try:
        direction = Direction(_text(fields, "Dir"))
        mode = Mode(_text(fields, "Mode"))
    except ValueError as error:
        raise MalformedAnnouncement("neither direction nor mode is known") from error
    came_in = _text(fields, "CameIn")
    if came_in and not _TRUNK.fullmatch(came_in):
        raise MalformedAnnouncement("CameIn is not the name of a trunk")
    placed, is_orphan = _placed(fields)
    return Call(
        pbx=pbx,
        direction=direction,
        mode=mode,
        trunk=_matched(fields, "Trunk", _TRUNK),
        orig=_decoded(fields, "From", 160),
        restricted=_matched(fields, "Pres", _PRESENTATION).startswith("prohib"),
        dest=_decoded(fields, "To", 160),
        originator=_originator(fields),
        came_in=came_in,
        unique_id=_matched(fields, "Uniqueid", _UNIQUE_ID),
        linked_id=_matched(fields, "Linkedid", _UNIQUE_ID),
        nonce=_matched(fields, "Nonce", _NONCE),
        budget_ms=budget_ms,
        came_in_id=_matched(fields, "CameInId", _CAME_IN_ID),
        identity=_identities(fields),
        headers=int(_matched(fields, "Headers", _HEADERS) or MOST_HEADERS),
        placed_by=placed,
        is_orphan=is_orphan,
        caller_id_fixed=direction is Direction.OUTBOUND
        or _is_fixed(_text(fields, "Fixed"), placed),
    )


def _is_fixed(said: str, placed: str) -> bool:
    """Whether the caller keeps the number that he has; a dialplan that does not say it is old."""
    return said == "yes" if said or placed.startswith("PJSIP/") else True


def listener_of(fields: Fields) -> str:
    """Which listener the dialplan asked; empty if it cannot be read."""
    value = fields.get("Listener", "")
    return value if isinstance(value, str) else ""


def waiting(fields: Fields) -> tuple[str, str] | None:
    """Unique id and nonce of an announcement that is otherwise malformed, so as to release it."""
    try:
        return _matched(fields, "Uniqueid", _UNIQUE_ID), _matched(fields, "Nonce", _NONCE)
    except MalformedAnnouncement:
        return None


def parse_ended(fields: Fields) -> Ended:
    """What the dialplan's hang-up hook says of a call that was verified.

    Raises MalformedAnnouncement.
    """
    answered = _text(fields, "Answered")
    if answered not in {"yes", "no"}:
        raise MalformedAnnouncement("Answered is neither yes nor no")
    return Ended(_matched(fields, "Uniqueid", _UNIQUE_ID), answered == "yes")


def originators(named: str, channels: Sequence[str], accounts: Sequence[str]) -> tuple[str, ...]:
    """Who placed the call, most specific first: endpoint, then account.

    ``named`` is the name that the dialplan gave, if it did. Else the first of ``channels`` that is
    not a Local one tells: ``PJSIP/alice-0000001f`` is alice. Of ``accounts`` the first counts.
    """
    endpoint = named
    for channel in channels:
        found = _CHANNEL.fullmatch(channel)
        if endpoint or not found or found[1].lower() == "local":
            continue
        endpoint = found[2]
    account = next((name for name in accounts if name), "")
    return tuple(dict.fromkeys(name for name in (endpoint, account) if name))


def placed_by(channels: Sequence[str]) -> str:
    """Whose channel placed the call, ``PJSIP/alice``: the first that is not a Local one.

    What stands behind a further slash is the call's own, as in ``DAHDI/i1/12125550100-1``.
    """
    for channel in channels:
        found = _CHANNEL.fullmatch(channel.removeprefix("AsyncGoto/"))
        if found and found[1].lower() != "local":
            return f"{found[1]}/{found[2].partition('/')[0]}"
    return ""


def pack_answer(nonce: str, variables: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Channel variables to write, in order; the last one releases the hold.

    ``STIR_ANSWER`` is the nonce and the fields, joined by ``|``: one write, hence atomic. Where
    that is too long for a line it comes in parts before, and ``STIR_ANSWER`` says
    ``nonce|+|count``. Identity headers for the call itself come before it all, percent-encoded and
    in parts, ``STIR_IDENTITY_nonce_header_part``; how many there are is one more field at the end.
    Values outside the whitelist are left empty here, whoever let them come this far.

    Raises PbxStirError for a variable that an answer has no place for.
    """
    if not _NONCE.fullmatch(nonce):
        raise PbxStirError(f"nonce of {len(nonce)} characters")
    values = dict.fromkeys(ANSWER_FIELDS, "")
    headers: list[str] = []
    for name, value in variables:
        if name.startswith(HEADER):
            headers.append(value)
        elif name not in values:
            raise PbxStirError(f"an answer has no place for {name}")
        else:
            values[name] = safe(value, in_words=name in _IN_WORDS)
    written = _header_parts(nonce, headers)
    fields = [*values.values(), *([str(len(headers))] if written else [])]
    body = "|".join(fields)
    if len(nonce) + 1 + len(body.encode()) <= PART_OCTETS:
        return (*written, ("STIR_ANSWER", f"{nonce}|{body}"))
    parts = _parts(body)
    named = [(f"STIR_ANSWER_{nonce}_{n}", part) for n, part in enumerate(parts, start=1)]
    return (*written, *named, ("STIR_ANSWER", f"{nonce}|+|{len(parts)}"))


def _header_parts(nonce: str, headers: Sequence[str]) -> list[tuple[str, str]]:
    """The parts of all headers; none at all where one of them may not be written."""
    if len(headers) > MOST_HEADERS or not all(
        value and len(value) <= LONGEST_HEADER and _ENCODED.fullmatch(value) for value in headers
    ):
        return []
    return [
        (f"{HEADER}{nonce}_{number}_{n}", part)
        for number, value in enumerate(headers, start=1)
        for n, part in enumerate(_parts(value), start=1)
    ]


def _parts(text: str) -> list[str]:
    """``text`` in parts of up to ``PART_OCTETS``; no character is cut in two."""
    parts, octets = [""], 0
    for one in text:
        size = len(one.encode())
        if octets + size > PART_OCTETS:
            parts.append("")
            octets = 0
        parts[-1] += one
        octets += size
    return parts


def safe(value: str, *, in_words: bool = False) -> str:
    """The value if it may reach a dialplan as it stands, else an empty one.

    ``in_words``: it is for people, and may have letters of any script.
    """
    if not value:
        return ""
    if len(value.encode("utf-8", "replace")) > MAX_VALUE_OCTETS:
        return ""
    if in_words:
        return value if readable(value, MAX_VALUE_OCTETS) == value else ""
    return value if _SAFE.fullmatch(value) else ""


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise MalformedAnnouncement(f"{name} comes more than once")
    return value


def _matched(fields: Fields, name: str, pattern: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not pattern.fullmatch(value):
        raise MalformedAnnouncement(f"{name} is malformed")
    return value


def _decoded(fields: Fields, name: str, max_octets: int) -> str:
    """Percent-decoded text; what is no text becomes U+FFFD, which no number and no name holds."""
    return _decode(_text(fields, name), name, max_octets)


def _decode(value: str, name: str, max_octets: int) -> str:
    # The dialplan cuts before it encodes, so three times as much is the most there can be.
    if len(value) > 3 * max_octets or not _ENCODED.fullmatch(value):
        raise MalformedAnnouncement(f"{name} is malformed")
    if "%" not in value and len(value) <= max_octets:
        return value
    octets = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), value.encode("ascii")
    )
    if len(octets) > max_octets:
        raise MalformedAnnouncement(f"{name} has more than {max_octets} octets")
    text = octets.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _channels(fields: Fields) -> list[str]:
    return [_decoded(fields, name, 160) for name in ("Placed", "First")]


def _placed(fields: Fields) -> tuple[str, bool]:
    """Whose channel placed the call, and whether a Local one stands for one that has gone.

    Asterisk names the channel itself as the first where that one is no longer there; which of two
    it is, its ids tell.
    """
    channels = _channels(fields)
    found = placed_by(channels)
    is_alone = channels[0] != "" and channels[0] == channels[1]
    return found, not found and is_alone and _text(fields, "Linkedid") != _text(fields, "Uniqueid")


def _originator(fields: Fields) -> tuple[str, ...]:
    channels = _channels(fields)
    accounts = [_decoded(fields, name, 80) for name in ("Account", "FirstAccount")]
    return originators(_decoded(fields, "Originator", 160), channels, accounts)


def _identities(fields: Fields) -> tuple[str, ...]:
    """The Identity headers that can be read: for one that cannot, the call has not come with it."""
    found = []
    for number in range(1, MAX_IDENTITIES + 1):
        with contextlib.suppress(MalformedAnnouncement):
            name = f"Identity{number}"
            value = _FOLD.sub("%20", _text(fields, name)[: 3 * MAX_IDENTITY_OCTETS + 1])
            found.append(_decode(value, name, MAX_IDENTITY_OCTETS))
    return tuple(value for value in found if value)
