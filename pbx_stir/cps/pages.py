"""Bulk retrieval on the wire, both directions: pages of what all numbers with a prefix have.

Takes and gives text and octets, pure; what is read is hostile: bounded by its caller in size,
strict here in form. In a page's paths no number is named but the prefix that was asked for::

    {"ppts": ["/cps/1212*/ppts/C8hG3pTtEEpRzCw1ezMBWA", ...],
     "next": "/cps/1212*/ppts?after=Vw1c0l9Jm8qZ2fYtR3sXaQ"}

Expanded, each entry also has the number that it was sealed under, which opening it takes. Source:
RFC 8816 section 6.2 ("PASSporTs for a range or prefix of numbers"), RFC 8288 (rel="next").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from pbx_stir.cps.wire import MAX_LISTED, bulk_path, is_href, is_id
from pbx_stir.errors import Malformed, MalformedAnswer
from pbx_stir.stir import number as numbers

_NEXT: Final = re.compile(r"(/[A-Za-z0-9._~%+*@:/-]{1,255})\?after=([A-Za-z0-9_-]{22})(&expand=1)?")


class PageEntry(NamedTuple):
    """An entry of a page as its reader sees it; without ``?expand=1`` it is an href alone."""

    href: str
    number: str = ""
    wire: bytes | None = None


class Page(NamedTuple):
    """A page as its reader sees it; ``next`` is the next one's path, empty where this is the last.

    The same entry may be on two pages: its id is the same then.
    """

    entries: tuple[PageEntry, ...]
    next: str


class _Item(msgspec.Struct, forbid_unknown_fields=False):
    """An item of an expanded page."""

    href: str
    number: str
    passport: str


class _Page(msgspec.Struct, forbid_unknown_fields=False):
    """A page in JSON, its items in either form."""

    ppts: list[str | _Item]
    next: str = ""


_read_page = msgspec.json.Decoder(_Page).decode


def bulk_item_path(prefix: str, entry_id: str) -> str:
    """Give the path of one entry of a prefix."""
    return f"{bulk_path(prefix)}/{entry_id}"


def next_path(prefix: str, after: str, *, expand: bool) -> str:
    """Give the path of the page that goes on ``after`` a sealed cursor (``cursors``)."""
    return f"{bulk_path(prefix)}?after={after}{'&expand=1' if expand else ''}"


def format_page(prefix: str, ids: Iterable[str], following: str) -> bytes:
    """Write a page of hrefs; ``following`` is the next one's path, or empty."""
    hrefs = ",".join(f'"{bulk_item_path(prefix, each)}"' for each in ids)
    return f'{{"ppts":[{hrefs}]{_member(following)}}}'.encode("ascii")


def format_expanded_page(
    prefix: str, entries: Iterable[tuple[str, str, bytes]], following: str
) -> bytes:
    """Write a page of (id, canonical number, wire text)."""
    items = [
        b'{"href":"%s","number":"%s","passport":"%s"}'
        % (bulk_item_path(prefix, each).encode(), number.encode(), wire)
        for each, number, wire in entries
    ]
    return b'{"ppts":[%s]%s}' % (b",".join(items), _member(following).encode())


def format_uri_page(prefix: str, ids: Iterable[str]) -> bytes:
    """Write a page of hrefs as lines that end in CR LF. Source: RFC 2483 section 5."""
    return "".join(f"{bulk_item_path(prefix, each)}\r\n" for each in ids).encode("ascii")


def parse_page(body: bytes) -> Page:
    """Read a page in JSON, expanded or not; the first ``MAX_LISTED`` entries.

    Raises ``MalformedAnswer``, also for a number, an href or a next path that is none.
    """
    try:
        read = _read_page(body)
        entries = tuple(map(_entry, read.ppts[:MAX_LISTED]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Malformed) as error:
        raise MalformedAnswer(f"not a page of passports: {error}") from error
    if read.next and not _NEXT.fullmatch(read.next):
        raise MalformedAnswer(f"not the path of a next page: {read.next[:64]!r}")
    return Page(entries, read.next)


def is_cursor(text: str) -> bool:
    """Say whether this may stand behind ``?after=``."""
    return is_id(text)


def _entry(item: str | _Item) -> PageEntry:
    """Turn an item of either form into one."""
    href = item if isinstance(item, str) else item.href
    if not is_href(href):
        raise MalformedAnswer(f"not a path in a page: {href[:64]!r}")
    if isinstance(item, str):
        return PageEntry(href)
    number = numbers.canonical(item.number)
    return PageEntry(href, number, item.passport.encode("utf-8", "replace"))


def _member(following: str) -> str:
    return f',"next":"{following}"' if following else ""
