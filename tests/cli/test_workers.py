"""Several processes on one port: started, seen to, ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbx_stir.cli.main import main
from pbx_stir.cli.workers import held_port
from pbx_stir.errors import ConfigurationError
from tests.notifying import Notified, said

# Workers that say what befalls them on standard error. {first} is what each does before
# it has said what signals do, {work} once it is ready.
CODE = """
import os, select, signal, sys, time
from pbx_stir.cli import workers
workers.DRAIN_SECONDS, workers.AGAIN_SECONDS, workers.MOST_DEATHS = {drain}, 0.01, {deaths}

def say(*words):
    os.write(2, (" ".join(map(str, words)) + chr(10)).encode())

def work(desk):
    {first}
    def ended(*_):
        say("ended", desk.index)
        os._exit(0)
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, lambda *_: say("heard", desk.index))
    {work}
    say("process", desk.index, os.getpid())
    desk.say_ready("http://x")
    # a signal just before it goes to sleep would not wake it
    while not select.select([desk.lifeline], [], [], 0.2)[0]:
        pass
    say("orphaned", desk.index)
    return 0

from pbx_stir.service_manager import ServiceManager
sys.exit(workers.run_workers({count}, work, ServiceManager.of(os.environ)))
"""
# a worker that lives in an event loop, as a CPS does
LOOP = """
    import asyncio
    async def live():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended)
        loop.add_signal_handler(signal.SIGHUP, lambda: desk.ready("done"))
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        signal.signal(signal.SIGUSR2, lambda *_: time.sleep(60))
        say("process", desk.index, os.getpid())
        desk.say_ready("http://x")
        await desk.attend()
    asyncio.run(live())
"""


class Crew:
    """A crew of workers as a process, and what they all have said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []

    def until(self, is_so: Callable[[list[str]], bool]) -> list[str]:
        """Read on until something is so."""
        assert self.process.stderr is not None
        while not is_so(self.said):
            line = self.process.stderr.readline()
            assert line, f"it ended: {self.said}"
            self.said.append(line.strip())
        return self.said

    def pids(self) -> dict[str, int]:
        """The last process of each worker."""
        words = [line.split() for line in self.said if line.startswith("process ")]
        return {index: int(pid) for _, index, pid in words}


@contextlib.contextmanager
def crew(
    work: str = "pass",
    *,
    first: str = "pass",
    count: int = 3,
    drain: float = 15,
    deaths: int = 10,
) -> Iterator[Crew]:
    """Start a crew; at the end it is gone, whatever happened."""
    code = CODE.format(work=work, first=first, count=count, drain=drain, deaths=deaths)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        yield Crew(process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """A service manager, with a watchdog that has time on a busy machine."""
    with Notified(str(tmp_path / "notify")) as told:
        monkeypatch.setenv("NOTIFY_SOCKET", told.address)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        yield told


def test_the_parent_tells_the_manager(manager: Notified) -> None:
    """Once for all of them: ready, reloading until each has read its files, alive, stopping."""
    with crew(LOOP) as running:
        running.until(listening)
        manager.wait(said("READY=1\nSTATUS=listening on http://x, 3 workers"))
        manager.wait(lambda got: got.count("WATCHDOG=1") >= 2)
        running.process.send_signal(signal.SIGHUP)
        manager.wait(lambda got: sum("READY=1" in one for one in got) == 2)
        running.process.send_signal(signal.SIGUSR1)
        running.process.terminate()
        assert running.process.wait(10) == 0
    words = [one.split("=")[0] for one in manager.read() if one != "WATCHDOG=1"]
    assert words == ["READY", "RELOADING", "READY", "STOPPING"]


def test_a_frozen_worker_is_not_kept_alive(manager: Notified) -> None:
    """One whose event loop stands still is enough; its process lives, and so do the others."""
    with crew(LOOP) as running:
        running.until(listening)
        manager.wait(said("WATCHDOG=1"))
        os.kill(running.pids()["1"], signal.SIGUSR2)
        # each keep-alive that is still sent was earned before; then none comes
        give_up_at = time.monotonic() + 30
        count = -1
        while (now := manager.read().count("WATCHDOG=1")) != count:
            assert time.monotonic() < give_up_at
            count = now
            time.sleep(4)
        assert running.process.poll() is None


def listening(said: list[str]) -> bool:
    """All workers are there."""
    return "listening on http://x" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_start_and_end_together(number: signal.Signals) -> None:
    """One line says that they listen; a signal reaches each, and the status is 0."""
    with crew() as running:
        running.until(listening)
        assert set(running.pids()) == {"0", "1", "2"}
        running.process.send_signal(number)
        said = running.until(lambda said: sum(one.startswith("ended") for one in said) == 3)
        assert running.process.wait(10) == 0
        assert said.count("listening on http://x") == 1


def test_a_signal_to_read_again_reaches_all() -> None:
    """SIGHUP ends nothing."""
    with crew() as running:
        running.until(listening)
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda said: {"heard 0", "heard 1", "heard 2"} <= set(said))
        assert running.process.poll() is None


