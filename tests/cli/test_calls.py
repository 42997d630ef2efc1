"""``pbx-stir calls``, as an administrator types it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.call_log.keys import hash_key
from pbx_stir.call_log.numbers import style
from pbx_stir.cli.main import main
from tests.call_log.written import octets
from tests.cli.call_logs import shown, write


def test_a_table_has_all_of_the_log(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    """Older files first, compressed or not; what is no line is counted on standard error."""
    assert main(["calls", str(log)]) == 0
    said = capsys.readouterr()
    ids = [row.split()[1] for row in said.out.splitlines() if "000011112222" in row]
    assert [one[0] for one in ids] == ["a", "b", "c"]
    assert "1 line is no call" in said.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--trunk", "carrier-2"], "c"),
        (["--number", "1310"], "c"),
        (["--number", "+1 (646) 555-0000"], "abc"),
        (["--verdict", "none"], "b"),
        (["--verdict", "stored"], "a"),
        (["--reason", "stale"], "b"),
        (["--direction", "out"], "a"),
        (["--since", "2026-11-21"], "bc"),
        (["--until", "2026-11-21"], "a"),
        (["--last", "2"], "bc"),
        (["--last", "0"], "abc"),
    ],
)
def test_calls_are_filtered(
    capsys: pytest.CaptureFixture[str], log: Path, arguments: list[str], found: str
) -> None:
    """By everything an administrator asks for."""
    rows = shown(capsys, log, "--json", *arguments).splitlines()
    assert "".join(json.loads(row)["id"][0] for row in rows) == found


def test_without_a_question_the_last_ones_are_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """For people; programs get all of them."""
    path = tmp_path / "calls.jsonl"
    write(path, *(octets(id=f"{count:016x}") for count in range(120)))
    assert len(shown(capsys, path).splitlines()) == 52
    assert len(shown(capsys, path, "--json").splitlines()) == 120
    assert len(shown(capsys, path, "--trunk", "carrier-1").splitlines()) == 122


def test_a_sheet_has_every_call(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    """With names of columns."""
    rows = list(csv.DictReader(io.StringIO(shown(capsys, log, "--csv"))))
    assert [row["id"][0] for row in rows] == ["a", "b", "c"]
    assert rows[0]["verdict"] == "stored"


def test_counts_are_for_people_and_programs(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    """A table, one JSON object, or a sheet."""
    assert "REASON" in shown(capsys, log, "--counts")
    assert json.loads(shown(capsys, log, "--counts", "--json"))["total"]["inbound"] == 2
    assert len(shown(capsys, log, "--counts", "--csv").splitlines()) == 3


@pytest.mark.parametrize("word", ["bbbb000011112222", "bbbb", "1795309815.1"])
def test_a_call_is_explained_by_its_id(
    capsys: pytest.CaptureFixture[str], log: Path, word: str
) -> None:
    """The log's, its beginning, or the PBX's own; in either way of asking."""
    for arguments in (["explain", word, log], [log, "--explain", word]):
        text = shown(capsys, *arguments)
        assert "reason stale" in text
        assert "What to do" in text


def test_a_reason_word_is_explained_without_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that only the dialplan says."""
    assert "No listener was known" in shown(capsys, "explain", "listener-down")


def test_a_call_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    """With why it may be so."""
    assert main(["calls", "explain", "ffff0000", str(log)]) == 1
    assert "did not announce" in capsys.readouterr().err


def configuration(folder: Path, text: str) -> Path:
    """A configuration file."""
    path = folder / "pbx-stir.toml"
    path.write_text(f'state_dir = "{folder}/state"\n[call_log]\n{text}')
    return path


def test_the_log_is_that_of_the_configuration(
    capsys: pytest.CaptureFixture[str], log: Path, tmp_path: Path
) -> None:
    """Where none is named; where it goes elsewhere, how to get it is said."""
    config = configuration(tmp_path, 'file = "calls.jsonl"')
    assert len(shown(capsys, "--config", config, "--json").splitlines()) == 3
    config = configuration(tmp_path, 'file = "syslog"')
    assert main(["calls", "--config", str(config)]) == 2
    assert "grep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "which"), [("-", "-u pbx-stir"), ("journal", "-t pbx-stir-calls")]
)
def test_the_journal_is_asked_where_the_log_goes_there(
    capsys: pytest.CaptureFixture[str],
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    which: str,
) -> None:
    """By journalctl, in which other lines of the service stand too; without it that is said."""
    config = configuration(tmp_path, f'file = "{file}"')
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert main(["calls", "--config", str(config)]) == 2
    assert "no journalctl" in capsys.readouterr().err
    program = folder / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\nexec /bin/cat {log}\n')
    program.chmod(0o755)
    since = ["--since", "2026-11-21T00:00:00Z"]
    for more in ([], since, ["--follow"], ["explain", "bbbb"]):
        shown(capsys, *more, "--config", config)
    asked = (folder / "asked").read_text().splitlines()
    assert all(one.startswith(which) for one in asked)
    assert asked[1].endswith("--since=@1795219200")
    assert asked[2].endswith("-f -n 50")
    assert len(asked) == 4


