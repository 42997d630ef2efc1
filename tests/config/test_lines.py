"""On which line a key stands, whatever way it is written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.config.lines import Lines, line_of, lines_of

TEXT = '''# a comment with [brackets] and "quotes
state_dir = "a # no comment"

[[trunk]]
name = "one"
called = { "9" = "x",
  b = 1 }
numbers = [
  "+1212", # the first
  """two
lines""",
  '+1',
]
[trunk.more]
x.y = 2
[[trunk]]
"quoted key" = 1
[cps]
listen = 1
[cps.bare]
tls = true
list = [[1, 2], [3]]
[ spaced . out ]
z = \'\'\'
[not.a.table]
\'\'\'
'''


def test_each_key_has_its_line() -> None:
    """Tables, lists of tables, dotted and quoted keys, items of lists."""
    tomllib.loads(TEXT.replace('{ "9" = "x",\n  b = 1 }', '{ "9" = "x", b = 1 }'))
    lines = lines_of(TEXT)
    written = TEXT.splitlines()
    for key, begins in {
        "state_dir": "state_dir",
        "trunk[0]": "[[trunk]]",
        "trunk[0].name": 'name = "one"',
        "trunk[0].called": "called",
        "trunk[0].numbers": "numbers",
        "trunk[0].numbers[0]": '  "+1212"',
        "trunk[0].numbers[1]": '  """two',
        "trunk[0].numbers[2]": "  '+1'",
        "trunk[0].more": "[trunk.more]",
        "trunk[0].more.x.y": "x.y",
        "trunk[1].quoted key": '"quoted key"',
        "cps.bare.tls": "tls",
        "cps.bare.list[1]": "list",
        "spaced.out.z": "z",
    }.items():
        assert written[lines[key] - 1].startswith(begins), key
    assert lines["trunk[1]"] == lines["trunk[1].quoted key"] - 1
    assert "not.a.table" not in lines


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("trunk[0].called.9", 6),
        ("trunk[0].numbers[7]", 8),
        ("trunk[0].nothing", 4),
        ("cps.metrics", 18),
        ("nothing", None),
        ("nothing.at[3].all", None),
        ("", None),
    ],
)
def test_the_nearest_that_is_there(key: str, line: int | None) -> None:
    """What a table lacks is said at the table."""
    assert line_of(lines_of(TEXT), key) == line
    lines = Lines(TEXT)
    assert [lines.line(key), lines.line(key)] == [line, line]


@given(st.text())
def test_any_text_has_lines_or_none(text: str) -> None:
    """It is only asked for TOML, and breaks at nothing."""
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in lines_of(text).values())


_KEYS = st.text(alphabet="abc-_1", min_size=1, max_size=4)
_VALUES = st.sampled_from(
    [
        "1",
        '"a#b"',
        "'[x]'",
        "[1, 2]",
        '["a", # c\n"b",\n]',
        '"""a\n= b"""',
        "{ a = 1 }",
        "1979-05-27",
    ]
)


@given(st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))
def test_every_key_that_is_written_is_found(tables: dict[str, dict[str, str]]) -> None:
    """On the line that it was written on."""
    text, expected = "", {}
    for table, keys in tables.items():
        expected[table] = text.count("\n") + 1
        text += f"[{table}]\n"
        for key, value in keys.items():
            expected[f"{table}.{key}"] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    tomllib.loads(text)
    found = lines_of(text)
    assert {key: found.get(key) for key in expected} == expected
