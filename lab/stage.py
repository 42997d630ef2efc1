"""The demo's stage: two companies, a stranger, a CPS, and everything started and stopped.

A folder of its own, free ports, real processes; nothing of it is left when it is closed.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import tempfile
import urllib.request
from functools import partial
from pathlib import Path
from types import TracebackType

from lab import asterisk
from lab.asterisk import Instance, LabError, Software, Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.dialplans import COMPANY, STRANGER
from lab.processes import Service, pbx_stir


class Stage:
    """``with Stage(software) as stage:`` has calls running between real PBXs."""

    def __init__(self, software: Software, *, wrong_anchor: bool = False) -> None:
        """``wrong_anchor``: company B trusts another authority than the one that issued."""
        self.folder = Path(tempfile.mkdtemp(prefix="pbx-stir-"))
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority.new(self.folder, "Lab Authority")
        other = Authority.new(self.folder, "Other Authority")
        self._trust_of_b = other.anchor if wrong_anchor else self.authority.anchor
        self.a = Company("company-a", "12125551200", 100, self.folder / "a")
        self.b = Company("company-b", "13105552000", 100, self.folder / "b")
        self.m = Company("mallory", "14155553000", 10, self.folder / "m")
        self.pbx_a = self._pbx(software, "a", COMPANY.replace("FORWARD_TO", self.b.number(6)))
        self.pbx_b = self._pbx(software, "b", COMPANY.replace("FORWARD_TO", self.a.number(6)))
        self.pbx_m = self._pbx(software, "m", STRANGER)
        self._connect()
        self._cps_certificate = tls_certificate(self.folder, "cps", ["127.0.0.1"])
        self.cps_url = f"https://127.0.0.1:{free_port()}"
        self.cps = Service("cps", ["cps", "--config", str(self._cps_config())], self.folder)
        self.listener_a = Service(
            "listener-a", ["run", "--config", str(self.a.config)], self.folder
        )
        self.listener_b = Service(
            "listener-b", ["run", "--config", str(self.b.config)], self.folder
        )

    def __enter__(self) -> Stage:
        """Start all, and return when every part has found the others."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all, and remove the folder."""
        self._stack.close()

    @property
    def cps_ca(self) -> Path:
        """The CA of the CPS's TLS certificate."""
        return self._cps_certificate[2]

    def _pbx(self, software: Software, name: str, extensions: str) -> Instance:
        return Instance(software, self.folder / f"pbx-{name}", name, extensions=extensions)

    def _connect(self) -> None:
        companies = {"a": self.a, "b": self.b, "m": self.m}
        pbxs = {"a": self.pbx_a, "b": self.pbx_b, "m": self.pbx_m}
        for name, pbx in pbxs.items():
            for other, company in companies.items():
                if other != name:
                    peer = pbxs[other]
                    trunk = f"to-{company.first[:4]}"
                    pbx.trunks.append(Trunk(trunk, peer.host, peer.sip_port, "from-carrier"))

    def _cps_config(self) -> Path:
        certificate, key, _ = self._cps_certificate
        path = self.folder / "cps.toml"
        path.write_text(
            f"""
state_dir = "cps-state"

[cps]
listen = "{self.cps_url.removeprefix("https://")}"
certificate = "{certificate}"
key = "{key}"
trust = ["{self.authority.anchor}"]
"""
        )
        return path

    def _start(self) -> None:
        for company, pbxs, trust in (
            (self.a, [self.pbx_a], self.authority.anchor),
            (self.b, [self.pbx_b], self._trust_of_b),
            (self.m, [], self.authority.anchor),
        ):
            company.configure(
                authority=self.authority,
                trust=trust,
                cps=self.cps_url,
                cps_ca=self.cps_ca,
                routes=["1"],
                pbxs=pbxs,
            )
        self.start_cps()
        for pbx in (self.pbx_a, self.pbx_b, self.pbx_m):
            pbx.start()
            self._stack.callback(pbx.stop, kill=True)
        for pbx in (self.pbx_a, self.pbx_b, self.pbx_m):
            pbx.wait_ready()
        for listener in (self.listener_a, self.listener_b):
            self._stack.enter_context(listener)
        self.wait_listeners()
        for listener, company in ((self.listener_a, self.a), (self.listener_b, self.b)):
            listener.wait_until(partial(has_tokens, company), "given storage tokens")
        pbx_stir("keys", "publish", "--config", str(self.m.config))
        for company in (self.a, self.b, self.m):
            self.cps.wait_until(partial(self._has_records, company), "given records")

    def start_cps(self) -> None:
        """Start the CPS and wait until it answers."""
        self._stack.enter_context(self.cps)
        self.cps.wait_until(self._cps_answers, "answering")

    def wait_listeners(self) -> None:
        """Wait until both PBXs know that their listener is there."""
        for listener, pbx in ((self.listener_a, self.pbx_a), (self.listener_b, self.pbx_b)):
            listener.wait_until(partial(heard, pbx), "known to its PBX")

    def _cps_answers(self) -> bool:
        return bool(self._get("/health"))

    def _has_records(self, company: Company) -> bool:
        return b"eyJ" in self._get(f"/cps/{company.first}/keys")

    def _get(self, path: str) -> bytes:
        tls = ssl.create_default_context(cafile=self.cps_ca)
        try:
            with urllib.request.urlopen(self.cps_url + path, context=tls, timeout=5) as answer:
                octets: bytes = answer.read(1 << 20)
                return octets
        except OSError:
            return b""


def has_tokens(company: Company) -> bool:
    """Whether the company's listener has storage tokens."""
    # a file that is empty has had all its tokens brought into memory
    return any((company.folder / "state" / "wallet").glob("*/*.tokens"))


def heard(pbx: Instance) -> bool:
    """Whether the PBX knows that its listener is there."""
    return "STIR_HEARTBEAT" in pbx.cli("dialplan show globals")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def software() -> Software:
    """An installed Asterisk, or Debian's, unpacked privately. Raises LabError."""
    installed = asterisk.find_installed()
    if installed is not None and _new_enough(installed.version):
        return installed
    return asterisk.get("forky")


def _new_enough(version: str) -> bool:
    parts = version.split(".")
    try:
        major, minor = int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return False
    return major >= 19 or (major == 18 and minor >= 6) or (major == 16 and minor >= 20)


__all__ = ["LabError", "Stage", "software"]
