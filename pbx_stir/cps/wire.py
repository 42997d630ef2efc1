"""A CPS on the wire, both directions: paths, lists, items, records and problems.

Takes and gives text and octets, pure. It knows no HTTP library, opens nothing that is sealed, and
takes all it reads for hostile: bounded by its caller in size, strict here in form.
Source: RFC 8816 section 9 (paths and media type), RFC 9457 (problem+json), RFC 2483 section 5
(text/uri-list).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

import msgspec

from pbx_stir.errors import MalformedAnswer
from pbx_stir.stir import number as numbers

PASSPORT_TYPE = "application/passport"
JSON_TYPE = "application/json"
URI_LIST_TYPE = "text/uri-list"
EVENT_TYPE = "text/event-stream"
PROBLEM_TYPE = "application/problem+json"
RECORD_TYPE = "application/jose"
MAX_LISTED = 64
MAX_RECORDS = 16
_MAX_PATH = 256
_MAX_HREF = 512
_MAX_DETAIL = 200
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HREF = re.compile(r"(?:https?://[A-Za-z0-9.\-\[\]:]{1,255})?(?:/[A-Za-z0-9._~%+*@:=-]+)+/?")
_NEXT_KEYS = re.compile(r"/[A-Za-z0-9._~%+*@:/-]{1,255}/keys\?after=([A-Za-z0-9._~-]{1,64})")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")
_QUALITY = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Resource(Enum):
    """What a path names."""

    HEALTH = "health"
    COLLECTION = "collection"
    ITEM = "item"
    BULK = "collections of a prefix"
    BULK_ITEM = "item of a prefix"
    KEYS = "keys"
    BULK_KEYS = "keys of a prefix"
    TOKEN_KEYS = "token-keys"  # noqa: S105
    TOKENS = "tokens"
    REPORTS = "reports"


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed path: the canonical number of a collection, item or keys, and an item's id.

    Of ``BULK``, ``BULK_ITEM`` and ``BULK_KEYS`` ``number`` is the digits that numbers begin with.
    """

    resource: Resource
    number: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list as its reader sees it; ``wire`` is None where only the href is there."""

    href: str
    wire: bytes | None = None


def parse_target(raw_path: str) -> Target | None:
    """Read a request's path, still percent-encoded; None where nothing is or could be there.

    Each segment is decoded once, after splitting: an encoded slash never makes a segment, and
    dot segments are not followed.
    Raises ``MalformedNumber`` where the path is right but its number is none.
    Source: RFC 3986 section 2.4.
    """
    if len(raw_path) > _MAX_PATH:
        return None
    match _segments(raw_path):
        case ["", "health"]:
            return Target(Resource.HEALTH)
        case ["", "cps", "token-keys"]:
            return Target(Resource.TOKEN_KEYS)
        case ["", "cps", "tokens"]:
            return Target(Resource.TOKENS)
        case ["", "cps", str(name), "ppts"] if name.endswith("*"):
            return Target(Resource.BULK, numbers.from_cps_path(name[:-1]))
        case ["", "cps", str(name), "ppts"]:
            return Target(Resource.COLLECTION, numbers.from_cps_path(name))
        case ["", "cps", str(name), "keys"] if name.endswith("*"):
            return Target(Resource.BULK_KEYS, numbers.from_cps_path(name[:-1]))
        case ["", "cps", str(name), "keys"]:
            return Target(Resource.KEYS, numbers.from_cps_path(name))
        case ["", "cps", str(name), "reports"]:
            return Target(Resource.REPORTS, numbers.from_cps_path(name))
        # RFC 8816 section 9 lists an item without a trailing slash and fetches it with one.
        case ["", "cps", str(name), "ppts", str(item), *rest] if item and rest in ([], [""]):
            # What is no id is an id nobody has: the answer to both is the same.
            bulk = name.endswith("*")
            canonical = numbers.from_cps_path(name[:-1] if bulk else name)
            resource = Resource.BULK_ITEM if bulk else Resource.ITEM
            return Target(resource, canonical, item if is_id(item) else "")
    return None


def collection_path(number: str) -> str:
    """Give the path of a canonical number's collection."""
    return f"/cps/{number}/ppts"


def item_path(number: str, entry_id: str) -> str:
    """Give the path of one entry."""
    return f"/cps/{number}/ppts/{entry_id}"


