"""docs/onboarding.md: its commands, as they stand there, lead two companies to a verified call."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.redis_servers import free_ports

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/onboarding.md"
MOST_COMMANDS = 15
SHIM = '#!/bin/sh\nPYTHONPATH="{root}" exec "{python}" -m pbx_stir "$@"\n'


def blocks() -> list[str]:
    """The page's blocks of commands, in their order."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What is typed in a block: lines that go on joined, what a file is made of left out."""
    without = re.sub(r"<<'END'.*?^END$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line for line in without.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``pbx-stir`` is this repository's."""
    shim = tmp_path / "bin/pbx-stir"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(root=ROOT, python=sys.executable))
    shim.chmod(0o755)
    return {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"}


@contextlib.contextmanager
def cps(command: str, folder: Path, shell: dict[str, str]) -> Iterator[None]:
    """The CPS of the page, in a terminal of its own."""
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command.strip()}"],
        cwd=folder,
        env=shell,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("listening on"):
                break
        else:
            raise AssertionError("the cps did not start")
        yield
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def test_two_companies_come_to_a_verified_call(tmp_path: Path, shell: dict[str, str]) -> None:
    """From nothing, by the page's commands alone, but for the port: few, and quickly done."""
    folder = tmp_path / "desk"
    folder.mkdir()
    port = str(free_ports(1)[0])
    script = [one.replace("8443", port) for one in blocks()]
    assert len([one for block in script for one in commands(block)]) <= MOST_COMMANDS
    background = next(one for one in script if one.startswith("pbx-stir cps"))
    at = script.index(background)
    began = time.monotonic()
    said = run(script[:at], folder, shell)
    with cps(background, folder, shell):
        said += run(script[at + 1 :], folder, shell)
    print(f"{time.monotonic() - began:.1f} s")
    promised = re.search(r"^TN-Validation-Passed .*$", PAGE.read_text(), re.MULTILINE)
    assert promised is not None
    assert promised[0] in said.splitlines()
    assert "to do: [[asterisk]] or [[freeswitch]]" in said


def test_no_key_travels(tmp_path: Path, shell: dict[str, str]) -> None:
    """Neither what Beta sends nor what everybody gets has a private key in it."""
    port = str(free_ports(1)[0])
    script = [one.replace("8443", port) for one in blocks()]
    until = next(n for n, one in enumerate(script) if "authority join" in one)
    run([one for one in script[:until] if "pbx-stir cps" not in one], tmp_path, shell)
    for sent in ("beta/pbx/company.request", "alpha/authority/group.toml"):
        assert "PRIVATE" not in (tmp_path / sent).read_text()
    assert "PRIVATE" in (tmp_path / "beta/pbx/company.key").read_text()


def run(script: list[str], folder: Path, shell: dict[str, str]) -> str:
    """Carry blocks out as one shell would; what they print."""
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(script)],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