def test_a_signal_to_read_again_ends_no_worker_that_starts() -> None:
    """What it asks to read again is just being read."""
    with crew(first="os.kill(os.getpid(), signal.SIGHUP)", count=1) as running:
        running.until(listening)
        running.process.terminate()
        assert running.process.wait(10) == 0


def test_a_worker_that_dies_is_replaced() -> None:
    """The others go on; the crew says who died."""
    with crew() as running:
        running.until(listening)
        before = running.pids()
        os.kill(before["1"], signal.SIGKILL)
        running.until(lambda _said: running.pids()["1"] != before["1"])
        after = running.pids()
        assert (after["0"], after["2"]) == (before["0"], before["2"])
        assert any("worker 1 ended with status -9" in line for line in running.said)
        running.process.terminate()
        assert running.process.wait(10) == 0


def test_workers_that_keep_dying_end_the_crew() -> None:
    """Restarting for ever would hide it from whoever watches the service."""
    dying = "desk.index and (desk.say_ready('http://x'), os._exit(3))"
    with crew(dying, deaths=4) as running:
        assert running.process.wait(20) == 1
        assert running.process.stderr is not None
        said = running.process.stderr.read()
        assert said.count("ended with status 3") == 5
        assert "ended 0" in said


def test_a_first_worker_that_cannot_start_ends_the_crew() -> None:
    """What is wrong is said once, and its status is the crew's."""
    with crew("say('no such file'); os._exit(2)") as running:
        assert running.process.wait(10) == 2
        assert running.process.stderr is not None
        assert running.process.stderr.read().count("no such file") == 1


def test_workers_that_do_not_end_are_killed() -> None:
    """A crew ends in bounded time."""
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with crew(stubborn, drain=0.3) as running:
        running.until(listening)
        pids = running.pids()
        began = time.monotonic()
        running.process.terminate()
        assert running.process.wait(10) == 0
        assert time.monotonic() - began < 8
        for pid in pids.values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_workers_do_not_outlive_what_started_them() -> None:
    """Also where it was killed and could say nothing."""
    with crew() as running:
        running.until(listening)
        running.process.kill()
        running.until(lambda said: {"orphaned 0", "orphaned 1", "orphaned 2"} <= set(said))


def test_a_port_is_held_for_workers_alone() -> None:
    """Those that share it may listen, nobody else, and a second crew is told."""
    with held_port("127.0.0.1", 0) as port:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port), reuse_port=True):
                pass
        with (
            socket.create_server(("127.0.0.1", port), reuse_port=True),
            pytest.raises(ConfigurationError, match="cannot listen"),
            held_port("127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_an_address_of_somebody_else_is_refused(host: str) -> None:
    """With the address in the words."""
    with pytest.raises(ConfigurationError, match="cannot listen"), held_port(host, 0):
        pass


def test_workers_need_something_to_share(capsys: pytest.CaptureFixture[str]) -> None:
    """Each would have a store of its own: refused, with what to do."""
    assert main(["cps", "--no-tls", "--no-tokens", "--workers", "2"]) == 1
    assert "[cps.redis]" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "129"])
def test_workers_are_counted(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as there are cores, not more than anybody has."""
    assert main(["cps", "--no-tls", "--workers", count]) == 2
    assert "1 to 128" in capsys.readouterr().err