def reports_path(number: str) -> str:
    """Give the path to which reports on a canonical number's entries go."""
    return f"/cps/{number}/reports"


def bulk_path(prefix: str) -> str:
    """Give the path of what all numbers with a prefix have."""
    return f"/cps/{prefix}*/ppts"


def keys_path(number: str) -> str:
    """Give the path of a canonical number's records."""
    return f"/cps/{number}/keys"


def bulk_keys_path(prefix: str) -> str:
    """Give the path of the records of all numbers with a prefix."""
    return f"/cps/{prefix}*/keys"


def next_keys_path(prefix: str, after: str) -> str:
    """Give the path of the page of records that comes after a place."""
    return f"{bulk_keys_path(prefix)}?after={after}"


def format_id(octets: bytes) -> str:
    """Write 16 random-looking octets as an id: 22 base64url characters."""
    return base64.urlsafe_b64encode(octets)[:22].decode("ascii")


def is_id(text: str) -> bool:
    """Say whether this may be an entry's id."""
    return _ID.fullmatch(text) is not None


def is_href(text: str) -> bool:
    """Say whether this may be the path of an entry; its origin is not looked at."""
    return len(text) <= _MAX_HREF and _HREF.fullmatch(text) is not None


def media_type(value: str) -> str:
    """Give the media type of a Content-Type value in lower case, without its parameters."""
    return value.partition(";")[0].strip().lower()


def prefers_uri_list(accept: str) -> bool:
    """Say whether an Accept value prefers text/uri-list to JSON. Source: RFC 9110 section 12.5.1.

    A list is JSON unless uri-list is named and JSON is not weighted higher.
    """
    weights = _weights(accept)
    uri_list = weights.get(URI_LIST_TYPE, 0.0)
    return uri_list > 0 and uri_list >= weights.get(JSON_TYPE, 0.0)


def prefers_events(accept: str) -> bool:
    """Say whether an Accept value asks for a stream of events: named, and nothing named above it.

    Source: RFC 9110 section 12.5.1.
    """
    if EVENT_TYPE not in accept.lower():
        return False
    weights = _weights(accept)
    events = weights.get(EVENT_TYPE, 0.0)
    return events > 0 and events == max(weights.values())


def _weights(accept: str) -> dict[str, float]:
    """Read the weight of each media type in an Accept value."""
    weights = {"": -1.0}
    for item in accept[:1024].split(","):
        name, _, parameters = item.partition(";")
        quality = _QUALITY.fullmatch(parameters.replace(" ", "").lower())
        weight = float(quality[1]) if quality else float(not parameters.strip())
        weights.setdefault(name.strip().lower(), weight)
    return weights


def format_list(number: str, ids: Iterable[str]) -> bytes:
    """Write a collection's list of hrefs as JSON."""
    hrefs = ",".join(f'"{item_path(number, each)}"' for each in ids)
    return f'{{"ppts":[{hrefs}]}}'.encode("ascii")


def format_expanded(number: str, entries: Iterable[tuple[str, bytes]]) -> bytes:
    """Write a collection's (id, wire text) pairs as JSON, hrefs and passports."""
    begin = f'{{"href":"{collection_path(number)}/'.encode("ascii")
    # Ids and wire text are base64url: nothing in them needs escaping.
    items = [b'%s%s","passport":"%s"}' % (begin, each.encode(), wire) for each, wire in entries]
    return b'{"ppts":[%s]}' % b",".join(items)


def format_uri_list(number: str, ids: Iterable[str]) -> bytes:
    """Write a collection's list as lines that end in CR LF. Source: RFC 2483 section 5."""
    return "".join(f"{item_path(number, each)}\r\n" for each in ids).encode("ascii")


class _ListedItem(msgspec.Struct, forbid_unknown_fields=False):
    """An item of an expanded list."""

    href: str
    passport: str | None = None


class _List(msgspec.Struct, forbid_unknown_fields=False):
    """A list in JSON, its items in either form."""

    ppts: list[str | _ListedItem]


class _Records(msgspec.Struct, forbid_unknown_fields=False, omit_defaults=True):
    """Records in JSON; ``next`` is the next page's path, where there is one."""

    records: list[str]
    next: str = ""


class _Problem(msgspec.Struct, omit_defaults=True):
    """An error's body. Source: RFC 9457 section 3.1."""

    title: str = ""
    status: int = 0
    detail: str = ""


