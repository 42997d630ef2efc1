"""A whole examination: one answer, whatever is wrong, in bounded time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pbx_stir.checks import examination, plan
from pbx_stir.checks.examination import examine
from pbx_stir.checks.running import Check
from pbx_stir.cli import check
from pbx_stir.cli.main import main
from tests.checks.setups import Setup, said
from tests.pbx_room.fake_asterisk import FakeAsterisk


async def test_a_healthy_setup(
    published: Setup, pbx: FakeAsterisk, capsys: pytest.CaptureFixture[str]
) -> None:
    """PBX, dialplan, CPS, records, certificate: no finding, exit status 0, what was looked at."""
    arguments = ["--config", str(published.company.config)]
    status, found = await asyncio.to_thread(said, capsys, *arguments)
    assert (status, found["findings"], found["worst"]) == (0, [], "none")
    assert found["checks"] > 20
    assert await asyncio.to_thread(main, ["check", *arguments]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith(f"{found['checks']} checks of {published.company.config}, nothing found")
    assert len([one for one in rest if one.startswith("  ok  ")]) == found["checks"]
    assert pbx.writes == []


def test_notes_are_healthy_and_warnings_are_not(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 for whatever there is to do."""
    arguments = ["--offline", "--config", str(setup.company.config)]
    setup.drop("[[credential]]")
    status, found = said(capsys, *arguments)
    assert (status, found["worst"], found["notes"]) == (0, "note", 1)
    setup.drop("[publish]")
    status, found = said(capsys, *arguments)
    assert (status, found["worst"], found["warnings"]) == (1, "warning", 1)


@pytest.mark.parametrize(
    ("octets", "codes"),
    [
        (None, ["config-missing"]),
        (b"\xff", ["config-wrong"]),
        (b"x = 1\n[[asterisk]]\nport = 70000\n", ["config-wrong"] * 3),
        (b"[[asterisk]]", ["config-wrong"]),
        (b"\x00" * 100, ["config-wrong"]),
        (b"x" * (1 << 21), ["config-wrong"]),
    ],
)
def test_json_is_one_object_whatever_is_wrong(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    octets: bytes | None,
    codes: list[str],
) -> None:
    """A configuration that is missing, is none, or has several mistakes: all of them are said."""
    path = tmp_path / "pbx-stir.toml"
    if octets is not None:
        path.write_bytes(octets)
    status, found = said(capsys, "--config", str(path), "--offline")
    assert (status, [one["code"] for one in found["findings"]]) == (1, codes)


def test_an_empty_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what has to be there."""
    path = tmp_path / "pbx-stir.toml"
    path.touch()
    _, found = said(capsys, "--config", str(path), "--offline")
    assert {"no-pbx", "no-trunk", "no-anchors"} <= {one["code"] for one in found["findings"]}


def test_a_fault_of_ours_is_a_finding(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one check, and in what puts them together."""

    def broken(*_: object) -> list[Check]:
        raise RuntimeError("oops")

    arguments = ["--offline", "--config", str(setup.company.config)]
    monkeypatch.setattr(plan, "check_state", broken)
    status, found = said(capsys, *arguments)
    assert (status, [one["code"] for one in found["findings"]]) == (1, ["check-broken"])
    assert "RuntimeError: oops" in found["findings"][0]["what"]
    monkeypatch.setattr(plan, "files", broken)
    status, found = said(capsys, *arguments)
    assert (status, [one["code"] for one in found["findings"]]) == (1, ["check-broken"])


def test_what_hangs_is_left_behind(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes, and the process does not wait for its thread."""
    left: list[int] = []
    monkeypatch.setattr(check, "leave", left.append)
    monkeypatch.setattr(examination, "FILES_SECONDS", 0.5)
    secret = setup.folder / "pbx.secret"
    secret.unlink()
    os.mkfifo(secret, 0o600)
    arguments = ["--offline", "--config", str(setup.company.config)]
    status, found = said(capsys, *arguments)
    assert (status, left) == (1, [1])
    assert {one["code"] for one in found["findings"]} == {"check-timeout"}
    # a writer comes, and the thread goes on
    os.close(os.open(secret, os.O_RDWR | os.O_NONBLOCK))


def test_a_configuration_that_hangs(tmp_path: Path) -> None:
    """The process ends all the same, with one object."""
    path = tmp_path / "pbx-stir.toml"
    os.mkfifo(path)
    script = (
        "import sys; from pbx_stir.checks import examination as e; e.OVERALL_SECONDS = 1.0\n"
        "e.examine.__kwdefaults__['seconds'] = 1.0\n"
        "from pbx_stir.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", "--json", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [one] = json.loads(done.stdout)["findings"]
    assert (done.returncode, one["code"]) == (1, "check-timeout")


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        yield listener.getsockname()[1]


def test_everything_is_black_holed(
    setup: Setup, black_hole: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """PBXs, CPSs, x5u, Redis, advertisements: all are asked at once, and given up in time."""
    place = f"127.0.0.1:{black_hole}"
    text = setup.company.config.read_text()
    for index in range(3):
        text += f"""
[[asterisk]]
name = "more-{index}"
port = {black_hole}
secret_file = "pbx.secret"
[[route]]
prefix = "+{index + 2}"
cps = ["https://{place}/{index}", "https://{place}/{index}/b"]
[[advertisement]]
source = "https://{place}/{index}.json"
"""
    text = text.replace("port = 1\n", f"port = {black_hole}\n")
    text = text.replace("[publish]\n", '[publish]\nretrieve = "subscribed"\n')
    text = text.replace(setup.loaded.values.publish.cps[0], f"https://{place}")
    text = text.replace(setup.certificates.origin, place)
    setup.company.config.write_text(text + f'\n[verification.redis]\nurl = "redis://{place}"\n')
    began = time.monotonic()
    status, found = said(capsys, "--config", str(setup.company.config))
    took = time.monotonic() - began
    assert took < examination.OVERALL_SECONDS + 2
    codes = [one["code"] for one in found["findings"]]
    assert status == 1
    assert codes.count("ami-unreachable") == 4
    assert codes.count("cps-unreachable") == 7
    assert "x5u-unreachable" in codes


def test_what_is_logged_on_the_way_stays_unsaid(setup: Setup) -> None:
    """A finding says it; standard error stays empty."""
    setup.append('\n[[advertisement]]\nsource = "missing.json"\n')
    arguments = ["check", "--json", "--config", str(setup.company.config)]
    done = subprocess.run(
        [sys.executable, "-m", "pbx_stir", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    codes = [one["code"] for one in json.loads(done.stdout)["findings"]]
    assert "advertisement-unusable" in codes


def test_wrong_use() -> None:
    """Has an exit status of its own."""
    with pytest.raises(SystemExit) as ended:
        main(["check", "--nonsense"])
    assert ended.value.code == 2


def test_nothing_is_said_but_the_answer(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json it is a page, and standard error stays empty."""
    setup.drop("[[trunk]]")
    assert main(["check", "--offline", "--config", str(setup.company.config)]) == 1
    output = capsys.readouterr()
    assert output.err == ""
    assert "no-trunk" in output.out
    assert examine(setup.company.config, offline=True).about
