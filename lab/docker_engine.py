"""A Docker engine of our own: started by hand, its images in a folder, stopped by its id.

::

    with running_engine(Path(".lab/docker")) as host:       # "unix:///run/pbx-stir-…/docker.sock"
        docker.DockerClient(base_url=host)

For machines without a running engine. Needs root and ``dockerd`` (Debian's package docker.io);
no service manager. It has no default bridge, so that it is in nobody's way; builds use the host's
network. What an aborted run left, engine or containers, is ended first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.debian import LabError

START_SECONDS = 60
STOP_SECONDS = 60
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


def why_not() -> str:
    """Why no engine can be started here, or an empty string if one can."""
    if os.geteuid() != 0:
        return "no Docker engine answers, and starting one takes root"
    if _program("dockerd") is None:
        return "no Docker engine answers, and dockerd is not installed (Debian: docker.io)"
    return ""


@contextlib.contextmanager
def running_engine(folder: Path) -> Iterator[str]:
    """Run an engine whose images and containers are in ``folder``; give its address.

    Raises LabError where it does not start, or another run has the folder.
    """
    reason = why_not()
    if reason:
        raise LabError(reason)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LabError(f"another run has the Docker engine of {folder}") from error
        run = run_folder(folder)
        _end_left(run)
        process = _start(folder, run)
        try:
            yield f"unix://{run}/docker.sock"
        finally:
            _stop(process)
            _clear(run)


def run_folder(folder: Path) -> Path:
    """Where the engine of that folder has its socket, and what need not outlive it."""
    # Short, since a socket's path has at most 107 octets, and the same in every run: an engine ends
    # the containers that it finds from before.
    return Path(f"/run/pbx-stir-{zlib.crc32(os.fsencode(folder.resolve())):08x}")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def _start(folder: Path, run: Path) -> subprocess.Popen[bytes]:
    run.mkdir(mode=0o700, exist_ok=True)
    (run / "docker.sock").unlink(missing_ok=True)
    said = folder / "dockerd.log"
    options = {
        "--data-root": folder / "data",
        "--exec-root": run / "exec",
        "--pidfile": run / "docker.pid",
        "--host": f"unix://{run}/docker.sock",
        "--bridge": "none",
    }
    # It ends with us, however we end.
    command = ["setpriv", "--pdeathsig", "TERM", str(_program("dockerd"))]
    with said.open("wb") as log:
        process = subprocess.Popen(
            [*command, *(f"{option}={value}" for option, value in options.items())],
            env=os.environ | {"PATH": f"{os.environ.get('PATH', '')}:{_SBIN}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(lambda: _answers(run / "docker.sock", process, said), START_SECONDS, "dockerd")
    except BaseException:
        _stop(process)
        raise
    return process


def _answers(path: Path, process: subprocess.Popen[bytes], said: Path) -> bool:
    if process.poll() is not None:
        raise LabError(f"dockerd ended: {said.read_text(errors='replace')[-1500:]}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _clear(run: Path) -> None:
    """Remove the folder, and the network name space that an engine leaves mounted in it."""
    for mounted in (run / "exec/netns").glob("*"):
        subprocess.run(["umount", "--lazy", str(mounted)], capture_output=True, check=False)
    shutil.rmtree(run, ignore_errors=True)


def _end_left(run: Path) -> None:
    """End the engine of an aborted run, if it is still there and is what its file says."""
    try:
        pid = int((run / "docker.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if os.fsencode(run) not in command:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    _wait(lambda: not Path(f"/proc/{pid}").exists(), STOP_SECONDS, "an earlier dockerd to end")


def _wait(true: Callable[[], bool], seconds: float, what: str) -> None:
    give_up_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up_at:
            raise LabError(f"waited in vain for {what}")
        time.sleep(0.05)
