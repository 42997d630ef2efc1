"""Logs of calls, and what ``pbx-stir calls`` prints of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.cli.main import main

NONE = {"verstat": "No-TN-Validation", "signer": "", "attest": ""}
OUT = {"direction": "out", "verstat": "", "status": "stored", "reason": "stored"}


def write(path: Path, *lines: bytes) -> None:
    """A log of these lines."""
    path.write_bytes(b"".join(one + b"\n" for one in lines))


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command prints."""
    assert main(["calls", *map(str, arguments)]) == 0
    return capsys.readouterr().out
