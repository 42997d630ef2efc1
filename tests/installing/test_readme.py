"""The commands of README's section on installing, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.cli.main import main
from tests.installing.conftest import Site

README = Path(__file__).resolve().parents[2] / "README.md"
MOST_COMMANDS = 10


def _commands() -> list[list[str]]:
    section = README.read_text().partition("## Install on a PBX\n")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].replace("\\\n", " ").splitlines()]


def test_they_are_few() -> None:
    """From nothing to a verified call in ten commands."""
    assert 0 < len(_commands()) <= MOST_COMMANDS


def test_they_work(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Authority, certificate and installation are made by them, and the test call is there."""
    for words in _commands():
        if words[0] != "/opt/pbx-stir/bin/pbx-stir":
            continue
        arguments = [word.replace("/root/", f"{tmp_path}/") for word in words[1:]]
        if arguments[0] == "install":
            arguments += ["--root", str(site.root)]
        assert main(arguments) == 0, words
    assert "left to you" in capsys.readouterr().out
    values = config.load(site.machine.path("/etc/pbx-stir/pbx-stir.toml")).values
    assert values.credential
    assert values.verification.trust
    assert values.publish.cps == values.route[0].cps
    test_call = site.read("/etc/asterisk/pbx-stir-test.conf").decode()
    (originate,) = (words[2] for words in _commands() if words[0] == "asterisk")
    assert originate in test_call