def test_a_hashed_number_is_found_by_the_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the key that the configuration's state folder has."""
    config = configuration(tmp_path, 'file = "calls.jsonl"\nnumbers = "hash"')
    hashed = style("hash", hash_key(tmp_path / "state", make=True)).number
    write(tmp_path / "calls.jsonl", octets(orig=hashed("12125551234"), dest="h:x"))
    assert len(shown(capsys, "--config", config, "--json", "--number", "12125551234")) > 2
    assert shown(capsys, "--config", config, "--json", "--number", "12125551235") == ""
    (tmp_path / "state/call_log/key").unlink()
    assert main(["calls", "--config", str(config), "--number", "12125551234"]) == 1
    assert "call_log/key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.jsonl"],
        ["/"],
        ["--since", "tomorrow"],
        ["--number", "alice"],
        ["--verdict", "good"],
        ["--last", "-1"],
        ["explain"],
        ["explain", "ab"],
        ["--follow", "a", "b"],
    ],
)
def test_what_makes_no_sense_is_wrong_use(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Exit status 2 and a sentence."""
    assert main(["calls", *arguments]) == 2
    assert "pbx-stir calls: " in capsys.readouterr().err


class Terminal(io.StringIO):
    """What looks like a terminal."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for whoever has said NO_COLOR, or has a terminal without."""

    def out() -> str:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["calls", str(log)]) == 0
        return terminal.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m" in out()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in out()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in out()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.sampled_from([[], ["--csv"], ["--counts"], ["--json"]]))
def test_whatever_stands_in_a_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, raw: bytes, form: list[str]
) -> None:
    """No traceback, and nothing raw to the terminal."""
    path = tmp_path / "calls.jsonl"
    wild = octets(signer="@", trunk="@", reason="@").replace(b"@", raw.replace(b"\n", b""))
    write(path, octets(), raw, wild, octets(signer=raw.decode("latin-1"), orig="=1"))
    assert main(["calls", str(path), *form]) == 0
    said = capsys.readouterr()
    assert all(one.isprintable() for one in (said.out + said.err).split("\n"))


def heavy() -> list[str]:
    """Modules that this command has no use for."""
    return ["aiohttp", "cryptography", "panoramisk", "jwt"]


def test_nothing_heavy_is_imported(log: Path) -> None:
    """It answers at once."""
    code = (
        "import sys; from pbx_stir.cli.main import main; "
        f"main(['calls', {str(log)!r}]); print([one for one in {heavy()} if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_log_that_may_not_be_read_is_said(
    capsys: pytest.CaptureFixture[str], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With who may."""
    whole: Callable[..., object] = Path.open

    def refused(path: Path, *arguments: object) -> object:
        if path == log:
            raise PermissionError(13, "Permission denied")
        return whole(path, *arguments)

    monkeypatch.setattr(Path, "open", refused)
    for more in ([], ["--follow"]):
        assert main(["calls", str(log), *more]) == 2
        assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "hint"), [("verifed", "did you mean verified?"), ("x", "lists")])
def test_a_reason_that_is_none(
    capsys: pytest.CaptureFixture[str], log: Path, word: str, hint: str
) -> None:
    """A word that no call can have is wrong use, with the nearest one that there is."""
    assert main(["calls", "--reason", word, str(log)]) == 2
    assert hint in capsys.readouterr().err


def test_before_the_first_call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A log that is not there yet is no error; a trunk that is not configured is named."""
    file = tmp_path / "pbx-stir.toml"
    file.write_text('[call_log]\nfile = "calls.jsonl"\n[[trunk]]\nname = "carrier-1"\n')
    assert main(["calls", "--config", str(file)]) == 0
    assert "no call yet" in capsys.readouterr().err
    write(tmp_path / "calls.jsonl", octets())
    assert main(["calls", "--config", str(file), "--trunk", "carier-1"]) == 0
    assert "no trunk 'carier-1' is configured: carrier-1" in capsys.readouterr().err
