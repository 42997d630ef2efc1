"""Reads a call log again: the current file, older ones plain or compressed, or a stream.

Takes octets that anybody may have written, gives ``CallLine`` values, each with the line it was
read from. Broken lines, half ones, huge ones and foreign ones are counted and passed over; memory
is bounded whatever the file holds. A line may have something before its ``{``, as syslog and the
journal put it there.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Final, cast

import msgspec

LONGEST_LINE: Final = 1024 * 1024
BLOCK: Final = 1024 * 1024
_FIRST_YEAR: Final = 1971
_LAST_YEAR: Final = 9999
_GZIP: Final = b"\x1f\x8b"
# ours, and logrotate's with and without dateext
_OLDER: Final = r"(?:-\d{8}(?:-\d{1,10})?|\.\d{1,4})(?:\.gz)?"


class CallLine(msgspec.Struct, frozen=True):
    """What of a line is filtered by, counted and shown; docs/call-log.md explains each."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    event: str = "call"
    id: str = ""
    pbx: str = ""
    uniqueid: str = ""
    linkedid: str = ""
    direction: str = ""
    mode: str = ""
    trunk: str = ""
    orig: str = ""
    dest: str = ""
    orig_given: str = ""
    dest_given: str = ""
    reason: str = ""
    verstat: str = ""
    status: str = ""
    attest: str = ""
    signer: str = ""
    diverted_by: str = ""
    name: str = ""
    detail: str = ""
    claimed_by: str = ""
    ms: float = 0.0
    released: bool = False

    @property
    def verdict(self) -> str:
        """One word: passed, failed, none, or the status of an outbound call."""
        return VERDICTS.get(self.verstat, self.status)


VERDICTS: Final = {
    "TN-Validation-Passed": "passed",
    "TN-Validation-Failed": "failed",
    "No-TN-Validation": "none",
}

_decoder: Final = msgspec.json.Decoder(CallLine)


@dataclass(slots=True)
class Reading:
    """What was met on the way: ``broken`` lines, and files that could not be read to their end."""

    broken: int = 0
    unreadable: list[str] = field(default_factory=list)

    def lines(self, stream: IO[bytes], holding: bytes = b"") -> Generator[tuple[CallLine, bytes]]:
        """The lines of ``stream``; with ``holding``, only those in which these octets stand.

        Raises OSError where the stream cannot be read.
        """
        for octets in split(stream):
            if holding and octets is not None and holding not in octets:
                continue
            found = None if octets is None else parsed(octets)
            if found is not None and octets is not None:
                yield found, octets
            elif octets is None or octets.strip():
                self.broken += 1

    def files(
        self, log: Path, holding: bytes = b"", since: float = 0.0
    ) -> Generator[tuple[CallLine, bytes]]:
        """The lines of a log with its older files, oldest first.

        A file last written before ``since`` (epoch seconds) is not opened.

        Raises:
            OSError: the current file is there and cannot be opened
        """
        yield from self.older(log, holding, since)
        try:
            with opened(log) as stream:
                yield from self.lines(stream, holding)
        except FileNotFoundError:
            # just moved away, or nobody has written to it yet
            return
        except (EOFError, zlib.error) as error:
            self.unreadable.append(f"{log}: {error}")

    def older(
        self, log: Path, holding: bytes = b"", since: float = 0.0
    ) -> Generator[tuple[CallLine, bytes]]:
        """As ``files``, without the current one."""
        for path in older_files(log):
            try:
                if path.stat().st_mtime < since:
                    continue
                with opened(path) as stream:
                    yield from self.lines(stream, holding)
            except FileNotFoundError:
                # removed meanwhile
                continue
            except (OSError, EOFError, zlib.error) as error:
                self.unreadable.append(f"{path}: {error}")


def parsed(octets: bytes) -> CallLine | None:
    """The line in ``octets``, None where there is none."""
    start = octets.find(b"{")
    if start < 0:
        return None
    try:
        found = _decoder.decode(octets[start:] if start else octets)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        # not UTF-8, or half of a character that JSON escapes: people may still read the rest
        whole = as_object(octets)
        try:
            found = msgspec.convert(None if whole is None else _clean(whole), CallLine)
        except (msgspec.ValidationError, RecursionError):
            return None
    # other years have no local time everywhere
    return found if _FIRST_YEAR <= found.time.year < _LAST_YEAR else None


def as_object(octets: bytes) -> dict[str, object] | None:
    """The whole line as a JSON object, None where it is none."""
    text = octets.decode("utf-8", "replace")
    try:
        found = json.loads(text[max(text.find("{"), 0) :])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _clean(whole: dict[str, object]) -> dict[str, object]:
    """Text without halves of characters, which have no encoding."""
    return {
        key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for key, value in whole.items()
        if key in CallLine.__struct_fields__
    }


def split(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of ``stream`` without their ends; None for one longer than LONGEST_LINE."""
    rest, is_huge = b"", False
    # what is being written to a pipe comes at once
    read = getattr(stream, "read1", stream.read)
    while block := read(BLOCK):
        first, *others = block.split(b"\n")
        rest += first
        if not others:
            if len(rest) > LONGEST_LINE:
                rest, is_huge = b"", True
            continue
        yield None if is_huge or len(rest) > LONGEST_LINE else rest
        yield from others[:-1]
        rest, is_huge = others[-1], False
    if is_huge:
        yield None
    elif rest:
        yield rest


def older_files(log: Path) -> list[Path]:
    """The rotated files of ``log``, ours or logrotate's, the oldest first."""
    named = re.compile(re.escape(log.name) + _OLDER)
    found: list[tuple[float, str]] = []
    try:
        names = {one.name for one in log.parent.iterdir() if named.fullmatch(one.name)}
    except OSError:
        return []
    for name in names:
        # while it is compressed a file has both names for a moment
        if f"{name}.gz" in names:
            continue
        try:
            found.append(((log.parent / name).stat().st_mtime, name))
        except OSError:
            continue
    return [log.parent / name for _, name in sorted(found)]


def opened(path: Path) -> IO[bytes]:
    """The contents of ``path``, whether compressed or not. Raises OSError."""
    if path.is_file():
        with path.open("rb") as stream:
            is_gzip = stream.read(2) == _GZIP
        if is_gzip:
            # what it is made of is an IO[bytes] in all but name
            return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")
