"""Asterisk's own in-band verifier, as a judge of our PASSporTs that we have not written."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab import asterisk, asterisk_files
from lab.asterisk import Instance, Trunk
from pbx_stir.certificates import issuing
from pbx_stir.stir import passport
from pbx_stir.stir.tnauthlist import TnAuthList

pytestmark = pytest.mark.pbx

ORIG, DEST = "12125550100", "16465550100"

SENDER = """
[globals]
#include HEADER_FILE
[lab]
exten => _X!,1,Set(CALLERID(num)=12125550100)
 same => n,Dial(PJSIP/${EXTEN}@out,5,b(identity^s^1))
[identity]
exten => s,1,Set(PJSIP_HEADER(add,Identity)=${URIDECODE(${GLOBAL(LAB_IDENTITY)})})
 same => n,Return()
[from-trunk]
exten => _X!,1,Hangup()
"""
VERIFIER = """
[from-trunk]
exten => _X!,1,Set(said=${STIR_SHAKEN(count)} ${STIR_SHAKEN(0,verify_result)})
 same => n,Set(CDR(userfield)=${said} ${STIR_SHAKEN(0,attestation)})
 same => n,Answer()
 same => n,Wait(0.2)
 same => n,Hangup()
"""


class Oracle:
    """Two Asterisks: one sends a call with an Identity header, one says what it thinks of it."""

    def __init__(self, folder: Path) -> None:
        now = time.time()
        root, root_key = issuing.new_root("Oracle Root", now, 10)
        self.key = issuing.new_key()
        leaf = issuing.issue_leaf(
            root, root_key, self.key.public_key(), "SHAKEN 1234", TnAuthList(spcs=("1234",)), now, 5
        )
        (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        served = folder / "served"
        served.mkdir()
        (served / "certificate.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *given: _Quiet(*given, directory=str(served))
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.x5u = f"http://127.0.0.1:{self._server.server_port}/certificate.pem"
        software = asterisk.get("forky")
        # a console command holds less than an Identity header
        self._header = folder / "header.conf"
        self._header.touch()
        dialplan = SENDER.replace("HEADER_FILE", str(self._header))
        self.sender = Instance(software, folder / "sender", "sender", extensions=dialplan)
        self.verifier = Instance(
            software,
            folder / "verifier",
            "verifier",
            extensions=VERIFIER,
            modules=asterisk_files.STIR_SHAKEN_MODULES,
        )
        self.sender.trunks.append(Trunk("out", self.verifier.host, self.verifier.sip_port))
        trunk = Trunk("in", self.sender.host, self.sender.sip_port)
        pjsip = asterisk_files.pjsip_conf(
            self.verifier.host, self.verifier.sip_port, "verifier", [trunk]
        )
        profile = "type=endpoint\nstir_shaken_profile=judge\n"
        self.verifier.files["pjsip.conf"] = pjsip.replace("type=endpoint\n", profile)
        cache = folder / "cache"
        cache.mkdir()
        self.verifier.files["stir_shaken.conf"] = f"""
[verification]
ca_file = {folder}/root.pem
cert_cache_dir = {cache}
x5u_permit = 0.0.0.0/0.0.0.0
relax_x5u_port_scheme_restrictions = yes
relax_x5u_path_restrictions = yes
ignore_sip_date_header = yes
failure_action = continue
[judge]
type = profile
endpoint_behavior = verify
"""

    def says(self, token: passport.Passport) -> str:
        """What ``STIR_SHAKEN`` gives in the verifier's dialplan, for a call with this header."""
        header = quote(passport.identity_header(token), safe="")
        self._header.write_text(f"LAB_IDENTITY={header}\n")
        self.sender.cli("dialplan reload")
        before = len(self.verifier.cdr_rows())
        self.sender.cli(f"channel originate Local/{DEST}@lab/n application Wait 1")
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            rows = self.verifier.cdr_rows()
            if len(rows) > before:
                return rows[-1]["userfield"]
            time.sleep(0.02)
        raise AssertionError(self.verifier.log[-2000:])

    def close(self) -> None:
        """Stop what was started."""
        self.sender.stop()
        self.verifier.stop()
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """The two, running."""
    one = Oracle(tmp_path_factory.mktemp("oracle"))
    try:
        for each in (one.sender, one.verifier):
            each.start()
        for each in (one.sender, one.verifier):
            each.wait_ready()
        yield one
    finally:
        one.close()


def _shaken(oracle: Oracle, **changes: object) -> passport.Passport:
    fields: dict[str, object] = {
        "orig": ORIG,
        "dest": [DEST],
        "iat": int(time.time()),
        "x5u": oracle.x5u,
        "key": oracle.key,
        "attest": "A",
        "origid": "123e4567-e89b-12d3-a456-426655440000",
    }
    return passport.sign(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("attest", ["A", "B", "C"])
def test_asterisk_accepts_our_shaken_passport(oracle: Oracle, attest: str) -> None:
    """An Identity header of ours is a success to res_stir_shaken, with the attestation we gave."""
    assert oracle.says(_shaken(oracle, attest=attest)) == f"1 success {attest}"


def test_asterisk_refuses_what_we_would(oracle: Oracle) -> None:
    """The judge does judge: another caller, an old iat and another key are no success."""
    wrong = {
        "another caller": {"orig": "12125550199"},
        "an old iat": {"iat": int(time.time()) - 100},
        "another key": {"key": issuing.new_key()},
    }
    for name, change in wrong.items():
        assert "success" not in oracle.says(_shaken(oracle, **change)), name
