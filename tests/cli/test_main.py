"""The command itself: quick to answer, and exit statuses that mean something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from pbx_stir import __version__
from pbx_stir.cli import main as command
from pbx_stir.cli.main import COMMANDS, main
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from tests.cli.conftest import ALICE, BOB, Office

HEAVY = ("aiohttp", "cryptography", "msgspec", "panoramisk", "jwt", "asyncio", "ssl")


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """``pbx-stir ARGUMENTS`` in a process of its own."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "pbx_stir", *arguments],
        check=False,
        **{"capture_output": True, "text": True, "timeout": 20} | options,
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([one, "-h"] for one in COMMANDS)]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """It answers at once, since heavy imports happen where they are used."""
    code = f"""
import json, sys
from pbx_stir.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    status = end.code
print(json.dumps([status, [one for one in {HEAVY!r} if one in sys.modules]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert set(loaded) <= ({"asyncio", "ssl"} if len(arguments) == 2 else set())


def test_help_is_quick() -> None:
    """A second is far more than it takes."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        done = run("--help")
        took.append(time.monotonic() - began)
    assert min(took) < 1
    assert all(name in done.stdout for name in COMMANDS)


def test_it_says_its_version() -> None:
    """As a module and as a command it is the same."""
    assert run("--version").stdout == f"pbx-stir {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["--nonsense"], ["sign"], ["sign", "--nonsense"], ["check", "--js"]],
)
def test_wrong_use_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No command, an unknown one, missing or unknown or shortened options."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: pbx-stir")


def test_every_command_can_be_asked_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Its options and what each of them means."""
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"usage: pbx-stir {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("no such thing", hint="try another"), 2, "no such thing (try another)"),
        (ConfigurationError("a.toml: key: wrong"), 1, "a.toml: key: wrong"),
        (PbxStirError("it did not"), 1, "it did not"),
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device"), 1, "cannot write: No space left on device"),
    ],
)
def test_errors_become_one_line_and_a_status(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2 for wrong use, 1 for what could not be done; never a traceback."""
    from pbx_stir.cli import check

    def fails(_: object) -> int:
        raise error

    monkeypatch.setattr(check, "run", fails)
    monkeypatch.setattr(command, "_discard_output", lambda: None)
    assert main(["check"]) == status
    assert capsys.readouterr().err == (f"pbx-stir check: {said}\n" if said else "")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody expected is not turned into one line."""
    from pbx_stir.cli import check

    def fails(_: object) -> int:
        raise FileNotFoundError(2, "no such file")

    monkeypatch.setattr(check, "run", fails)
    with pytest.raises(FileNotFoundError):
        main(["check"])


def test_a_reader_that_goes_away_is_no_trouble(office: Office) -> None:
    """``pbx-stir … | head -0`` leaves no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(
            "check",
            "--config",
            office.file("none.toml"),
            stdout=writer,
            capture_output=False,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_full_disk_is_one_line(office: Office) -> None:
    """What cannot be written is said, without a traceback."""
    with open("/dev/full", "w") as full:
        done = run(
            "check",
            "--config",
            office.file("none.toml"),
            stdout=full,
            capture_output=False,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 1
    assert done.stderr == "pbx-stir check: cannot write: No space left on device\n"


def test_a_terminal_without_a_character_is_no_trouble(office: Office) -> None:
    """What its encoding lacks is escaped; the exit status stays."""
    done = run(
        "check", "--config", office.file("nö.toml"), env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 1
    assert "n\\xf6.toml" in done.stdout
    assert done.stderr == ""


def test_the_commands_work_as_processes(office: Office) -> None:
    """sign | verify, as a shell would."""
    token = run(
        *("sign", "--orig", ALICE, "--dest", BOB, "--key", office.file("alice.key")),
        *("--x5u", "https://certificates.example.com/alice.pem"),
    ).stdout
    done = run(
        *("verify", "--identity-file", "-", "--orig", ALICE, "--dest", BOB),
        *("--trust", office.trust, "--certificates", office.map),
        input=token,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TN-Validation-Passed (verified): ")
