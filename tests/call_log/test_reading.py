"""A call log is read again, whatever stands in it."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.call_log import CallLogFile, reading
from pbx_stir.call_log.reading import CallLine, Reading, older_files, parsed, split
from tests.call_log.records import passed, record
from tests.call_log.written import line, octets


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Each field of a line that the log itself has written."""
    path = tmp_path / "calls.jsonl"
    log = CallLogFile(path)
    log.record(record(passed(attest="A"), orig="+12125551234"))
    log.close()
    ((found, raw),) = Reading().files(path)
    whole = json.loads(raw)
    assert found.time.isoformat(timespec="milliseconds") == whole["time"]
    for name in set(CallLine.__struct_fields__) - {"time"}:
        if name in whole:
            assert getattr(found, name) == whole[name]
    assert found.verdict == "passed"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"verstat": "No-TN-Validation"}, "none"),
        ({"verstat": "TN-Validation-Failed"}, "failed"),
        ({"verstat": "", "status": "in-band", "direction": "out"}, "in-band"),
    ],
)
def test_a_verdict_is_one_word(changes: dict[str, str], verdict: str) -> None:
    """Inbound and outbound."""
    assert line(**changes).verdict == verdict


def test_what_syslog_puts_before_a_line_is_passed_over() -> None:
    """Date, host, name, and the mark before JSON."""
    head = b"Nov 22 08:14:03 pbx pbx-stir-calls[71]: @cee: "
    assert parsed(head + octets()) == parsed(octets())


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"half a li",
        octets()[:-20],
        b"[]",
        b"{}",
        b'{"time":"yesterday"}',
        b'{"time":"2026-11-22T08:14:03"}',
        b'{"time":"0001-01-01T00:00:00Z"}',
        b'{"time":"9999-12-31T23:59:59Z"}',
        octets(ms="slow"),
        octets(trunk=None),
        b'{"a":' * 100_000,
        b'{"time":' + b"9" * 10_000 + b"}",
        b"\x00\xff\xfe{",
    ],
    ids=range(14),
)
def test_what_is_no_line_is_counted(broken: bytes) -> None:
    """And what stands around it is read; an empty line is nothing at all."""
    read = Reading()
    stream = io.BytesIO(octets() + b"\n" + broken + b"\n" + octets())
    assert len(list(read.lines(stream))) == 2
    assert read.broken == (1 if broken else 0)


def test_text_that_is_no_unicode_is_readable() -> None:
    """Octets of another encoding, and halves of characters that JSON can escape."""
    raw = octets().replace(b"Company A", b"M\xfcller")
    found = parsed(raw)
    assert found is not None
    assert found.signer == "M\ufffdller"
    half = parsed(octets().replace(b"Company A", rb"a\ud800b"))
    assert half is not None
    assert half.signer == "a?b"


@given(st.binary(max_size=300))
def test_any_octets_are_read(raw: bytes) -> None:
    """Nothing that stands in a file ends the reading."""
    for one in (raw, b"{" + raw + b"}", octets(signer="@").replace(b"@", raw)):
        found = parsed(one)
        assert found is None or isinstance(found, CallLine)


@given(st.lists(st.binary(max_size=12).map(lambda one: one.replace(b"\n", b"")), max_size=8))
def test_lines_are_whole_however_they_arrive(wanted: list[bytes]) -> None:
    """In blocks of any size."""
    raw = b"".join(one + b"\n" for one in wanted)
    for size in (1, 2, 7, 1000):
        stream = io.BytesIO(raw)

        class Slow(io.RawIOBase):
            def read(self, _: int = -1, stream: io.BytesIO = stream, size: int = size) -> bytes:
                return stream.read(size)

        assert list(split(Slow())) == wanted  # type: ignore[arg-type]


def test_a_huge_line_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over, and counted once; what follows is read."""
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    monkeypatch.setattr(reading, "BLOCK", 100)
    read = Reading()
    raw = octets() + b"\n" + b"{" * 5000 + b"\n" + octets() + b"\n" + b"{" * 5000
    assert len(list(read.lines(io.BytesIO(raw)))) == 2
    assert read.broken == 2


def test_older_files_are_read_first(tmp_path: Path) -> None:
    """Ours, logrotate's, plain and compressed, the oldest first; no others."""
    path = tmp_path / "calls.jsonl"
    named = {
        "calls.jsonl-20261120.gz": "a",
        "calls.jsonl-20261120-2.gz": "b",
        "calls.jsonl-20261121": "c",
        "calls.jsonl.2.gz": "d",
        "calls.jsonl.1": "e",
        "calls.jsonl-20261121-1763769601.gz": "f",
    }
    for age, (name, call_id) in enumerate(named.items()):
        raw = octets(id=call_id) + b"\n"
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    for name in ("calls.jsonl-20261120.gz.part", "calls.jsonl.bak", "other.jsonl-20261120"):
        (tmp_path / name).write_bytes(octets(id="no") + b"\n")
    path.write_bytes(octets(id="g") + b"\n")
    assert [found.id for found, _ in Reading().files(path)] == list("abcdefg")
    assert [found.id for found, _ in Reading().files(path, since=1003.0)] == list("defg")
    assert [found.id for found, _ in Reading().files(path, holding=b'"id":"e"')] == ["e"]
    # while it is compressed it has both names
    (tmp_path / "calls.jsonl-20261121.gz").write_bytes(gzip.compress(octets(id="c")))
    assert tmp_path / "calls.jsonl-20261121" not in older_files(path)


def test_a_damaged_older_file_is_named_and_passed_over(tmp_path: Path) -> None:
    """What it holds up to the damage is read."""
    path = tmp_path / "calls.jsonl"
    path.write_bytes(octets())
    packed = gzip.compress(octets() + b"\n")
    (tmp_path / "calls.jsonl-20261120.gz").write_bytes(packed[:-9])
    (tmp_path / "calls.jsonl-20261121.gz").write_bytes(packed[:12] + b"\xff" * 30)
    read = Reading()
    assert 1 <= len(list(read.files(path))) <= 2
    assert len(read.unreadable) == 2


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    """No call has come; or it was moved away just now."""
    assert list(Reading().files(tmp_path / "none/calls.jsonl")) == []
