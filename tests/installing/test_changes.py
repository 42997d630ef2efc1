"""How changes are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.installing import blocks
from pbx_stir.installing.blocks import Style
from pbx_stir.installing.changes import Change, printable, shown

PATH = Path("/etc/asterisk/manager.conf")


def test_a_diff() -> None:
    """A change is a unified diff, with octets that are no text escaped."""
    told = shown(Change(PATH, b"a\nb\xff\n", b"a\nc\n"))
    assert told.splitlines()[2:] == ["@@ -1,2 +1,2 @@", " a", "-b\\udcff", "+c"]


def test_nobodys_secret_is_shown() -> None:
    """Secrets are masked, ours and those that stand beside our lines."""
    old = b'[admin]\nsecret = theirs1\n<param name="password" value="theirs2"/>\n'
    told = shown(Change(PATH, old, old + b"secret=ours\npassword => ours\n"))
    assert "theirs" not in told
    assert "ours" not in told
    assert told.count("********") == 4


SECRETS = (
    'data="default_password=SEKRIT"',
    "<param name='password' value='SEKRIT'/>",
    '<param value="SEKRIT" name="password"/>',
    '<param name="password" value = "SEKRIT"/>',
    ";secret = SEKRIT",
    "remote_secret=>SEKRIT",
    "  md5secret = SEKRIT",
    'password_file = "/x" ; password = SEKRIT',
)


def _block(old: str, lines: list[str], style: Style = Style.SEMICOLON) -> Change:
    new = blocks.put(old, lines, style)
    return Change(PATH, old.encode(), blocks.octets_of(new), block=True)


@pytest.mark.parametrize("line", SECRETS)
@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_nothing_of_somebody_elses_file_is_shown(line: str, end: str) -> None:
    """Of a file that our lines are put into no other line is shown, however near it stands."""
    told = shown(_block(f"[a]\n{line}{end}", ["[pbx-stir]", "read = user"]))
    assert "SEKRIT" not in told
    assert told.splitlines()[2:] == [
        "@@ -2,0 +3,4 @@",
        "+; BEGIN pbx-stir" + ("" if end else " (after a line without end)"),
        "+[pbx-stir]",
        "+read = user",
        "+; END pbx-stir",
    ]


@pytest.mark.parametrize("line", SECRETS)
def test_secrets_in_any_form_are_masked(line: str) -> None:
    """What is ours, or was taken for ours, is shown without secrets, written in whatever way."""
    told = shown(Change(PATH, f"a\n{line}\n".encode(), f"b\n{line}\n".encode()))
    assert "SEKRIT" not in told
    inside = blocks.put("mine\n", ["[x]", line, "[y]"], Style.SEMICOLON)
    told = shown(_block(inside, ["[x]", line, "[z]"]))
    assert "SEKRIT" not in told
    assert "mine" not in told
    assert "-[y]\n+[z]\n" in told


def test_where_a_secret_is_may_be_shown() -> None:
    """A file's name is no secret, and an administrator wants to see it."""
    line = 'secret_file = "/etc/pbx-stir/ami.secret"'
    assert f"+{line}\n" in shown(Change(PATH, None, f"{line}\n".encode()))


def test_enormous_files_are_not_compared() -> None:
    """Lines that somebody has put between our marks cannot make root's command stand still."""
    many = [f"line {number % 7}" for number in range(30_000)]
    old = blocks.put("", many, Style.SEMICOLON)
    told = shown(_block(old, list(reversed(many))))
    assert told.count("\n") == 3 + 2 * 30_002


HOSTILE = "\x1b[8mhidden\x9b8m\x1b]0;title\x07\u202eright\u2066\u200b\x7f\xa0\u2028"


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    """Control characters, of C1 too, and those that turn the writing are shown as escapes."""
    old = f"; {HOSTILE}\t.\n".encode()
    for change in (
        Change(PATH, old, b"x\n"),
        Change(PATH, None, old),
        Change(Path(f"/etc/{HOSTILE}"), b"x\n", old, block=True),
        Change(PATH, HOSTILE.encode(), b"", target=f"/opt/{HOSTILE}"),
    ):
        told = shown(change)
        assert all(line.replace("\t", "").isprintable() for line in told.split("\n"))
    assert "-; \\x1b[8mhidden\\x9b8m" in shown(Change(PATH, old, b"x\n"))
    assert "\t." in shown(Change(PATH, old, b"x\n"))


@given(st.text(st.characters()))
def test_printable(text: str) -> None:
    """Whatever text there is becomes one that can be encoded and is printable, or stays."""
    told = printable(text)
    assert told.replace("\t", "").isprintable()
    assert told.encode().decode() == told
    if text.isprintable():
        assert told == text


def test_a_secret_file_is_named_only() -> None:
    """Of a file that is a secret no octet is shown."""
    told = shown(Change(PATH, None, b"ours", 0o600, secret=True))
    assert told == f"new file {PATH} (mode 600; a secret, not shown)\n"


def test_shipped_files_take_one_line() -> None:
    """What comes with pbx_stir is shown line by line only where that is asked for."""
    change = Change(PATH, None, b"a\nb\n", shipped=True)
    assert "2 lines" in shown(change, full=False)
    assert "+b" in shown(change)
    assert "+b" in shown(Change(PATH, b"old\n", b"a\nb\n", shipped=True), full=False)
