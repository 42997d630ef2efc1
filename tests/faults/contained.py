"""A CPS in a container: what ``lab.processes.Service`` is for a process, and a ``Cps`` with one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from lab.debian import LabError
from tests.faults.cps import Cps
from tests.faults.world import World

PORT: Final = 8443


class Container:
    """``pbx-stir ARGUMENTS`` in a container on a network of its own, started again if it dies."""

    def __init__(self, client: Any, image: str, arguments: Sequence[str], folder: Path) -> None:
        """It sees ``folder``, under the same path."""
        self._client = client
        self._stack = contextlib.ExitStack()
        name = f"pbx-stir-faults-{os.getpid()}"
        self.network = client.networks.create(name, driver="bridge")
        self._stack.callback(self.network.remove)
        self.container = client.containers.create(
            image,
            list(arguments),
            name=name,
            network=name,
            # the folder's owner
            user=f"{os.getuid()}:{os.getgid()}",
            volumes={str(folder): {"bind": str(folder), "mode": "rw"}},
            restart_policy={"Name": "always"},
        )
        self._stack.callback(self.container.remove, force=True, v=True)

    @property
    def state(self) -> dict[str, Any]:
        """All that the engine knows of it now."""
        self.container.reload()
        state: dict[str, Any] = self.container.attrs
        return state

    @property
    def address(self) -> str:
        """Its address on its network."""
        networks = self.state["NetworkSettings"]["Networks"]
        return str(networks[self.network.name]["IPAddress"])

    @property
    def said(self) -> str:
        """Everything that it has said so far."""
        return str(self.container.logs().decode(errors="replace"))

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts them."""
        return int(self.state["State"]["Pid"])

    def start(self) -> None:
        """Start it."""
        self.container.start()

    def stop(self) -> None:
        """End it, and remove it with its network."""
        self._stack.close()

    def kill(self) -> None:
        """End its process without a word, not by the engine, which would leave it so."""
        pid = self.pid
        if b"pbx-stir" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            raise LabError("the container's process is not on this machine")
        os.kill(pid, signal.SIGKILL)

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Return as soon as ``true()``. Raises LabError."""
        give_up_at = time.monotonic() + seconds
        while not true():
            if time.monotonic() > give_up_at:
                raise LabError(f"container: not {what} in {seconds} s: {self.said[-1500:]}")
            time.sleep(0.05)


class ContainedCps(Cps):
    """A CPS in a container; the front finds it by what address it has."""

    def __init__(self, world: World, index: int, client: Any, image: str) -> None:
        super().__init__(world, index, ("0.0.0.0", PORT))
        arguments = ["cps", "--config", str(self.config)]
        self.service = self.container = Container(client, image, arguments, world.folder)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        super().start()
        self.find()

    def find(self) -> None:
        """Have the front look where it is, as those do who go by a name."""
        self.front.target = (self.container.address, PORT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Its processes stand still; its connections are there, and new ones are taken."""
        self.container.container.pause()
        try:
            yield
        finally:
            self.container.container.unpause()

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """Its process dies, and whoever starts it again is the engine."""
        starts, said = self.container.state["RestartCount"], self.container.said
        listens = said.count("listening on")
        self.container.kill()
        yield
        self.container.wait_until(
            lambda: self.container.said.count("listening on") > listens, "started again"
        )
        assert self.container.state["RestartCount"] > starts
        self.find()

    @contextlib.contextmanager
    def disconnected(self) -> Iterator[None]:
        """It has no network."""
        self.container.network.disconnect(self.container.container)
        try:
            yield
        finally:
            self.container.network.connect(self.container.container)
            self.find()
