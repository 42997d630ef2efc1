"""How changes are shown."""

from __future__ import annotations

from pathlib import Path

from pbx_stir.installing.changes import Change, shown

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
