"""A service manager's socket, for tests: keeps what services tell it, in order."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Notified:
    """A datagram socket at a path, or at an abstract name that begins with "@"."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def __enter__(self) -> Self:
        """The socket is there already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.socket.close()

    def read(self) -> list[str]:
        """Everything that has come so far."""
        while True:
            try:
                self.received.append(self.socket.recv(65_536).decode())
            except BlockingIOError:
                return self.received

    async def until(self, true: Callable[[list[str]], bool], seconds: float = 20) -> list[str]:
        """Read on until it is so."""
        async with asyncio.timeout(seconds):
            while not true(self.read()):
                came = asyncio.Event()
                asyncio.get_running_loop().add_reader(self.socket, came.set)
                await came.wait()
                asyncio.get_running_loop().remove_reader(self.socket)
        return self.received

    def wait(self, true: Callable[[list[str]], bool], seconds: float = 20) -> list[str]:
        """The same, for who is no coroutine."""
        give_up_at = time.monotonic() + seconds
        while not true(self.read()):
            assert time.monotonic() < give_up_at, self.received
            select.select([self.socket], [], [], 1)
        return self.received


def said(text: str) -> Callable[[list[str]], bool]:
    """Whether any datagram has it."""
    return lambda received: any(text in one for one in received)
