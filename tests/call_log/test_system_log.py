"""The call log in the machine's own log: what journal and syslog are sent."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log import CallLogFile
from pbx_stir.call_log.system_log import Journal, Syslog, journal_entry
from tests.call_log.records import passed, record

LINE = b'{"event":"call","id":"ab","reason":"verified","orig":"12125551234","ms":5.1}\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def listening(path: Path) -> socket.socket:
    """What a system log listens with."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.settimeout(10)
    return made


def fields(entry: bytes) -> dict[str, str]:
    """The fields of an entry in the journal's protocol, none of ours being binary."""
    assert entry.endswith(b"\n")
    return dict(one.split("=", 1) for one in entry.decode().splitlines())


def test_the_journal_has_fields(folder: Path) -> None:
    """Calls are found by STIR_REASON and others, and the message is the line itself."""
    with listening(folder / "socket") as journal:
        out = Journal(str(folder / "socket"))
        out.write(LINE, more=False)
        found = fields(journal.recv(65_536))
        out.close()
    assert found["MESSAGE"] == LINE.decode().rstrip("\n")
    assert found["STIR_REASON"] == "verified"
    assert found["STIR_ORIG"] == "12125551234"
    assert found["STIR_MS"] == "5.1"
    assert found["SYSLOG_IDENTIFIER"] == "pbx-stir-calls"
    assert "STIR_SIGNER" not in found


@given(st.dictionaries(st.sampled_from(["signer", "trunk", "orig"]), st.text(max_size=400)))
def test_no_stranger_adds_a_field(words: dict[str, Any]) -> None:
    """Whatever a certificate or a PBX says stays in its own field, on its own line."""
    found = fields(journal_entry(json.dumps(words).encode()))
    expected = {f"STIR_{key.upper()}" for key, value in words.items() if value}
    assert {key for key in found if key.startswith("STIR_")} == expected
    assert json.loads(found["MESSAGE"]) == words


def test_syslog_has_the_form_of_its_socket(folder: Path) -> None:
    """Facility local0, severity informational, a name, and the mark by which JSON is known."""
    with listening(folder / "log") as server:
        out = Syslog(str(folder / "log"), now=lambda: 1_795_309_815.0)
        out.write(LINE, more=False)
        got = server.recv(65_536).decode()
        out.close()
    head, _, message = got.partition("@cee: ")
    assert head.startswith("<134>Nov 2")
    assert head.endswith(f" pbx-stir-calls[{os.getpid()}]: ")
    assert message == LINE.decode().rstrip("\n")


def test_a_server_started_anew_is_found_again(folder: Path) -> None:
    """Its socket is another one; no line is lost once it is there."""
    path = folder / "log"
    out = Syslog(str(path))
    with listening(path) as server:
        out.write(LINE, more=False)
        server.recv(65_536)
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        out.write(LINE, more=False)
    with listening(path) as server:
        out.write(LINE, more=False)
        assert LINE.rstrip(b"\n") in server.recv(65_536)
    out.close()


def test_a_machine_without_that_log_costs_lines_only(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted and said; calls go on."""
    log = CallLogFile(None, output=Journal(str(folder / "none")))
    for _ in range(3):
        log.record(record(passed()))
    log.close()
    assert log.lines_lost == 3
    assert "No such file" in caplog.text
