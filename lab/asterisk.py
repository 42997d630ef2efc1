"""A real Asterisk for tests and for the demo, without root, chroot or Docker.

::

    software = asterisk.get("forky")                # Asterisk 22; "bullseye" is 16.28
    a = asterisk.Instance(software, Path("/tmp/lab/a"), "a", extensions="[from-trunk]\\n…")
    b = asterisk.Instance(software, Path("/tmp/lab/b"), "b", extensions="…")
    a.trunks.append(asterisk.Trunk("carrier", b.host, b.sip_port))      # before start()
    b.trunks.append(asterisk.Trunk("carrier", a.host, a.sip_port))
    with a, b:                                      # start(), wait_ready() … stop()
        a.cli("channel originate Local/100@phones application Wait 1")
        row = a.wait_cdr(lambda row: row["src"] == "100")

``extensions`` is the text of extensions.conf; ``files`` replaces or adds files of /etc/asterisk by
name. Each instance has a loopback address of its own and free ports on it (``host``, ``sip_port``,
``ami_port``, ``ami_tls_port``). The AMI user ``pbx-stir`` has exactly the rights of
dialplan/asterisk/manager.conf.sample, the user ``lab`` has all; their secrets are ``ami_secret``.
``cdr_rows()`` are the rows of cdr_custom's Master.csv as dicts (asterisk_files.CDR_COLUMNS).
``stop()`` ends exactly the process it started. Messages are in ``directory/log/full``.
"""

from __future__ import annotations

import contextlib
import csv
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab import asterisk_files as files_of
from lab.asterisk_files import Trunk
from lab.debian import LabError, unpack, why_not

__all__ = ["Instance", "LabError", "Software", "Trunk", "find_installed", "get", "why_not"]

REPOSITORY = Path(__file__).resolve().parent.parent
DIALPLAN = REPOSITORY / "dialplan/asterisk/pbx-stir.conf"
PACKAGES = ("asterisk", "asterisk-modules", "asterisk-config")


@dataclass(frozen=True, slots=True)
class Software:
    """An Asterisk that can be started: the command, its modules and its read-only files."""

    command: tuple[str, ...]
    modules: Path
    share: Path
    version: str


def get(suite: str, cache: Path = REPOSITORY / ".lab") -> Software:
    """Debian's Asterisk of that suite, downloaded and unpacked into ``cache`` the first time.

    ``forky`` has Asterisk 22, ``bullseye`` 16.28. Raises LabError.
    """
    root = unpack(suite, PACKAGES, cache)
    return _software(root)


