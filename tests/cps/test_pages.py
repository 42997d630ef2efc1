"""Tests of pbx_stir.cps.pages: pages of a prefix, both directions."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps import pages, wire
from pbx_stir.cps.pages import Page, PageEntry
from pbx_stir.errors import MalformedAnswer

IDS = [wire.format_id(bytes([each]) * 16) for each in range(3)]
HREFS = [f"/cps/1212*/ppts/{each}" for each in IDS]


def test_a_page_is_read_back() -> None:
    """Hrefs and the next page's path come back, and name no number."""
    following = pages.next_path("1212", IDS[2], expand=False)
    page = pages.parse_page(pages.format_page("1212", IDS, following))
    assert page == Page(tuple(map(PageEntry, HREFS)), f"/cps/1212*/ppts?after={IDS[2]}")
    assert pages.parse_page(pages.format_page("1212", [], "")) == Page((), "")


def test_an_expanded_page_is_read_back() -> None:
    """Each entry comes with the number that it is sealed under."""
    following = pages.next_path("1212", IDS[0], expand=True)
    body = pages.format_expanded_page("1212", [(IDS[0], "12125551234", b"Abc")], following)
    assert pages.parse_page(body) == Page(
        (PageEntry(HREFS[0], "12125551234", b"Abc"),), f"/cps/1212*/ppts?after={IDS[0]}&expand=1"
    )


def test_lines_are_the_same_hrefs() -> None:
    """As text/uri-list a page is its hrefs, one a line."""
    assert pages.format_uri_page("1212", IDS).decode().split("\r\n") == [*HREFS, ""]


def test_a_page_of_thousands_is_cut() -> None:
    """No more entries are read than a page may have."""
    body = pages.format_page("1212", IDS * 100, "")
    assert len(pages.parse_page(body).entries) == wire.MAX_LISTED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"ppts":{}}',
        b'{"ppts":["//evil.example/a"]}',
        b'{"ppts":["/a b"]}',
        b'{"ppts":[{"href":"/a","passport":"x"}]}',
        b'{"ppts":[{"href":"/a","number":"x","passport":"x"}]}',
        b'{"ppts":[],"next":"https://evil.example/cps"}',
        b'{"ppts":[],"next":"/cps/1*/ppts?after=short"}',
        b'{"ppts":[],"next":7}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_page_is_said(body: bytes) -> None:
    """Paths that lead elsewhere and wrong types are MalformedAnswer."""
    with pytest.raises(MalformedAnswer):
        pages.parse_page(body)


_json = st.recursive(
    st.none() | st.integers() | st.text(max_size=30) | st.sampled_from(HREFS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["ppts", "next", "href", "number", "passport"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(_json.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Nothing but MalformedAnswer is raised."""
    with contextlib.suppress(MalformedAnswer):
        pages.parse_page(body)
