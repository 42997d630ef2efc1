"""Asterisk's configuration files, as far as installing reads them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.conf_file import includes, sections

TEXT = r"""
[general] ; the usual
Enabled = yes ; really
;[hidden]
;-- a comment
[hidden]
;-- within --;
still hidden --; port => 5038
secret = a\;b
;--- a rule, not a comment
[users](+)
[template](!)
#include "manager.d/*.conf"
#tryinclude <other.conf>
;#include not.conf
"""


def test_sections_and_values() -> None:
    """Sections, options and values are read; comments of both kinds are not."""
    found = sections(TEXT)
    assert [(one.name, one.options) for one in found] == [
        ("general", ""),
        ("users", "+"),
        ("template", "!"),
    ]
    assert found[0].values == (("enabled", "yes"), ("port", "5038"), ("secret", "a\\;b"))


def test_includes() -> None:
    """Included files are named as they stand, those in comments are not."""
    assert includes(TEXT) == ("manager.d/*.conf", "other.conf")


def test_a_comment_without_end_is_told() -> None:
    """Behind such a comment nothing is read, our lines neither."""
    with pytest.raises(ConfigurationError, match="does not end"):
        sections("[a]\n;-- open\n[b]\n")


@given(st.text(alphabet='[]();-\\=> ab#\n\r"', max_size=200))
def test_any_text_is_read_or_told(text: str) -> None:
    """No text raises anything but ConfigurationError."""
    with contextlib.suppress(ConfigurationError):
        sections(text)
        includes(text)