_read_list = msgspec.json.Decoder(_List).decode
_read_records = msgspec.json.Decoder(_Records).decode
_read_problem = msgspec.json.Decoder(_Problem).decode
_write = msgspec.json.Encoder().encode


def parse_list(body: bytes, content_type: str) -> tuple[Listed, ...]:
    """Read a list, expanded or not, JSON or text/uri-list; at most ``MAX_LISTED`` items, the first.

    RFC 8816 leaves the form open, so what is not called a uri-list is read as JSON.
    Raises ``MalformedAnswer``, also for an href that could lead away from paths (its origin is not
    checked here).
    """
    if media_type(content_type) == URI_LIST_TYPE:
        try:
            lines = body.decode("ascii").splitlines()
        except UnicodeDecodeError as error:
            raise MalformedAnswer("a uri-list that is not ascii") from error
        found = [Listed(line) for line in lines if line and not line.startswith("#")]
    else:
        try:
            ppts = _read_list(body).ppts
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedAnswer(f"not a list of passports: {error}") from error
        found = [_listed(item) for item in ppts[:MAX_LISTED]]
    del found[MAX_LISTED:]
    for each in found:
        if not is_href(each.href):
            raise MalformedAnswer(f"not a path in a list: {each.href[:64]!r}")
    return tuple(found)


def format_records(tokens: Sequence[str], following: str = "") -> bytes:
    """Write signed records as JSON; ``following`` is the next page's path, or empty."""
    return _write(_Records(list(tokens), following))


def parse_records(body: bytes) -> tuple[str, ...]:
    """Read a number's signed records, not checked; the first ``MAX_RECORDS``.

    Raises ``MalformedAnswer``.
    """
    return tuple(_parsed_records(body).records[:MAX_RECORDS])


def parse_records_page(body: bytes) -> tuple[tuple[str, ...], str]:
    """Read a page of a prefix's signed records, not checked, and where the next one begins, or "".

    Raises ``MalformedAnswer``, also for a next page's path that is none.
    """
    read = _parsed_records(body)
    following = _NEXT_KEYS.fullmatch(read.next)
    if read.next and following is None:
        raise MalformedAnswer(f"not the path of a next page: {read.next[:64]!r}")
    return tuple(read.records[:MAX_LISTED]), following[1] if following else ""


def _parsed_records(body: bytes) -> _Records:
    try:
        return _read_records(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedAnswer(f"not a list of records: {error}") from error


def format_problem(status: int, detail: str) -> bytes:
    """Write an error's body. ``detail`` is for people and quotes nothing the peer may have sent."""
    return _write(_Problem(HTTPStatus(status).phrase, status, detail))


def parse_problem(body: bytes) -> str:
    """Read what an error's body says, for a log: printable, bounded, empty where it is none."""
    try:
        problem = _read_problem(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return _NOT_PRINTABLE.sub("?", problem.detail or problem.title)[:_MAX_DETAIL]


def parse_date(value: str) -> float | None:
    """Read a Date header as epoch seconds, None where it is none (RFC 9110 section 5.6.7)."""
    return _date(value) if len(value) <= 64 else None


# all answers of one second say the same
@lru_cache(maxsize=16)
def _date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _segments(raw_path: str) -> list[str | None]:
    """Split a path, and decode its segments; None for one that cannot be."""
    segments = raw_path.split("/")
    if "%" not in raw_path and raw_path.isascii() and raw_path.isprintable():
        # nothing to decode, as in nearly all
        return [*segments]
    return [*map(_decode, segments)]


def _decode(segment: str) -> str | None:
    """Decode one path segment once; None for what decodes to no printable ASCII, or to a slash."""
    if "%" not in segment:
        decoded = segment
    elif _PERCENT.search(segment):
        return None
    else:
        decoded = unquote_to_bytes(segment).decode("latin-1")
    return None if "/" in decoded or _NOT_PRINTABLE.search(decoded) else decoded


def _listed(item: str | _ListedItem) -> Listed:
    """Turn an item of either form into one."""
    if isinstance(item, str):
        return Listed(item)
    if item.passport is None:
        return Listed(item.href)
    # What is no base64url is found out where it is decoded.
    return Listed(item.href, item.passport.encode("utf-8", "replace"))