def find_installed() -> Software | None:
    """The Asterisk that this machine has installed, if any."""
    binary = shutil.which(
        "asterisk", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    if binary is None:
        return None
    places = [*Path("/usr/lib").glob("*/asterisk/modules"), Path("/usr/lib/asterisk/modules")]
    places += [Path("/usr/lib64/asterisk/modules"), Path("/usr/local/lib/asterisk/modules")]
    modules = next((path for path in places if path.is_dir()), None)
    shares = [Path("/usr/share/asterisk"), Path("/var/lib/asterisk")]
    share = next((path for path in shares if path.is_dir()), None)
    if modules is None or share is None:
        return None
    return Software((binary,), modules, share, _version((binary,)))


def _software(root: Path) -> Software:
    """How to run what was unpacked: by its own loader, with its own libraries."""
    places = [*root.glob("usr/lib/*/asterisk/modules"), root / "usr/lib/asterisk/modules"]
    modules = next((path for path in places if path.is_dir()), None)
    # A loader that is an absolute link would lead out of the tree; its target is there beside it.
    found = [*root.glob("lib/*/ld-linux*.so.*"), *root.glob("usr/lib64/ld-linux*.so.*")]
    loader = next((path for path in found if path.resolve().is_relative_to(root)), None)
    if modules is None or loader is None:
        raise LabError(f"no Asterisk in {root}")
    triplet = loader.parent.name
    libraries = [root / "usr/lib" / triplet, root / "lib" / triplet, root / "usr/lib"]
    path = ":".join(str(library) for library in libraries)
    command = (str(loader), "--library-path", path, str(root / "usr/sbin/asterisk"))
    return Software(command, modules, root / "usr/share/asterisk", _version(command))


def _version(command: Sequence[str]) -> str:
    said = subprocess.run([*command, "-V"], capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"Asterisk (\S+)", said.stdout)
    return found[1] if found else "unknown"


class Instance:
    """One Asterisk with a configuration of its own; see the module for how to use it."""

    def __init__(
        self,
        software: Software,
        directory: Path,
        name: str,
        *,
        extensions: str = "",
        trunks: Sequence[Trunk] = (),
        files: Mapping[str, str] | None = None,
        modules: Sequence[str] = (),
        without_modules: Sequence[str] = (),
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
    ) -> None:
        self.software = software
        self.directory = directory.resolve()
        self.name = name
        self.extensions = extensions
        self.trunks = list(trunks)
        self.files = dict(files or {})
        self.modules = [m for m in (*files_of.MODULES, *modules) if m not in without_modules]
        self.tls_certificate = tls_certificate
        self.tls_key = tls_key
        # An address of its own, so that a trunk is told by its peer's address.
        self.host = (
            f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"
        )
        self.sip_port = _free_port(self.host, socket.SOCK_DGRAM)
        self.ami_port = _free_port(self.host, socket.SOCK_STREAM)
        self.ami_tls_port = _free_port(self.host, socket.SOCK_STREAM)
        self.ami_user = "pbx-stir"
        self.ami_secret = secrets.token_hex(16)
        self._run: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Instance:
        """Start, and wait until it takes calls."""
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
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
    def pid(self) -> int:
        """The process that ``start`` started."""
        if self._process is None:
            raise LabError(f"asterisk {self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Started, and not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Everything Asterisk has logged."""
        path = self.directory / "log/full"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Write the configuration and start the process."""
        if self.running:
            raise LabError(f"asterisk {self.name} is already running")
        if self._run is None:
            # Not in the instance's directory: a Unix socket's path has at most 107 octets.
            self._run = Path(tempfile.mkdtemp(prefix="ast-"))
        self._write()
        with (self.directory / "log/stdout").open("ab") as said:
            self._process = subprocess.Popen(
                [*self.software.command, "-f", "-C", str(self._conf)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        """Return once all modules are loaded and AMI listens.

        Raises LabError if it ends before, or takes longer.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while time.monotonic() < give_up_at:
            if not self.running:
                raise LabError(f"asterisk {self.name} ended: {self._last_words()}")
            if "fully booted" in self.cli("core waitfullybooted").lower():
                with contextlib.suppress(OSError):
                    socket.create_connection((self.host, self.ami_port), timeout=1).close()
                    return
            time.sleep(0.05)
        raise LabError(
            f"asterisk {self.name} not ready in {timeout_seconds} s: {self._last_words()}"
        )

    def stop(self, *, kill: bool = False) -> None:
        """End the process that ``start`` started (``kill``: at once), and remove its sockets."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            # One that is frozen would not see the signal.
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
        if self._run is not None:
            shutil.rmtree(self._run, ignore_errors=True)
            self._run = None

    def freeze(self) -> None:
        """Stop the process where it stands, connections open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def cli(self, command: str) -> str:
        """What Asterisk's console says to a command."""
        done = subprocess.run(
            [*self.software.command, "-C", str(self._conf), "-rx", command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=30,
        )
        return done.stdout + done.stderr

    def cdr_rows(self) -> list[dict[str, str]]:
        """The call detail records so far, oldest first."""
        return self._rows("log/cdr-custom/Master.csv", files_of.CDR_COLUMNS)

    def cel_rows(self) -> list[dict[str, str]]:
        """The channel events so far, oldest first."""
        places = ("log/cel-custom/Master.csv", "log/cel_custom/Master.csv")
        place = next((p for p in places if (self.directory / p).exists()), places[0])
        return self._rows(place, files_of.CEL_COLUMNS)

    def wait_cdr(
        self, matches: Callable[[dict[str, str]], bool], timeout_seconds: float = 15
    ) -> dict[str, str]:
        """The last call detail record that matches, as soon as there is one.

        Raises LabError after the timeout.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while True:
            for row in reversed(self.cdr_rows()):
                if matches(row):
                    return row
            if time.monotonic() > give_up_at:
                raise LabError(f"asterisk {self.name}: no such call detail record")
            time.sleep(0.02)

    @property
    def _conf(self) -> Path:
        return self.directory / "etc/asterisk.conf"

    def _rows(self, path: str, columns: Sequence[str]) -> list[dict[str, str]]:
        file = self.directory / path
        if not file.exists():
            return []
        with file.open(newline="", errors="replace") as lines:
            return [dict(zip(columns, row, strict=False)) for row in csv.reader(lines)]

    def _last_words(self) -> str:
        path = self.directory / "log/stdout"
        said = path.read_text(errors="replace") if path.exists() else ""
        return (said + self.log)[-1500:]

    def _write(self) -> None:
        for name in ("etc", "varlib/keys", "spool/tmp", "cache"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        for name in ("cdr-csv", "cdr-custom", "cel-custom", "cel_custom"):
            (self.directory / "log" / name).mkdir(parents=True, exist_ok=True)
        run = self._run
        assert run is not None
        software = self.software
        contents = {
            **files_of.QUIET_FILES,
            "asterisk.conf": files_of.asterisk_conf(
                self.directory, run, software.modules, software.share, self.name
            ),
            "modules.conf": files_of.modules_conf(software.modules, self.modules),
            "manager.conf": files_of.manager_conf(
                self.host,
                self.ami_port,
                self.ami_tls_port,
                self.tls_certificate,
                self.tls_key,
                self._users(),
            ),
            "cdr_custom.conf": files_of.cdr_custom_conf(files_of.CDR_COLUMNS),
            "cel_custom.conf": files_of.cel_custom_conf(files_of.CEL_COLUMNS),
            "pjsip.conf": files_of.pjsip_conf(self.host, self.sip_port, self.name, self.trunks),
            "extensions.conf": f"{self.extensions}\n#include {DIALPLAN}\n",
            **self.files,
        }
        for name, text in contents.items():
            (self.directory / "etc" / name).write_text(text)

    def _users(self) -> str:
        """The listener's user, as the sample has it, and one for tests that may do anything."""
        sample = (DIALPLAN.parent / "manager.conf.sample").read_text()
        kept = sample[sample.index(f"[{self.ami_user}]") :]
        kept = re.sub(r"(?m)^secret\s*=.*$", f"secret = {self.ami_secret}", kept)
        kept = re.sub(r"(?m)^(deny|permit)\s*=.*$", "", kept)
        lab = files_of.manager_user("lab", self.ami_secret, "all", "all")
        return f"{kept}\n{lab}"


def _free_port(host: str, kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
