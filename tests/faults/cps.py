"""A real CPS behind a front, with files of its own in the world's folder."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lab.processes import Service
from lab.stage import free_port
from pbx_stir.tokens.key_files import KeyFiles as TokenKeys
from tests.faults.front import Front, Target

if TYPE_CHECKING:
    from tests.faults.world import World


class Running(Protocol):
    """A service of ours, wherever it runs."""

    @property
    def said(self) -> str:
        """Everything that it has said so far."""

    @property
    def pid(self) -> int:
        """Its process."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> object:
        """End it."""

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Return as soon as ``true()``. Raises LabError."""


class Cps:
    """A real CPS behind a front; ``url`` is the front's, ``target`` where it listens itself."""

    def __init__(self, world: World, index: int, target: Target | None = None) -> None:
        self.name = f"cps-{index}"
        self.folder = world.folder
        layout = world.layout
        self.target = target or ("127.0.0.1", free_port())
        self.front = Front(world.side, self.target)
        self.url = f"https://{layout.host}:{self.front.port}"
        self.certificate = world.folder / f"{self.name}.pem"
        self.key = world.folder / f"{self.name}.key"
        self.config = world.folder / f"{self.name}.toml"
        self.present(*world.tls)
        redis = f'[cps.redis]\nurl = "{world.redis_url}"\n' if layout.redis else ""
        self.config.write_text(
            f'state_dir = "{self.name}"\n[cps]\nlisten = "{self.target[0]}:{self.target[1]}"\n'
            f'certificate = "{self.certificate}"\nkey = "{self.key}"\n'
            f'trust = ["{world.authority.anchor}"]\nnames = ["{layout.host}"]\n'
            f"retrievals_per_second = 100000\n{redis}"
        )
        self.service: Running = Service(
            self.name,
            ["cps", "--config", str(self.config)],
            world.folder,
            environment=world.clock(self.name),
        )

    @property
    def keys(self) -> TokenKeys:
        """The keys that it signs tokens with."""
        return TokenKeys(self.folder / self.name / "token-keys")

    def present(self, certificate: Path, key: Path) -> None:
        """Put in a TLS certificate."""
        shutil.copy(key, self.key)
        self.key.chmod(0o600)
        shutil.copy(certificate, self.certificate)

    def reload(self) -> None:
        """Have it read its TLS certificate again, and others connect anew."""
        os.kill(self.service.pid, signal.SIGHUP)
        self.front.cut()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        before = self.service.said.count("listening on")
        self.service.start()
        self.service.wait_until(
            lambda: self.service.said.count("listening on") > before, "listening"
        )
