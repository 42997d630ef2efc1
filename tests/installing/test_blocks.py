"""Our lines in somebody else's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import blocks
from pbx_stir.installing.blocks import Style

FILES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"[globals]", b"; BEGIN", b"a=b", b"\xff\xfe", b"", b"\x00"])
    ).flatmap(lambda lines: st.sampled_from([b"\n", b"\r\n"]).map(lambda end: end.join(lines))),
)


@given(FILES, st.lists(st.sampled_from(["A=1", "", "[x](+)"]), max_size=4), st.sampled_from(Style))
def test_what_is_put_in_comes_out(octets: bytes, lines: list[str], style: Style) -> None:
    """Putting lines in and taking them out gives the same octets, whatever they were."""
    text = blocks.text_of(octets)
    assert blocks.octets_of(text) == octets
    put = blocks.put(text, lines, style)
    assert blocks.lines_in(put) == tuple(lines)
    assert blocks.octets_of(blocks.take(put)) == octets


@given(FILES, st.lists(st.sampled_from(["A=1", "B=2"]), max_size=3))
def test_again_changes_nothing(octets: bytes, lines: list[str]) -> None:
    """The same lines again are the same text; other lines take their place."""
    text = blocks.text_of(octets)
    once = blocks.put(text, lines, Style.SEMICOLON)
    assert blocks.put(once, lines, Style.SEMICOLON) == once
    other = blocks.put(once, ["C=3"], Style.SEMICOLON)
    assert other == blocks.put(text, ["C=3"], Style.SEMICOLON)


@given(st.lists(st.sampled_from(["a", "b", "[c]"]), min_size=1, max_size=5), st.integers(0, 5))
def test_in_the_middle(lines: list[str], index: int) -> None:
    """Lines may stand anywhere that a line begins, and come out of there too."""
    text = "".join(f"{line}\n" for line in lines)
    at = len("".join(f"{line}\n" for line in lines[:index]))
    put = blocks.put(text, ["X"], Style.XML, at)
    assert put[:at] == text[:at]
    assert blocks.take(put) == text


def test_line_ends_are_the_files_own() -> None:
    """A file of CRLF gets lines of CRLF."""
    put = blocks.put("a\r\nb\r\n", ["X"], Style.SEMICOLON)
    assert put == "a\r\nb\r\n; BEGIN pbx-stir\r\nX\r\n; END pbx-stir\r\n"


def test_a_last_line_without_end() -> None:
    """Gets one, which goes again with our lines; where something was added behind them it stays."""
    put = blocks.put("a", ["X"], Style.SEMICOLON)
    assert blocks.take(put) == "a"
    assert blocks.take(put + "b\n") == "a\nb\n"


@pytest.mark.parametrize(
    "text",
    [
        "; BEGIN pbx-stir\nX\n",
        "X\n; END pbx-stir\n",
        "; END pbx-stir\n; BEGIN pbx-stir\n",
        "; BEGIN pbx-stir\n; END pbx-stir\n; BEGIN pbx-stir\n; END pbx-stir\n",
    ],
)
def test_damaged_marks_are_told(text: str) -> None:
    """Nothing is guessed where a mark is missing, or there twice."""
    for work in (lambda: blocks.take(text), lambda: blocks.put(text, [], Style.SEMICOLON)):
        with pytest.raises(ConfigurationError, match="damaged"):
            work()


def test_other_lines_are_no_marks() -> None:
    """Text that speaks of pbx-stir is not taken for a mark."""
    text = "; BEGIN pbx-stirring\n; see END pbx-stir\nexten => BEGIN pbx-stir\n"
    assert blocks.lines_in(text) == ()
    assert blocks.take(text) == text


def test_where_the_block_stands() -> None:
    """The lines before it are counted, and its own come with their marks."""
    text = blocks.put("a\nb\n", ["c"], Style.SEMICOLON)
    assert blocks.marked_in(text) == (2, ("; BEGIN pbx-stir", "c", "; END pbx-stir"))
    assert blocks.marked_in("a\n") == (0, ())
