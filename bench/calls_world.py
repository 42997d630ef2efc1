"""Where calls are measured: an Asterisk with a core of its own between SIPp and SIPp.

The listener, the CPS and SIPp have the other cores. Everything is configured as an administrator
would.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from bench import ramp as ramps
from bench import sipp
from bench.load import pin
from bench.ramp import Ramp
from bench.sipp import Calls
from lab import asterisk
from lab.asterisk import Instance, Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.debian import LabError
from lab.processes import Service, pbx_stir
from lab.stage import free_port

_NUMBERS: Final = 10_000
DIALPLAN: Final = """
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on
STIR_OUT_quiet=off

[from-caller]
exten => _0X!,1,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _1X!,1,Gosub(pbx-stir-outbound,s,1(quiet,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _2X!,1,Gosub(pbx-stir-outbound,s,1(carrier,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
exten => _3X!,1,Gosub(pbx-stir-inbound,s,1(carrier,${EXTEN:1}))
 same => n,Dial(PJSIP/${EXTEN:1}@phone,10)
"""


# events that no client of most PBXs reads, and that a call has most of
QUIETER: Final = "VarSet,Newexten"


class World:
    """One Asterisk between SIPp and SIPp, company A's listener, a CPS, and B's records there."""

    def __init__(self, folder: Path) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.pbx_cores, self.others = (cores[0],), tuple(cores[1:]) or (cores[0],)
        self.folder = folder
        self.authority = Authority.new(folder, "Bench Authority")
        self.a = Company("company-a", "12125550000", _NUMBERS, folder / "a")
        self.b = Company("company-b", "13105550000", _NUMBERS, folder / "b")
        self.caller, self.phone = "127.11.0.1", "127.11.0.2"
        software = asterisk.get("forky")
        self.version = software.version
        self.phone_port = free_port()
        trunks = [
            Trunk("caller", self.caller, 5060, "from-caller"),
            Trunk("phone", self.phone, self.phone_port, "from-caller"),
        ]
        self.pbx = Instance(software, folder / "pbx", "a", extensions=DIALPLAN, trunks=trunks)
        # a lab's log of every step costs as much as a call
        self.pbx.files["logger.conf"] = "[general]\n[logfiles]\nfull => warning,error\n"
        self._certificate, self._key, self._ca = tls_certificate(folder, "cps", ["127.0.0.1"])
        self.url = f"https://127.0.0.1:{free_port()}"
        config = folder / "cps.toml"
        config.write_text(
            f'state_dir = "cps"\n[cps]\nlisten = "{self.url.removeprefix("https://")}"\n'
            f'certificate = "{self._certificate}"\nkey = "{self._key}"\n'
            f'trust = ["{self.authority.anchor}"]\ntokens = false\n'
            "retrievals_per_second = 100000\n"
        )
        self.cps = Service("cps", ["cps", "--config", str(config)], folder)
        self.listener = Service("listener", ["run", "--config", str(self.a.config)], folder)
        self._next = count()

    def configure(self) -> None:
        """Write both companies' configuration."""
        for company, pbxs in ((self.a, [self.pbx]), (self.b, [])):
            company.configure(
                authority=self.authority,
                trust=self.authority.anchor,
                cps=self.url,
                cps_ca=self._ca,
                routes=["1"],
                pbxs=pbxs,
                more='log_level = "warning"\n',
            )
        # calls both ways come from one SIPp: it is a trunk and a user at once
        text = self.a.config.read_text()
        self.a.config.write_text(
            text.replace('country_code = "1"\n', 'country_code = "1"\nendpoints = []\n')
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Everything runs, each process on its cores, as long as the context lasts."""
        self.configure()
        with (
            self.cps,
            self.pbx,
            sipp.phone(self.phone, self.phone_port, self.folder, self.others),
        ):
            self.cps.wait_until(lambda: "listening on" in self.cps.said, "listening")
            pbx_stir("keys", "publish", "--config", str(self.b.config))
            pin(self.pbx.pid, self.pbx_cores)
            pin(self.cps.pid, self.others)
            self._listen()
            try:
                yield
            finally:
                self.listener.stop()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No listener is there, as if there were none, as long as the context lasts."""
        self.listener.stop()
        yield
        self._listen()

    @contextlib.contextmanager
    def quieter(self) -> Iterator[None]:
        """The manager interface has no events of variables and steps, of whomever they are."""
        file = self.pbx.directory / "etc/manager.conf"
        before = file.read_text()
        file.write_text(before.replace("[general]", f"[general]\ndisabledevents = {QUIETER}", 1))
        self.pbx.cli("manager reload")
        yield
        file.write_text(before)
        self.pbx.cli("manager reload")

    def _listen(self) -> None:
        """Start the listener; return as soon as Asterisk would ask it."""
        before = self._heartbeat()
        self.listener.start()
        self.listener.wait_until(lambda: self._heartbeat() not in {"", before}, "heard by Asterisk")
        pin(self.listener.pid, self.others)

    def _heartbeat(self) -> str:
        """What the last listener has left in Asterisk, "" where there is nothing."""
        found = re.search(r"^ *STIR_HEARTBEAT=(.*)$", self.pbx.cli("dialplan show globals"), re.M)
        return found[1] if found else ""

    def numbers(self, digit: str, *, ours: bool, calls: int) -> list[tuple[str, str]]:
        """Pairs of called and calling numbers."""
        called, calling = (self.a, self.b) if ours else (self.b, self.a)
        indices = [next(self._next) % _NUMBERS for _ in range(calls)]
        return [(f"{digit}{called.number(i)}", calling.number(i)) for i in indices]

    def call(
        self, digit: str, *, ours: bool, calls: int, rate: float, audio_seconds: float = 0.0
    ) -> Calls:
        """Make calls by one way, so many a second whatever becomes of those before."""
        return sipp.call(
            self.folder,
            (self.pbx.host, self.pbx.sip_port),
            self.caller,
            self.numbers(digit, ours=ours, calls=calls),
            at_once=10_000,
            rate=rate,
            processors=self.others,
            audio_seconds=audio_seconds,
        )

    def carried(self, digit: str, *, ours: bool, ramp: Ramp, audio_seconds: float = 0.0) -> float:
        """Calls a second by one way that are carried. Raises LabError where the ramp is wrong."""
        start = partial(
            sipp.start,
            self.folder,
            (self.pbx.host, self.pbx.sip_port),
            self.caller,
            self.numbers(digit, ours=ours, calls=_NUMBERS),
            processors=self.others,
            audio_seconds=audio_seconds,
        )
        return ramps.carried(start, ramp, audio_seconds)

    def held(self, digit: str, *, ours: bool) -> list[float]:
        """Seconds that each call of a way was held, as its call detail record says it."""
        column = "stir_ms" if ours else "stir_out_ms"
        rows = (row for row in self.pbx.cdr_rows() if row["dst"].startswith(digit))
        return [int(row[column]) / 1000 for row in rows if row[column]]

    def check(self) -> None:
        """Whether every hook did what its row says. Raises LabError: else the figures are void."""
        lines = map(json.loads, (self.a.folder / "calls.jsonl").read_text().splitlines())
        found = Counter(
            (one["direction"], one["reason"]) for one in lines if one["event"] == "call"
        )
        if set(found) != {("out", "stored"), ("in", "no-passport")}:
            raise LabError(f"the hooks did something else: {dict(found)}")
