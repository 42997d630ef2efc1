"""What the service manager is told, over a real socket and by real processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.service_manager import LONGEST_STATUS, ServiceManager
from tests.notifying import Notified, said

# pbx-stir with a signal that keeps its event loop busy for as long as a watchdog would not wait,
# and tells the manager when that begins and ends: datagrams keep their order
BUSY = """
import os, signal, socket, sys, time
from pbx_stir.cli.main import main

def busy(*_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(os.environ["NOTIFY_SOCKET"])
        told.send(b"BUSY")
        time.sleep(1.5)
        told.send(b"IDLE")

signal.signal(signal.SIGUSR2, busy)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("address", ["/{folder}/notify", "@pbx-stir-{name}"])
def test_each_word_is_a_datagram(tmp_path: Path, address: str) -> None:
    """At a path or an abstract name, as sd_notify(3) has them."""
    where = address.format(folder=tmp_path, name=secrets.token_hex(8)).replace("//", "/")
    with Notified(where) as told:
        manager = ServiceManager.of({"NOTIFY_SOCKET": where})
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        manager.ready("serving 1 PBX")
        manager.status("serving 2 PBXs")
        manager.status("serving 2 PBXs")
        manager.reloading()
        manager.ready("serving 2 PBXs")
        manager.alive()
        manager.stopping("so long")
        manager.close()
        manager.status("nobody hears this")
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        received = told.read()
    reloading = received.pop(2).splitlines()
    assert reloading[0] == "RELOADING=1"
    assert before <= int(reloading[1].removeprefix("MONOTONIC_USEC=")) <= after
    assert received == [
        "READY=1\nSTATUS=serving 1 PBX",
        "STATUS=serving 2 PBXs",
        "READY=1\nSTATUS=serving 2 PBXs",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=so long",
    ]


@pytest.mark.parametrize("address", ["", "notify", "@", "/", "/a\0b", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    """Also where what is named is no socket of the file system."""
    manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert not manager.is_there
    assert manager.watchdog_seconds == 0
    manager.ready("x")
    manager.close()


def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """Nor one whose queue is full: nobody waits for it."""
    where = str(tmp_path / "notify")
    manager = ServiceManager(where)
    manager.ready("nobody is there")
    with Notified(where) as told:
        for _ in range(1000):
            manager.alive()
        assert 0 < len(told.read()) < 1000
    manager.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "x"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
        ({"WATCHDOG_USEC": "٣"}, 0.0),
        ({"WATCHDOG_USEC": "9" * 30}, 0.0),
        ({}, 0.0),
    ],
)
def test_whom_the_watchdog_means(
    tmp_path: Path, environment: dict[str, str], seconds: float
) -> None:
    """Only the process that it names, and only a time that is one."""
    given_ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), **environment}
    manager = ServiceManager.of(given_, pid=7)
    assert manager.watchdog_seconds == seconds
    manager.close()


@given(st.text())
def test_a_status_is_one_line(text: str) -> None:
    """Whatever is in it: a line break would begin another word of the protocol."""
    where = f"@pbx-stir-{secrets.token_hex(8)}"
    with Notified(where) as told:
        manager = ServiceManager(where)
        manager.ready(text)
        manager.close()
        (received,) = told.read()
    ready, status = received.split("\n")
    assert ready == "READY=1"
    assert len(status) <= len("STATUS=") + LONGEST_STATUS


async def test_only_what_is_alive_is_kept_alive(tmp_path: Path) -> None:
    """The status follows, and the watchdog hears nothing once the work is not alive."""
    with Notified(str(tmp_path / "notify")) as told:
        manager = ServiceManager(told.address, watchdog_seconds=0.02)
        alive, status = True, "one"
        task = asyncio.create_task(manager.attend(lambda: status, lambda: alive))
        await told.until(lambda got: got.count("WATCHDOG=1") >= 3)
        alive, status = False, "two"
        await told.until(said("STATUS=two"))
        count = told.read().count("WATCHDOG=1")
        status = "three"
        await told.until(said("STATUS=three"))
        assert told.read().count("WATCHDOG=1") == count
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        manager.close()


@contextmanager
def process(told: Notified, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``pbx-stir ARGUMENTS`` under a watchdog of 0.2 s."""
    running = subprocess.Popen(
        [sys.executable, "-c", BUSY, *arguments],
        env={**os.environ, "NOTIFY_SOCKET": told.address, "WATCHDOG_USEC": "200000"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def is_kept_again(received: list[str]) -> bool:
    """A keep-alive came after the loop was free."""
    return "IDLE" in received and "WATCHDOG=1" in received[received.index("IDLE") :]


@pytest.mark.parametrize("command", ["run", "cps"])
def test_a_busy_event_loop_keeps_nothing_alive(tmp_path: Path, command: str) -> None:
    """The process lives, its threads run: but no call would be served, and none is claimed."""
    config = tmp_path / "pbx-stir.toml"
    config.write_text('state_dir = "state"\n')
    given_ = ["run", "--config", str(config)]
    if command == "cps":
        given_ = ["cps", "--listen", "127.0.0.1:0", "--no-tls", "--no-tokens"]
    with Notified(str(tmp_path / "notify")) as told, process(told, *given_) as running:
        told.wait(lambda got: got.count("WATCHDOG=1") >= 2)
        assert told.received[0].startswith("READY=1\nSTATUS=")
        running.send_signal(signal.SIGUSR2)
        received = told.wait(is_kept_again)
        assert received[received.index("BUSY") + 1] == "IDLE"
        running.terminate()
        assert running.wait(20) == 0
        assert said("STOPPING=1")(told.read())


def test_what_cannot_start_is_never_ready(tmp_path: Path) -> None:
    """A configuration with a mistake, a port that is taken."""
    config = tmp_path / "pbx-stir.toml"
    config.write_text("nonsense = 1\n")
    with Notified(str(tmp_path / "notify")) as told:
        for command in ("run", "cps"):
            with process(told, command, "--config", str(config)) as running:
                assert running.wait(20) == 1
        assert told.read() == []
