"""The project's own services as processes: started as a user would, ended by their id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.debian import LabError


def pbx_stir(*arguments: str) -> str:
    """What ``pbx-stir ARGUMENTS`` prints. Raises LabError where it does not succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "pbx_stir", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode != 0:
        raise LabError(f"pbx-stir {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


class Service:
    """``pbx-stir ARGUMENTS`` in a process of its own; what it says goes to ``log``."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        *,
        within: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``within`` is a command that becomes the service's; ``environment`` is added to ours."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = list(arguments)
        self._within = list(within)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def running(self) -> bool:
        """Started, and not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that ``start`` started."""
        if self._process is None:
            raise LabError(f"{self.name} is not running")
        return self._process.pid

    @property
    def said(self) -> str:
        """Everything that it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Start the process."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, sys.executable, "-m", "pbx_stir", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    def stop(self, seconds: float = 10) -> int | None:
        """End it as systemd would; its exit status, None if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # one that is frozen would not see the signal
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        return process.returncode

    def kill(self) -> None:
        """End it without a word."""
        os.kill(self.pid, signal.SIGKILL)
        process, self._process = self._process, None
        if process is not None:
            process.wait(timeout=10)

    def freeze(self) -> None:
        """Stop it where it stands, connections open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Return as soon as ``true()``. Raises LabError: it takes longer, or the process ends."""
        give_up_at = time.monotonic() + seconds
        while not true():
            if not self.running:
                raise LabError(f"{self.name} ended: {self.said[-1500:]}")
            if time.monotonic() > give_up_at:
                raise LabError(f"{self.name}: not {what} in {seconds} s: {self.said[-1500:]}")
            time.sleep(0.02)
