"""What Asterisk answers is looked at: ``asterisk -rx`` ends with 0 whatever came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pbx_stir.installing.commands import asks_asterisk, carry_out, put_back

# as Asterisk 22.10.1 says it of a module whose file is all comments
NOT_RUNNING = (
    "The module 'cdr_custom' was not properly initialized.  Before reloading the module, you "
    'must run "module load cdr_custom" and fix whatever is preventing the module from being '
    "initialized.\n"
)


def _answering(said: dict[str, str], asked: list[str]) -> Callable[[Sequence[str]], str]:
    def ask(command: Sequence[str]) -> str:
        asked.append(command[2])
        return said[command[2]]

    return ask


@pytest.mark.parametrize("first", [NOT_RUNNING, "No such module 'cdr_custom'\n"])
def test_a_module_that_does_not_run_is_loaded(first: str) -> None:
    """Reloading it would do nothing: it is loaded, and that is all there is to say."""
    asked: list[str] = []
    said = {
        "module reload cdr_custom": first,
        "module load cdr_custom.so": "Loaded cdr_custom.so\n",
    }
    assert carry_out(asks_asterisk("module reload cdr_custom"), _answering(said, asked)) == ""
    assert asked == list(said)


@pytest.mark.parametrize(
    ("command", "answer", "wrong"),
    [
        ("module reload cel", "Module 'cel' reloaded successfully.\n", ""),
        ("dialplan reload", "Dialplan reloaded.\n", ""),
        ("module reload cel", "The module 'cel' reported a reload failure\n", "reload failure"),
        ("manager reload", "No such command 'manager reload'\n", "No such command"),
    ],
)
def test_what_went_wrong_is_said(command: str, answer: str, wrong: str) -> None:
    """By the words of the answer."""
    told = carry_out(asks_asterisk(command), _answering({command: answer}, []))
    assert wrong in told
    assert bool(told) == bool(wrong)


def test_a_module_that_cannot_be_loaded() -> None:
    """It is said, and not called done."""
    said = {
        "module reload cdr_custom": NOT_RUNNING,
        "module load cdr_custom.so": "Unable to load module cdr_custom.so\nCommand failed.\n",
    }
    told = carry_out(asks_asterisk("module reload cdr_custom"), _answering(said, []))
    assert told == "Unable to load module cdr_custom.so"


def test_other_commands_are_judged_by_their_status() -> None:
    """As is an Asterisk that cannot be asked."""
    assert carry_out(("true",)) == ""
    assert carry_out(("sh", "-c", "echo no >&2; exit 1")) == "no"

    def refuse(command: Sequence[str]) -> str:
        raise OSError("Unable to connect to remote asterisk")

    assert carry_out(asks_asterisk("dialplan reload"), refuse).startswith("Unable to connect")


FAILURE = "The module '{}' reported a reload failure\n"


@pytest.mark.parametrize(
    ("module", "first", "then", "wrong"),
    [
        ("cdr_custom", FAILURE.format("cdr_custom"), "Unloaded cdr_custom.so\n", ""),
        ("cdr_custom", FAILURE.format("cdr_custom"), "Unable to unload resource x\n", "Unable"),
        ("cdr_custom", "Module 'cdr_custom' reloaded successfully.\n", None, ""),
        ("cdr_custom", NOT_RUNNING, None, ""),
        ("cel", FAILURE.format("cel"), None, ""),
    ],
)
def test_a_module_with_no_file_ends(module: str, first: str, then: str | None, wrong: str) -> None:
    """When the file is as it was, what it enabled does not go on in memory."""
    said = {f"module reload {module}": first}
    if then is not None:
        said[f"module unload {module}.so"] = then
    asked: list[str] = []
    told = put_back(asks_asterisk(f"module reload {module}"), _answering(said, asked))
    assert asked == list(said)
    assert (wrong in told) if wrong else told == ""


def test_other_commands_are_carried_out_as_ever() -> None:
    """Whatever they are."""
    assert put_back(("true",)) == ""
    said = {"dialplan reload": "No such command\n"}
    assert "No such" in put_back(asks_asterisk("dialplan reload"), _answering(said, []))
