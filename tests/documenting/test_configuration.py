"""Rows of the configuration's reference."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from documenting import configuration
from documenting.configuration import Key, keys, written
from pbx_stir.config.sections import FileName


class Inner(msgspec.Struct, frozen=True):
    """A section in another one."""

    much: Annotated[float, msgspec.Meta(gt=0, le=7)] = 1.5


class Section(msgspec.Struct, frozen=True):
    """One key of each kind."""

    file: FileName
    way: Literal["a", "b"] | None = None
    few: Annotated[tuple[str, ...], msgspec.Meta(max_length=4, description="list of URLs")] = ()
    many: Annotated[int, msgspec.Meta(ge=1)] = 2
    short: Annotated[str, msgspec.Meta(min_length=1, max_length=9)] = "x"
    yes: bool = True
    table: dict[str, int] = msgspec.field(default_factory=dict)
    inner: Inner = Inner()
    list: tuple[Inner, ...] = ()


def test_values_and_defaults_follow_from_the_types() -> None:
    """Bounds, choices and descriptions in words, defaults as TOML has them."""
    assert keys(Section) == {
        "file": Key("path", "", required=True),
        "way": Key('`"a"`, `"b"`', "", required=False),
        "few": Key("list of URLs, up to 4", "[]", required=False),
        "many": Key("whole number, 1 or more", "2", required=False),
        "short": Key("text, 1 to 9 characters", '"x"', required=False),
        "yes": Key("true or false", "true", required=False),
        "table": Key("table of text to whole number", "{}", required=False),
        "inner.much": Key("number, above 0 to 7", "1.5", required=False),
        "list.much": Key("number, above 0 to 7", "1.5", required=False),
    }


@pytest.mark.parametrize(
    ("name", "by_hand", "shown"),
    [
        ("asterisk.port", "`5039`", "`5038`"),
        ("asterisk.secret_file", "", "required"),
        ("asterisk.tls_ca", "the system's CAs", "the system's CAs"),
        ("asterisk.tls_ca", "", "none"),
        ("trunk.numbers", "`[]`", "`[]`"),
        ("trunk.numbers", '`""`', "`[]`"),
        ("trunk.national_prefix", "as usual in the country", "as usual in the country"),
        ("asterisk.name", "`host:port`", "`host:port`"),
    ],
)
def test_a_default_is_the_codes(name: str, by_hand: str, shown: str) -> None:
    """Words stand only where the code's default is nothing."""
    row = f"| `{name}` | whatever | {by_hand} | What it means. |"
    cells = configuration.CELLS.split(written(row))
    assert cells[2] == shown
    assert cells[3] == "What it means. |"


def test_a_row_that_cannot_be_right_is_refused() -> None:
    """A key that there is not, or a row with too few cells."""
    with pytest.raises(ValueError, match="no such key"):
        written("| `asterisk.prot` | a | b | c |")
    with pytest.raises(ValueError, match="instead of 4"):
        written("| `asterisk.port` | a | b |")


def test_a_key_without_a_row_is_found() -> None:
    """By its name."""
    assert "asterisk.port" in configuration.missing("")
