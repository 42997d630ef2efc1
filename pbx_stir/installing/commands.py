"""Runs what installing leaves running, and looks at what Asterisk answers: its status says nothing.

``asterisk -rx`` ends with 0 whatever came of the command, and says in words what did.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from pbx_stir.installing.machine import run

_SECONDS: Final = 60
_RELOAD: Final = "module reload "
# what a module answers that has not been started, since its file had nothing for it (loader.c)
_NOT_THERE: Final = re.compile(r"must run \"module load|No such module")
_FAILED: Final = re.compile(r"(?m)^.*(?:No such|Unable to|reload failure|not properly|failed).*$")


def asks_asterisk(words: str) -> tuple[str, ...]:
    """The command that has Asterisk carry ``words`` out."""
    return ("asterisk", "-rx", words)


def carry_out(command: Sequence[str], ask: Callable[[Sequence[str]], str] | None = None) -> str:
    """Run one command; returns what went wrong in words, or an empty string.

    A module of Asterisk's that cannot be reloaded since it is not loaded is loaded. ``ask`` gives
    the answer to a command, and raises OSError with what went wrong.
    """
    ask = ask or _answer
    if tuple(command[:2]) != ("asterisk", "-rx"):
        return run(command)
    try:
        answer = ask(command)
        words = command[2]
        if words.startswith(_RELOAD) and _NOT_THERE.search(answer):
            module = words.removeprefix(_RELOAD).removesuffix(".so")
            answer = ask(asks_asterisk(f"module load {module}.so"))
    except OSError as error:
        return str(error.strerror or error)
    failed = _FAILED.search(answer)
    return failed[0].strip()[:200] if failed else ""


def put_back(command: Sequence[str], ask: Callable[[Sequence[str]], str] | None = None) -> str:
    """As ``carry_out``, when files are as they were: a module without a file for it is to end.

    It ends as it began: cdr_custom does not run with a file that is all comments, and says so by
    a reload that fails, after which it is registered still. CEL is off then.
    """
    ask = ask or _answer
    if tuple(command[:2]) != ("asterisk", "-rx") or not command[2].startswith(_RELOAD):
        return carry_out(command, ask)
    module = command[2].removeprefix(_RELOAD)
    try:
        answer = ask(command)
        if _NOT_THERE.search(answer):
            return ""
        if "reload failure" in answer:
            answer = ask(asks_asterisk(f"module unload {module}.so")) if module != "cel" else ""
    except OSError as error:
        return str(error.strerror or error)
    failed = _FAILED.search(answer)
    return failed[0].strip()[:200] if failed else ""


def _answer(command: Sequence[str]) -> str:
    """What a command says. Raises OSError where it cannot be run, or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(said[-1] if said else f"exit status {done.returncode}")
    return done.stdout
