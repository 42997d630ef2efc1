"""lab.docker_engine: what it does beside starting an engine, which tests/docker does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab import docker_engine
from lab.debian import LabError


def test_a_socket_fits(tmp_path: Path) -> None:
    """However long the folder's path is, the socket's is short, and the same each time."""
    deep = tmp_path / ("x" * 200) / ("y" * 200)
    run = docker_engine.run_folder(deep)
    assert len(str(run / "exec/containerd/containerd-debug.sock.ttrpc")) < 107
    assert run == docker_engine.run_folder(deep)
    assert run != docker_engine.run_folder(tmp_path)


@pytest.mark.parametrize("left", ["", "nonsense", "999999999"])
def test_nothing_left_is_nothing_to_end(tmp_path: Path, left: str) -> None:
    """An id that is none, or nobody's, is passed over."""
    (tmp_path / "docker.pid").write_text(left)
    docker_engine._end_left(tmp_path)


def test_a_stranger_with_the_id_is_left_alone(tmp_path: Path) -> None:
    """A process that got the id of an engine that is gone is not ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (tmp_path / "docker.pid").write_text(str(stranger.pid))
        docker_engine._end_left(tmp_path)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_what_is_left_is_ended(tmp_path: Path) -> None:
    """A process with the id whose command names the folder is ended, and waited for."""
    command = [sys.executable, "-c", "input()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as left:
        (tmp_path / "docker.pid").write_text(str(left.pid))
        # a child stays in the list of processes until it is waited for
        waiting = threading.Thread(target=left.wait)
        waiting.start()
        docker_engine._end_left(tmp_path)
        waiting.join()
        assert left.returncode == -signal.SIGTERM


def test_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be started the reason is an error, and nothing is made."""
    monkeypatch.setattr(docker_engine, "why_not", lambda: "no dockerd")
    with (
        pytest.raises(LabError, match="no dockerd"),
        docker_engine.running_engine(tmp_path / "docker"),
    ):
        pass
    assert not (tmp_path / "docker").exists()
