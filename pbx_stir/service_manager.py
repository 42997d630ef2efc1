"""Tells the service manager (systemd) how the service is: ready, reloading, stopping, alive.

Takes what the manager gave in the environment, gives datagrams on its socket. Without a manager
nothing is sent. The manager is never waited for, and a failure to tell it anything ends nothing.

A keep-alive is sent by who does the work and at the moment of asking whether it is done: from the
event loop's own turn, never from a thread that would go on while the work is stuck.
Source: sd_notify(3), sd_watchdog_enabled(3); the protocol is part of systemd's stable interface.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

# how often the status is looked at, where the watchdog does not ask for more
STATUS_SECONDS: Final = 1.0
LONGEST_STATUS: Final = 400


class ServiceManager:
    """The socket of the service manager; silent where there is none."""

    def __init__(self, address: str = "", watchdog_seconds: float = 0.0) -> None:
        """``address``: a path, or "@" and an abstract name; ``watchdog_seconds``: 0 for none."""
        self.watchdog_seconds = watchdog_seconds if address else 0.0
        self._status = ""
        self._socket: socket.socket | None = None
        self._address: str | bytes = address
        if address.startswith("@"):
            self._address = b"\0" + os.fsencode(address[1:])
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int | None = None) -> ServiceManager:
        """The one that ``environment`` names; ``pid`` is ours. What is malformed counts as absent.

        ``WATCHDOG_PID`` may name another process: then that one is to keep alive, not we.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in {"/", "@"} or len(address) < 2 or "\0" in address:
            return cls()
        seconds = _number(environment.get("WATCHDOG_USEC", "")) / 1e6
        watched = environment.get("WATCHDOG_PID", "")
        if watched and _number(watched) != (os.getpid() if pid is None else pid):
            seconds = 0.0
        return cls(address, seconds)

    @property
    def is_there(self) -> bool:
        """Whether somebody is told."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Every part is up; also after a reload."""
        self._status = _line(status)
        self._send(f"READY=1\nSTATUS={self._status}")

    def status(self, status: str) -> None:
        """Say in one line how it is, where that has changed."""
        if _line(status) != self._status:
            self._status = _line(status)
            self._send(f"STATUS={self._status}")

    def reloading(self) -> None:
        """The configuration is being read again; ``ready`` ends it.

        The manager matches it with the signal that it has sent by the time of CLOCK_MONOTONIC.
        """
        self._status = "reading the configuration again"
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS={self._status}")

    def stopping(self, status: str) -> None:
        """The service ends."""
        self._status = _line(status)
        self._send(f"STOPPING=1\nSTATUS={self._status}")

    def alive(self) -> None:
        """Keep the watchdog from ending the service."""
        self._send("WATCHDOG=1")

    async def attend(
        self,
        status: Callable[[], str] | None = None,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Tell the status as it changes, and keep alive while the work is alive; for ever.

        Runs in the event loop that does the work: where that stands still, nothing is sent. To be
        begun after ``ready``.
        """
        half = self.watchdog_seconds / 2
        pause = min(STATUS_SECONDS, half) if half else STATUS_SECONDS
        due, was_alive = 0.0, True
        while self.is_there:
            if status is not None:
                self.status(status())
            alive = is_alive()
            if alive and half and time.monotonic() >= due:
                self.alive()
                due = time.monotonic() + half - pause / 2
            if was_alive and not alive:
                log.error("a part of the service has ended: the watchdog is not kept from it")
            was_alive = alive
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError as error:
            # the manager's queue is full, or it is gone: the service goes on
            log.warning("the service manager could not be told: %s", error)


def _number(text: str) -> int:
    """A positive number of the environment; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]
