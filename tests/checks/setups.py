"""Set-ups that are healthy until a test breaks them, and what the checks find in them."""

from __future__ import annotations

import http.server
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.companies import Authority, Company
from pbx_stir import __version__, config
from pbx_stir.certificates import issuing
from pbx_stir.checks import plan
from pbx_stir.checks.finding import Finding
from pbx_stir.checks.running import Check, Looked, carry_out, found_by
from pbx_stir.cli.main import main
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cli.conftest import Cps, Office
from tests.pbx_room.fake_asterisk import NOW as PBX_NOW
from tests.pbx_room.fake_asterisk import SECRET, FakeAsterisk

DAY = 86_400.0
NOW = time.time()
_numbers = itertools.count(10_000)


@dataclass
class Manager:
    """A PBX, as a configuration names it."""

    ami_port: int = 1
    ami_secret: str = SECRET
    ami_user: str = "pbx-stir"
    host: str = "127.0.0.1"
    name: str = "pbx"


def healthy_pbx(fake: FakeAsterisk) -> FakeAsterisk:
    """Give a double of Asterisk our dialplan, switched on, with a listener."""
    for context in ("pbx-stir-outbound,s", "pbx-stir-inbound,s", f"pbx-stir-version,{__version__}"):
        fake.variables[f"DIALPLAN_EXISTS({context},1)"] = "1"
    fake.variables |= {
        "GLOBAL(STIR_OUT_carrier)": "on",
        "GLOBAL(STIR_IN_carrier)": "monitor",
        "GLOBAL(STIR_HEARTBEAT)": f"{'a' * 16}:{PBX_NOW}",
    }
    return fake


class CertificateServer:
    """Serves certificates over https, as those who follow an x5u expect it."""

    def __init__(self, certificate: Path, key: Path, ca: Path) -> None:
        self.ca = ca
        self.files: dict[str, bytes] = {}
        served = self.files

        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers GET from ``files``."""

            def do_GET(self) -> None:
                """One file."""
                body = served.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Setup:
    """A company whose configuration is healthy, until a test breaks it."""

    def __init__(
        self,
        office: Office,
        folder: Path,
        cps: Cps,
        manager: Manager,
        certificates: CertificateServer,
    ) -> None:
        self.office = office
        self.certificates = certificates
        # records stay at the CPS: each set-up has numbers of its own
        first = f"1212{next(_numbers):05d}00"
        self.company = Company("acme", first, 100, folder / "acme")
        self.company.configure(
            authority=office.authority,
            trust=office.authority.anchor,
            cps=cps[1],
            cps_ca=Path(cps[3]),
            routes=["1"],
            pbxs=[manager],
            x5u=f"https://{certificates.origin}/{folder.name}",
            verification=f'x5u_allow = ["{certificates.origin}"]\nx5u_tls_ca = "{certificates.ca}"',
        )
        self._served = f"/{folder.name}/acme.pem"
        self.serve((self.folder / "acme.pem").read_bytes())
        assert main(["keys", "new", "--config", str(self.company.config)]) == 0

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.company.folder

    @property
    def loaded(self) -> config.Loaded:
        """Its configuration as it is now."""
        return config.load(self.company.config)

    def serve(self, octets: bytes) -> None:
        """Let its x5u give these octets."""
        self.certificates.files[self._served] = octets

    def serve_nothing(self) -> None:
        """Let its x5u give 404."""
        del self.certificates.files[self._served]

    def change(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.company.config.read_text()
        assert text.count(old) == 1, old
        self.company.config.write_text(text.replace(old, new))

    def append(self, text: str) -> None:
        """Add tables to the configuration."""
        self.company.config.write_text(self.company.config.read_text() + text)

    def drop(self, section: str) -> None:
        """Leave a section out."""
        head, _, rest = self.company.config.read_text().partition(f"{section}\n")
        rest = rest[rest.find("\n[") + 1 :] if "\n[" in rest else ""
        self.company.config.write_text(head + rest)

    def certify(self, numbers: TnAuthList, authority: Authority | None = None) -> None:
        """Another certificate and key, served where the other one was."""
        (authority or self.office.authority).issue(self.folder, "acme", numbers)
        self.serve((self.folder / "acme.pem").read_bytes())

    def certify_by_another(self) -> tuple[bytes, bytes]:
        """A certificate by an authority below the root; the whole file, and the leaf alone."""
        root, now = self.office.authority, time.time()
        between, leaf = issuing.new_key(), issuing.new_key()
        above = issuing.issue_ca(
            root.certificate, root.key, between.public_key(), "Between", now, 20
        )
        own = issuing.issue_leaf(
            above, between, leaf.public_key(), "acme", self.company.numbers, now, 7
        )
        alone, more = (one.public_bytes(Encoding.PEM) for one in (own, above))
        (self.folder / "acme.pem").write_bytes(alone + more)
        (self.folder / "acme.key").write_bytes(
            leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return alone + more, alone

    def use(self, url: str) -> None:
        """Another CPS, without TLS on this machine."""
        text = self.company.config.read_text()
        text = re.sub(r'cps = \["[^"]*"\]', f'cps = ["{url}"]', text)
        if "plain_loopback" not in text:
            text = text.replace("[outgoing]", "[outgoing]\nplain_loopback = true")
        self.company.config.write_text(text)

    def log(self, *calls: dict[str, object], at: str = "") -> None:
        """Write calls into the call log, with what they do not say as it usually is."""
        stamp = at or time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime())
        usual = {"event": "call", "time": stamp, "trunk": "carrier", "direction": "out"}
        usual |= {"orig": self.company.number(1), "dest": "13105552001", "reason": "stored"}
        with (self.folder / "calls.jsonl").open("a") as file:
            for call in calls:
                file.write(json.dumps({**usual, **call}) + "\n")

    def offline(self, now: float = NOW) -> list[str]:
        """The codes that the files give."""
        return codes(files_of(self.loaded, now))

    async def online(self) -> list[str]:
        """The codes that what the files name on the network gives."""
        return codes(await looked(plan.connections(self.loaded)))


def files_of(loaded: config.Loaded, now: float = NOW) -> list[Finding]:
    """What is found in files."""
    return [finding for check in plan.files(loaded, now) for finding in check.look()]  # type: ignore[union-attr]


async def looked(checks: Sequence[Check], seconds: float = 20.0) -> list[Finding]:
    """What checks find."""
    every = [Looked(one) for one in checks]
    await carry_out(every, seconds)
    return list(found_by(every))


def codes(findings: Sequence[Finding]) -> list[str]:
    """Their codes."""
    return [one.code for one in findings]


def said(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and the one JSON object of ``pbx-stir check --json``."""
    capsys.readouterr()
    status = main(["check", "--json", *arguments])
    output = capsys.readouterr()
    assert output.err == ""
    found: dict[str, Any] = json.loads(output.out)
    assert {"healthy", "worst", "checks", "errors", "warnings", "notes", "findings"} == set(found)
    for one in found["findings"]:
        assert set(one) == {"code", "severity", "what", "means", "where", "hint"}
        assert one["what"]
        assert one["means"]
        assert not {"\n", "\r"} & set("".join(one.values()))
    assert status == (0 if found["healthy"] else 1)
    return status, found
