"""Cursors as their readers carry them: opened by who has sealed them, and nothing to others."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.cursors import open_cursor, seal_cursor
from pbx_stir.cps.places import Cursor
from pbx_stir.cps.wire import format_id, is_id

KEY = bytes(range(16))
_ids = st.binary(min_size=16, max_size=16).map(format_id)


@given(st.floats(allow_nan=False, allow_infinity=False), _ids)
def test_what_is_sealed_is_opened(arrival: float, entry_id: str) -> None:
    """To the same moment, exactly, and to what the id begins with; in the form of an id."""
    text = seal_cursor(Cursor(arrival, entry_id), KEY)
    assert is_id(text)
    assert open_cursor(text, KEY) == Cursor(arrival, entry_id[:8])


def test_it_tells_nothing() -> None:
    """It has nothing of the id, and cannot be opened with another key."""
    cursor = Cursor(1000.0, "C8hG3pTtEEpRzCw1ezMBWA")
    texts = {seal_cursor(cursor, os.urandom(16)) for _ in range(20)}
    assert len(texts) == 20
    assert not any("C8hG" in text for text in texts)
    assert cursor not in [open_cursor(text, KEY) for text in texts]


@pytest.mark.parametrize("text", ["", "x", "A" * 21, "A" * 23, "A" * 21 + "=", "A" * 22, "é" * 22])
def test_what_is_none_is_none(text: str) -> None:
    """Neither what has not the form, nor what was not made here."""
    assert open_cursor(text, KEY) is None


@given(st.text(max_size=30) | _ids, st.binary(min_size=16, max_size=16))
def test_any_text_is_opened_or_not(text: str, key: bytes) -> None:
    """Nothing is raised; what comes out can be gone on from."""
    found = open_cursor(text, key)
    assert found is None or (found.arrival < float("inf") and len(found.id) == 8)
