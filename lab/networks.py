"""The demo of calls that cross networks: gateways both ways, and forwarded calls.

Four companies and a stranger, each with an Asterisk: A signs by SIP and by numbers, G is a gateway
between the two and serves some of its numbers to C by SIP, B forwards to C. C's own judge of SIP
calls is Asterisk's res_stir_shaken, which this project has not written. "By SIP" means that the
dialled user begins with "sip", and is the only way by which Identity headers come through.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import shutil
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

from lab import asterisk, asterisk_files
from lab.asterisk import Instance, LabError, Software, Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.dialplans import NETWORKS, STRANGER
from lab.processes import Service, pbx_stir
from lab.stage import free_port, has_tokens, heard
from lab.table import Line

Row = dict[str, str]
LAST_DIGIT = "${CALLERID(num):-1}"


class Networks:
    """``with Networks(software) as stage:`` has them all running."""

    def __init__(self, software: Software) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pbx-stir-"))
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority.new(self.folder, "Lab Authority")
        self.a = Company("company-a", "12125551200", 100, self.folder / "a", spc="701A")
        self.b = Company("company-b", "13105552000", 100, self.folder / "b")
        self.c = Company("company-c", "17205556000", 100, self.folder / "c")
        self.g = Company("gateway", "16465554000", 100, self.folder / "g")
        self.m = Company("mallory", "14155553000", 10, self.folder / "m")
        self.companies = {"a": self.a, "b": self.b, "c": self.c, "g": self.g, "m": self.m}
        # one number for each scene, told by the caller's last digit
        targets = {"b": f"{self.c.first[:-1]}{LAST_DIGIT}", "c": f"{self.g.first[:-1]}{LAST_DIGIT}"}
        self.pbxs = {
            name: Instance(
                _with_judge(software) if name == "c" else software,
                self.folder / f"pbx-{name}",
                name,
                extensions=STRANGER
                if name == "m"
                else NETWORKS.replace("FORWARD_TO", targets.get(name, "0")),
                modules=asterisk_files.STIR_SHAKEN_MODULES if name == "c" else (),
            )
            for name in self.companies
        }
        self.pbxs["b"].files["queues.conf"] = "[general]\n[empty]\njoinempty=yes\n"
        self._connect()
        self._tls = tls_certificate(self.folder, "cps", ["127.0.0.1"])
        self.cps_url = f"https://127.0.0.1:{free_port()}"
        self.x5u = f"https://127.0.0.1:{free_port()}"
        self.cps = Service("cps", ["cps", "--config", str(self._cps_config())], self.folder)
        self.listeners = {
            name: Service(f"listener-{name}", ["run", "--config", str(one.config)], self.folder)
            for name, one in self.companies.items()
            if name != "m"
        }

    def __enter__(self) -> Networks:
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

    def _connect(self) -> None:
        for name, pbx in self.pbxs.items():
            for other, company in self.companies.items():
                if other != name:
                    peer = self.pbxs[other]
                    trunk = f"to-{company.first[:4]}"
                    pbx.trunks.append(Trunk(trunk, peer.host, peer.sip_port, "from-carrier"))
        # what comes from G by SIP is judged at C by Asterisk itself
        c = self.pbxs["c"]
        pjsip = asterisk_files.pjsip_conf(c.host, c.sip_port, "c", c.trunks)
        endpoint = f"[to-{self.g.first[:4]}]\ntype=endpoint\n"
        c.files["pjsip.conf"] = pjsip.replace(endpoint, f"{endpoint}stir_shaken_profile=judge\n")
        cache = self.folder / "certificates-of-c"
        cache.mkdir()
        c.files["stir_shaken.conf"] = f"""
[verification]
ca_file = {self.authority.anchor}
cert_cache_dir = {cache}
relax_x5u_port_scheme_restrictions = yes
ignore_sip_date_header = yes
failure_action = continue
[judge]
type = profile
endpoint_behavior = verify
"""

    def _cps_config(self) -> Path:
        certificate, key, _ = self._tls
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
        ca = self._tls[2]
        place = self.x5u.removeprefix("https://")
        for name, company in self.companies.items():
            last = company.number(company.count - 1)
            company.configure(
                authority=self.authority,
                trust=self.authority.anchor,
                cps=self.cps_url,
                cps_ca=ca,
                routes=["1"],
                pbxs=[] if name == "m" else [self.pbxs[name]],
                x5u=self.x5u,
                # the gateway gets certificates of SIP calls; no one else needs any
                verification=f'x5u_allow = ["{place}"]\nx5u_tls_ca = "{ca}"' if name == "g" else "",
                tables=f"""
