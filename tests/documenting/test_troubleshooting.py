"""The page of reason words."""

from __future__ import annotations

import re

from documenting import troubleshooting
from pbx_stir.cli.main import COMMANDS
from pbx_stir.reasons import EITHER, INBOUND, OUTBOUND
from pbx_stir.services.call import Reason


def test_every_word_has_its_heading() -> None:
    """One for each direction in which it means something else, with an anchor of its own."""
    headings = re.findall(r"^### (.+)$", troubleshooting.written(), re.MULTILINE)
    assert len(set(headings)) == len(headings) == len(INBOUND) + len(OUTBOUND) + len(EITHER)
    assert {one.split("`")[1] for one in headings} == {reason.value for reason in Reason}


def test_every_word_says_what_to_do() -> None:
    """And names commands that there are."""
    text = troubleshooting.written()
    assert text.count("**What to do:**") == text.count("### ")
    for line in re.findall(r"^\*\*More:\*\* (.+)$", text, re.MULTILINE):
        for command in re.findall(r"`([^`]+)`", line):
            program, *rest = command.split()
            assert program in {"pbx-stir", "systemctl", "journalctl", "timedatectl"}
            assert program != "pbx-stir" or rest[0] in COMMANDS
