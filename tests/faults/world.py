"""Where faults are made: two companies with an Asterisk and a listener each, and real CPSs.

Between all of them stand fronts: before each CPS, before each manager interface, before Redis and
before the server of certificates. Storage tokens are there before calls begin, as on any day but
the first.
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from lab import asterisk, asterisk_files
from lab.asterisk import Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.debian import LabError
from lab.processes import Service
from lab.redis_servers import RedisServer
from pbx_stir.cps import wire
from pbx_stir.redis_backend.sentinels import BUCKETS
from pbx_stir.tokens import epochs, exchange
from pbx_stir.tokens.raw_rsa import RawSigner
from pbx_stir.tokens.wallet import Wallet, signed, want
from tests.faults.cps import Cps
from tests.faults.front import Front, Side, StandIn, http
from tests.faults.pbxs import Asterisk, FreeSwitch, freeswitch

Pbx = Asterisk | FreeSwitch
NUMBERS: Final = 10_000
TOKENS: Final = 1_500
FIRST_A: Final = "12125550000"
FIRST_B: Final = "13105550000"

# what a hook costs is measured around it, whatever it says itself
COMPANY: Final = """
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on
STIR_CDR_USERFIELD=off

[office]
; "number*caller ID*seconds between the hook and the call"
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Set(number=${CUT(EXTEN,*,1)})
 same => n,Set(began=${STRFTIME(,,%s%3q)})
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${number}))
 same => n,Set(CDR(userfield)=$[${STRFTIME(,,%s%3q)} - ${began}])
 same => n,ExecIf($["${CUT(EXTEN,*,3)}"!=""]?Wait(0${CUT(EXTEN,*,3)}))
 same => n,Dial(PJSIP/${number}@to-${number:0:4},10,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

; who says any caller ID, and signs nothing: "number*caller ID*caller's name"
[stranger]
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Set(CALLERID(name)=${CUT(EXTEN,*,3)})
 same => n,Dial(PJSIP/${CUT(EXTEN,*,1)}@to-${EXTEN:0:4},10)
 same => n,Hangup()

[from-carrier]
exten => _[0-9+]!,1,Set(began=${STRFTIME(,,%s%3q)})
 same => n,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN}))
 same => n,Set(CDR(userfield)=$[${STRFTIME(,,%s%3q)} - ${began}])
 same => n,Answer()
 same => n,Wait(0.5)
 same => n,Hangup()
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a world has besides the usual.

    ``host`` is the CPSs' name; ``redis``: the first CPS keeps everything there; ``single_use``:
    the listeners keep there what has verified a call; ``within`` is for the listeners (see
    ``lab.processes.Service``); ``clocks`` of services can be stepped; ``disk``: B's state and call
    log lie in its folder ``disk``; ``in_band``: calls carry Identity headers, and B fetches
    certificates.
    """

    cpss: int = 1
    host: str = "127.0.0.1"
    redis: bool = False
    single_use: bool = False
    within: Sequence[str] = ()
    clocks: bool = False
    in_band: bool = False
    disk: bool = False


def asterisk_of(world: World, name: str) -> Pbx:
    """An Asterisk of that name."""
    folder = world.folder / f"pbx-{name}"
    return Asterisk(asterisk.get("forky"), folder, name, extensions=COMPANY)


def called_freeswitch(side: Side) -> Iterator[World]:
    """A's PBX is an Asterisk, B's a FreeSWITCH; without one the tests are skipped."""
    try:
        program = freeswitch()
    except LabError as error:
        pytest.fail(str(error))
    if program is None:
        pytest.skip("no FreeSWITCH in PATH, and PBX_STIR_FREESWITCH names none; Debian has none")

    def pbx_of(of: World, name: str) -> Pbx:
        if name == "a":
            return asterisk_of(of, name)
        return FreeSwitch(program, of.folder / "pbx-b", name)

    with World(side, pbx_of=pbx_of) as running:
        yield running


class World:
    """``with World(side, layout) as world:`` has all of it running."""

    def __init__(
        self,
        side: Side,
        layout: Layout = Layout(),
        *,
        cps_of: Callable[[World, int], Cps] = Cps,
        pbx_of: Callable[[World, str], Pbx] = asterisk_of,
    ) -> None:
        """``cps_of`` makes a CPS of a number, ``pbx_of`` a PBX of a name."""
        self.side = side
        self.layout = layout
        self.folder = Path(tempfile.mkdtemp(prefix="pbx-stir-faults-"))
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority.new(self.folder, "Lab Authority")
        self.a = Company("company-a", FIRST_A, NUMBERS, self.folder / "a")
        self.b = Company("company-b", FIRST_B, NUMBERS, self.folder / "b")
        hosts = ["127.0.0.1", layout.host]
        certificate, key, ca = tls_certificate(self.folder, "tls", sorted(set(hosts)))
        self.tls = certificate, key
        ended = tls_certificate(self.folder, "ended", sorted(set(hosts)), days=0.9)
        self.ended_tls = ended[0], ended[1]
        self.ca = self.folder / "cas.pem"
        self.ca.write_bytes(ca.read_bytes() + ended[2].read_bytes())
        self.redis: list[RedisServer] = []
        self.redis_front: Front | None = None
        if layout.redis or layout.single_use:
            self._prepare_redis()
        self.cpss = [cps_of(self, index) for index in range(1, layout.cpss + 1)]
        self.pbxs = {name: pbx_of(self, name) for name in "ab"}
        self._prepare_pbxs()
        for front in (*self.managers.values(), *(cps.front for cps in self.cpss)):
            self._stack.callback(front.refuse)
        if self.redis_front is not None:
            self._stack.callback(self.redis_front.refuse)
        self.listeners = {name: self._listener(name) for name in "ab"}

    def __enter__(self) -> World:
        """Start all, and return when every part has found the others."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all, and remove the folder."""
        self._stack.close()

    @property
    def cps(self) -> Cps:
        """The first one."""
        return self.cpss[0]

    @property
    def redis_url(self) -> str:
        """The front before Redis."""
        assert self.redis_front is not None
        return f"redis://127.0.0.1:{self.redis_front.port}"

    def clock(self, name: str) -> dict[str, str]:
        """Where that process reads how far its clock is off, where clocks can be stepped."""
        if not self.layout.clocks:
            return {}
        self.step(name, 0)
        folder = Path(__file__).parent / "stepped"
        clock = self.folder / f"{name}.clock"
        return {"PYTHONPATH": str(folder), "PBX_STIR_TEST_CLOCK": str(clock)}

    def step(self, name: str, seconds: int) -> None:
        """Put a process's clock so far off."""
        path = self.folder / f"{name}.clock.new"
        path.write_text(f"{seconds}\n")
        path.rename(self.folder / f"{name}.clock")

    def heard(self, name: str) -> None:
        """Wait until a PBX knows that its listener is there."""
        self.listeners[name].wait_until(lambda: self.pbxs[name].heard, "known to its PBX")

    def records(self, name: str) -> Iterator[bytes]:
        """The lines of a company's call log."""
        place = "disk/calls.jsonl" if self.layout.disk and name == "b" else "calls.jsonl"
        folder = {"a": self.a, "b": self.b}[name].folder
        yield from (folder / place).read_bytes().splitlines()

    def _prepare_redis(self) -> None:
        kept = ("appendonly", "yes")
        self.redis = [RedisServer(self.folder / f"redis-{one}", kept) for one in range(2)]
        self.redis_front = Front(self.side, ("127.0.0.1", self.redis[0].port))
        for one in self.redis:
            one.start()
            self._stack.callback(one.kill)
        self.redis[1].ask("REPLICAOF", "127.0.0.1", str(self.redis[0].port))

    def _prepare_pbxs(self) -> None:
        for name, other, company in (("a", "b", self.b), ("b", "a", self.a)):
            pbx, peer = self.pbxs[name], self.pbxs[other]
            if not isinstance(pbx, Asterisk):
                continue
            trunk = f"to-{company.first[:4]}"
            pbx.trunks.append(Trunk(trunk, peer.host, peer.sip_port, "from-carrier"))
            pbx.files["logger.conf"] = "[general]\n[logfiles]\nfull => warning,error\n"
        self.managers = {
            name: Front(self.side, (pbx.host, pbx.ami_port)) for name, pbx in self.pbxs.items()
        }

    def _listener(self, name: str) -> Service:
        config = {"a": self.a, "b": self.b}[name].config
        return Service(
            f"listener-{name}",
            ["run", "--config", str(config)],
            self.folder,
            within=self.layout.within,
            environment=self.clock(f"listener-{name}"),
        )

    def _configure(self, company: Company, name: str, x5u: str) -> None:
        table = self.pbxs[name].table("127.0.0.1", self.managers[name].port, company.folder)
        place = x5u.removeprefix("https://")
        verification, redis = [], ""
        if self.layout.in_band:
            verification = [f'x5u_allow = ["{place}"]', f'x5u_tls_ca = "{self.ca}"']
        if self.layout.single_use:
            verification.append('single_use = "redis"')
            redis = f'[verification.redis]\nurl = "{self.redis_url}"\n'
        company.configure(
            authority=self.authority,
            trust=self.authority.anchor,
            cps=self.cps.url,
            cps_ca=self.ca,
            routes=["1"],
            pbxs=[],
            tables=f"\n[wallet]\nlow = 1\n{redis}{table}",
            x5u=x5u,
            verification="\n".join(verification),
        )
        text = company.config.read_text()
        urls = ", ".join(f'"{cps.url}"' for cps in self.cpss)
        text = text.replace(f'cps = ["{self.cps.url}"]', f"cps = [{urls}]")
        if self.layout.in_band:
            text = text.replace("[verification]", "in_band = true\n\n[verification]")
        if self.layout.disk and name == "b":
            text = text.replace('state_dir = "state"', 'state_dir = "disk/state"')
            text = text.replace('"calls.jsonl"', '"disk/calls.jsonl"')
        company.config.write_text(text)

    def _start(self) -> None:
        x5u = self._serve_certificates()
        self._configure(self.a, "a", x5u)
        self._configure(self.b, "b", x5u)
        for cps in self.cpss:
            cps.start()
            self._stack.callback(cps.service.stop)
            self._give_tokens(cps)
        for pbx in self.pbxs.values():
            pbx.start()
            self._stack.callback(pbx.stop, kill=True)
        for pbx in self.pbxs.values():
            pbx.wait_ready()
        for name, listener in self.listeners.items():
            listener.start()
            self._stack.callback(listener.stop)
            self.heard(name)
        for cps in self.cpss:
            cps.service.wait_until(partial(self._has_records, cps), "given records")
        if self.redis:
            self.listeners["b"].wait_until(self._is_believed, "running on a Redis known to be new")

    def _is_believed(self) -> bool:
        return self.redis[0].ask("KEYS", "pbx-stir:sentinel:*").startswith(f"*{BUCKETS}\r")

    def _serve_certificates(self) -> str:
        """The URL of a server that has A's certificate, behind a front."""

        def answer() -> bytes:
            pem = (self.a.folder / "company-a.pem").read_bytes()
            return http("200 OK", pem, "application/pem-certificate-chain")

        self.certificates = StandIn(self.side, *self.tls, answer)
        self.x5u_front = Front(self.side, self.certificates.target)
        self._stack.callback(self.x5u_front.refuse)
        self._stack.callback(self.certificates.close)
        return f"https://127.0.0.1:{self.x5u_front.port}"

    def _get(self, cps: Cps, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca))
        # by the name of its certificate that needs no DNS
        url = f"https://127.0.0.1:{cps.front.port}{path}"
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return bytes(answer.read())

    def _has_records(self, cps: Cps) -> bool:
        return all(b"eyJ" in self._get(cps, f"/cps/{one}/keys") for one in (FIRST_A, FIRST_B))

    def _give_tokens(self, cps: Cps) -> None:
        """Tokens for a busy day: obtained as ever, they would come over hours."""
        now = time.time()
        keys = cps.keys.prepare(now)
        secret = next(one for one in keys if one.epoch == epochs.epoch_of(now))
        listed = epochs.parse_key_list(self._get(cps, exchange.KEYS_PATH))
        key = listed.of(secret.epoch)
        assert key is not None
        signer = RawSigner(secret.private)
        state = self.a.folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        wallet = Wallet(state / "wallet")
        wallet.pin(cps.url, listed, now)
        wanted = [want(listed.issuer, key) for _ in range(TOKENS)]
        records = [signed(one, key, signer.sign(one.blinded.blinded)) for one in wanted]
        wallet.put(cps.url, key.epoch, records, TOKENS)
        wallet.close()

    def entries(self, number: str) -> int:
        """How many entries the first CPS lists under a number."""
        listed = wire.parse_list(self._get(self.cps, wire.collection_path(number)), wire.JSON_TYPE)
        return len(listed)


CDR_COLUMNS: Final = asterisk_files.CDR_COLUMNS
