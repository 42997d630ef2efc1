"""The dialplan's files say of which version they are, and of the one that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pbx_stir import __version__
from tests.dialplan.conftest import run

__all__ = ["run"]
DIALPLAN = Path(__file__).resolve().parents[2] / "dialplan"


def test_files_are_of_this_version() -> None:
    """Both of them: raise them together with the package's."""
    asterisk = (DIALPLAN / "asterisk/pbx-stir.conf").read_text()
    assert "[pbx-stir-version]\n" in asterisk
    assert f"\nexten => {__version__},1,Return()\n" in asterisk
    freeswitch = (DIALPLAN / "freeswitch/pbx_stir.lua").read_text()
    assert f'\nlocal RELEASE = "{__version__}"\n' in freeswitch


def test_the_script_says_it_and_does_nothing(run: Any) -> None:
    """As an API call gives it, without a channel."""
    outcome = run("version", no_session=True)
    assert (outcome.streamed, outcome.asked, outcome.logged) == ([__version__], [], [])
    assert (outcome.written, outcome.events) == ([], [])


@pytest.mark.parametrize("argument", ["versions", "Version", ""])
def test_nothing_else_asks_for_it(run: Any, argument: str) -> None:
    """A wrong argument is said in FreeSWITCH's log, as ever."""
    assert run(argument).streamed == []