[[trunk]]
name = "sip"
country_code = "1"
numbers = ["+{company.first}-+{last}"]
in_band = true
""",
            )
        self._serve_certificates()
        self._stack.enter_context(self.cps)
        self.cps.wait_until(lambda: bool(self._get("/health")), "answering")
        for pbx in self.pbxs.values():
            pbx.start()
            self._stack.callback(pbx.stop, kill=True)
        for pbx in self.pbxs.values():
            pbx.wait_ready()
        self._give_c_the_certificate_of_a()
        for listener in self.listeners.values():
            self._stack.enter_context(listener)
        for name, listener in self.listeners.items():
            listener.wait_until(partial(heard, self.pbxs[name]), "known to its PBX")
            listener.wait_until(partial(has_tokens, self.companies[name]), "given storage tokens")
        pbx_stir("keys", "publish", "--config", str(self.m.config))
        for company in self.companies.values():
            self.cps.wait_until(partial(self._has_records, company), "given records")

    def _serve_certificates(self) -> None:
        """The x5u URLs of all: their certificates, over TLS."""
        served = self.folder / "served"
        served.mkdir()
        for company in self.companies.values():
            shutil.copy(company.folder / f"{company.name}.pem", served)
        host, _, port = self.x5u.removeprefix("https://").partition(":")
        server = http.server.ThreadingHTTPServer(
            (host, int(port)), lambda *given: _Quiet(*given, directory=str(served))
        )
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._tls[0], self._tls[1])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)

    def _give_c_the_certificate_of_a(self) -> None:
        """Into its cache: Asterisk's curl trusts the system's CAs and no others."""
        url = f"{self.x5u}/{self.a.name}.pem"
        name = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
        path = self.folder / "certificates-of-c" / f"{name}.pem"
        shutil.copy(self.a.folder / f"{self.a.name}.pem", path)
        c = self.pbxs["c"]
        c.cli(f"database put STIR_SHAKEN/hash/{name} path {path}")
        c.cli(f"database put STIR_SHAKEN/hash/{name} expiration {int(time.time()) + 3600}")

    def _has_records(self, company: Company) -> bool:
        return b"eyJ" in self._get(f"/cps/{company.first}/keys")

    def _get(self, path: str) -> bytes:
        tls = ssl.create_default_context(cafile=self._tls[2])
        try:
            with urllib.request.urlopen(self.cps_url + path, context=tls, timeout=5) as answer:
                octets: bytes = answer.read(1 << 20)
                return octets
        except OSError:
            return b""


def _with_judge(software: Software) -> Software:
    """An Asterisk whose res_stir_shaken is configured as C's is: of 20.6 or later."""
    has_it = (software.modules / "res_pjsip_stir_shaken.so").exists()
    parts = [int(part) for part in software.version.split(".")[:2] if part.isdigit()]
    return software if has_it and parts >= [20, 6] else asterisk.get("forky")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class NetworksDemo:
    """The scenes. Each call has a caller ID that no other scene uses."""

    def __init__(self, stage: Networks) -> None:
        self.stage = stage
        self.scenes: tuple[Callable[[], Iterator[Line]], ...] = (
            self.sip_to_numbers,
            self.numbers_to_sip,
            self.forwarded,
            self.forwarded_twice,
            self.ring_group,
            self.queued,
            self.transferred,
            self.forwarded_unsigned,
            self.forwarded_as_b,
            self.joined,
        )

    def sip_to_numbers(self) -> Iterator[Line]:
        """A calls B by SIP; the gateway has a trunk to B that carries numbers only."""
        orig, dest = self.stage.a.number(0), self.stage.b.number(0)
        self._call("a", f"{dest}*{orig}*{self.stage.g.first[:4]}")
        call = "SIP to numbers"
        yield self._out(call, "a", orig, ("stored", "stored"))
        yield self._out(call, "g", orig, ("stored", "passed-on"))
        yield self._in(call, "b", orig, ("TN-Validation-Passed", "verified"))

    def numbers_to_sip(self) -> Iterator[Line]:
        """A calls a number of G by numbers only, which G hands to C by SIP."""
        orig, dest = self.stage.a.number(10), self.stage.g.number(50)
        self._call("a", f"{dest}*{orig}")
        call = "numbers to SIP"
        yield self._out(call, "a", orig, ("stored", "stored"))
        yield self._in(call, "g", orig, ("TN-Validation-Passed", "verified"))
        yield self._out(call, "g", orig, ("in-band", "passed-on"))
        row = self._row("c", orig, lambda one: one["dcontext"] == "from-carrier")
        yield Line(call, "C judges", ("1 success A",), (row["userfield"],), "")

    def forwarded(self) -> Iterator[Line]:
        """A calls B, whose extension is forwarded to C; both by numbers only."""
        orig, dest = self.stage.a.number(21), self.stage.b.number(90)
        self._call("a", f"{dest}*{orig}")
        yield self._in("forwarded", "b", orig, ("TN-Validation-Passed", "verified"))
        yield self._out("forwarded", "b", orig, ("stored", "forwarded"))
        yield self._in("forwarded", "c", orig, ("TN-Validation-Passed", "verified"), dest)

    def forwarded_twice(self) -> Iterator[Line]:
        """The same, but the extension of C is forwarded as well, to G."""
        orig, dest = self.stage.a.number(32), self.stage.b.number(91)
        self._call("a", f"{dest}*{orig}")
        call = "forwarded twice"
        yield self._out(call, "c", orig, ("stored", "forwarded"))
        by = self.stage.c.number(90)
        yield self._in(call, "g", orig, ("TN-Validation-Passed", "verified"), by)

    def ring_group(self) -> Iterator[Line]:
        """A calls an extension of B that rings at C and at G."""
        orig, dest = self.stage.a.number(33), self.stage.b.number(92)
        self._call("a", f"{dest}*{orig}")
        for name in ("c", "g"):
            verified = ("TN-Validation-Passed", "verified")
            yield self._in(f"ring group, {name.upper()}", name, orig, verified, dest)

    def queued(self) -> Iterator[Line]:
        """A calls a queue of B that nobody serves; after a second the call goes on to C."""
        orig, dest = self.stage.a.number(37), self.stage.b.number(94)
        self._call("a", f"{dest}*{orig}")
        yield self._out("queue overflow", "b", orig, ("stored", "forwarded"))
        yield self._in("queue overflow", "c", orig, ("TN-Validation-Passed", "verified"), dest)

    def transferred(self) -> Iterator[Line]:
        """A calls B, who answers, and transfers the call to C without asking there."""
        orig, dest = self.stage.a.number(34), self.stage.b.number(93)
        b = self.stage.pbxs["b"]
        self._call("a", f"{dest}*{orig}")
        channel = self._answered(b, dest)
        b.cli(f"channel redirect {channel} leaves,{self.stage.c.number(4)},1")
        yield self._out("transferred", "b", orig, ("stored", "forwarded"))
        yield self._in("transferred", "c", orig, ("TN-Validation-Passed", "verified"), dest)

    def joined(self) -> Iterator[Line]:
        """A calls B; a stranger with A's number is joined with her there, and then sent to C."""
        orig, dest, joining = self.stage.a.number(38), self.stage.b.number(93), "13105552095"
        b = self.stage.pbxs["b"]
        self._call("a", f"{dest}*{orig}")
        b.cli(f"dialplan set global JOIN {self._answered(b, dest)}")
        self._call("m", f"{joining}*{orig}", "anywhere")
        channel = self._answered(b, joining, "Bridge")
        b.cli(f"channel redirect {channel} leaves,{self.stage.c.number(8)},1")
        call = "a stranger joined"
        yield self._out(call, "b", orig, ("skipped", "not-authoritative"))
        yield self._in(call, "c", orig, ("No-TN-Validation", "no-passport"))

    def _answered(self, pbx: Instance, dest: str, application: str = "Wait") -> str:
        """The channel by which a call to ``dest`` came in, once it is up and in an application."""
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            for line in pbx.cli("core show channels concise").splitlines():
                fields = line.split("!")
                if len(fields) > 5 and (fields[2], fields[4:6]) == (dest, ["Up", application]):
                    return fields[0]
            time.sleep(0.02)
        raise LabError(f"no call to {dest} is answered in 10 s")

    def forwarded_unsigned(self) -> Iterator[Line]:
        """A stranger with a number of A calls B's forwarded extension, unsigned."""
        orig = self.stage.a.number(45)
        self._call("m", f"{self.stage.b.number(90)}*{orig}", "anywhere")
        call = "unsigned, forwarded"
        yield self._out(call, "b", orig, ("skipped", "not-authoritative"))
        yield self._in(call, "c", orig, ("No-TN-Validation", "no-passport"))

    def forwarded_as_b(self) -> Iterator[Line]:
        """A stranger with B's own number calls B's forwarded extension."""
        orig = self.stage.b.number(56)
        self._call("m", f"{self.stage.b.number(90)}*{orig}", "anywhere")
        call = "as B, forwarded by B"
        yield self._out(call, "b", orig, ("skipped", "caller-not-allowed"))
        yield self._in(call, "c", orig, ("No-TN-Validation", "no-passport"))

    def _call(self, name: str, dialled: str, context: str = "office") -> None:
        pbx = self.stage.pbxs[name]
        pbx.cli(f"channel originate Local/{dialled}@{context}/n application Wait 3")

    def _out(self, call: str, name: str, orig: str, expected: tuple[str, str]) -> Line:
        row = self._row(name, orig, lambda one: one["stir_out_reason"] != "")
        found = (row["stir_status"], row["stir_out_reason"])
        return Line(call, f"{name.upper()} out", expected, found, row["stir_out_ms"])

    def _in(
        self, call: str, name: str, orig: str, expected: tuple[str, str], diverted_by: str = ""
    ) -> Line:
        row = self._row(name, orig, lambda one: one["stir_verstat"] != "")
        by = (f"by {diverted_by}",) if diverted_by else ("",)
        seen = row["stir_diverted_by"]
        found = (row["stir_verstat"], row["stir_reason"], f"by {seen}" if seen else "")
        return Line(call, f"{name.upper()} in", (*expected, *by), found, row["stir_ms"])

    def _row(self, name: str, orig: str, matches: Callable[[Row], bool]) -> Row:
        try:
            return self.stage.pbxs[name].wait_cdr(lambda one: one["src"] == orig and matches(one))
        except LabError as error:
            raise LabError(f"{error}, of a call from {orig}") from error
