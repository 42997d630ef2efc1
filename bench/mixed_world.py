"""Where ``bench.mixed`` calls: two companies, a stranger, two listeners, a CPS with tokens."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from lab import asterisk
from lab.asterisk import Instance, Trunk
from lab.companies import Authority, Company, tls_certificate
from lab.processes import Service, pbx_stir
from lab.stage import free_port, heard
from pbx_stir.cps import wire
from pbx_stir.stir import sealing
from pbx_stir.tokens import epochs, exchange
from pbx_stir.tokens.key_files import KeyFiles as TokenKeys
from pbx_stir.tokens.raw_rsa import RawSigner
from pbx_stir.tokens.wallet import Wallet, signed, want

NUMBERS: Final = 10_000
LATE_SECONDS: Final = 63

COMPANY: Final = f"""
[globals]
STIR_OUT_carrier=on
STIR_IN_carrier=on
STIR_OUT_second=on
STIR_IN_second=on

[office]
; "number*caller ID*kind"
exten => _X!,1,Set(CALLERID(num)=${{CUT(EXTEN,*,2)}})
 same => n,Set(number=${{CUT(EXTEN,*,1)}})
 same => n,Set(kind=${{CUT(EXTEN,*,3)}})
 same => n,ExecIf($["${{kind}}"="anonymous"]?Set(CALLERID(num-pres)=prohib))
 same => n,Gosub(pbx-stir-outbound,s,1(${{IF($["${{kind}}"="second"]?second:carrier)}},${{number}}))
 same => n,ExecIf($["${{kind}}"="late"]?Wait({LATE_SECONDS}))
 same => n,Dial(PJSIP/${{number}}@to-${{number:0:4}},10)
 same => n,GotoIf($["${{kind}}"!="failover"]?end)
 same => n,Dial(PJSIP/${{number}}@to-${{number:0:4}},10)
 same => n(end),Hangup()

[from-carrier]
exten => _[0-9+]!,1,Set(odd=$[${{EXTEN:-3:1}} % 2])
 same => n,Gosub(pbx-stir-inbound,s,1(${{IF($[${{odd}} = 1]?second:carrier)}},${{EXTEN}}))
 same => n,GotoIf($["${{EXTEN:-2:1}}"="8" & "${{EXTEN:0:4}}"="1310"]?busy)
 same => n,GotoIf($["${{EXTEN:-2:1}}"="9" & "${{EXTEN:0:4}}"="1310"]?forward)
 same => n,Dial(Local/${{EXTEN}}@phone/n,10)
 same => n,Hangup()
 same => n(busy),Hangup(17)
; to the number of A that is 5,000 on from the caller's
 same => n(forward),Set(number=1212555${{SPRINTF(%04d,$[(${{CALLERID(num):-4}} + 5000) % 10000])}})
 same => n,Gosub(pbx-stir-outbound,s,1(carrier,${{number}}))
 same => n,Dial(PJSIP/${{number}}@to-1212,10)
 same => n,Hangup()

[phone]
exten => _X!,1,Answer()
 same => n,Wait(4)
 same => n,Hangup()
"""
STRANGER: Final = """
[anywhere]
exten => _X!,1,Set(CALLERID(num)=${CUT(EXTEN,*,2)})
 same => n,Dial(PJSIP/${CUT(EXTEN,*,1)}@to-${EXTEN:0:4},10)
 same => n,Hangup()

[from-carrier]
exten => _X!,1,Answer()
 same => n,Wait(1)
 same => n,Hangup()
"""


class Caller:
    """A manager session that originates calls, and reads nothing but whether it is alive."""

    def __init__(self, pbx: Instance) -> None:
        self._socket = socket.create_connection((pbx.host, pbx.ami_port), 10)
        self._send("Login", Username="lab", Secret=pbx.ami_secret, Events="off")
        threading.Thread(target=self._drain, daemon=True).start()

    def originate(self, dialled: str, context: str, channel_id: str = "", seconds: int = 5) -> None:
        """A phone of this PBX dials, and hangs up after ``seconds`` if nobody else does."""
        more = {"ChannelId": channel_id, "OtherChannelId": f"{channel_id}-2"} if channel_id else {}
        self._send(
            "Originate",
            Channel=f"Local/{dialled}@{context}/n",
            Application="Wait",
            Data=str(seconds),
            Async="true",
            Timeout="90000",
            **more,
        )

    def hang_up(self, channel: str) -> None:
        """End channels whose name matches."""
        self._send("Hangup", Channel=channel)

    def close(self) -> None:
        """Log off."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _send(self, action: str, **fields: str) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._socket.sendall(f"Action: {action}\r\n{lines}\r\n".encode())

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass


class World:
    """PBXs, listeners and the CPS; ``with World(folder) as world`` has them running."""

    def __init__(self, folder: Path, calls: int) -> None:
        """Companies have tokens for ``calls`` each."""
        self.folder = folder
        self._calls = calls
        self._stack = contextlib.ExitStack()
        self.authority = Authority.new(folder, "Bench Authority")
        self.a = Company("company-a", "12125550000", NUMBERS, folder / "a")
        self.b = Company("company-b", "13105550000", NUMBERS, folder / "b")
        self.m = Company("mallory", "14155553000", 10, folder / "m")
        software = asterisk.get("forky")
        self.pbxs = {
            name: Instance(
                software,
                folder / f"pbx-{name}",
                name,
                extensions=STRANGER if name == "m" else COMPANY,
            )
            for name in "abm"
        }
        companies = {"a": self.a, "b": self.b, "m": self.m}
        for name, pbx in self.pbxs.items():
            pbx.files["logger.conf"] = "[general]\n[logfiles]\nfull => warning,error\n"
            for other, company in companies.items():
                if other != name:
                    peer = self.pbxs[other]
                    trunk = f"to-{company.first[:4]}"
                    pbx.trunks.append(Trunk(trunk, peer.host, peer.sip_port, "from-carrier"))
        certificate, key, self.ca = tls_certificate(folder, "cps", ["127.0.0.1"])
        self.url = f"https://127.0.0.1:{free_port()}"
        config = folder / "cps.toml"
        config.write_text(
            f'state_dir = "cps"\n[cps]\nlisten = "{self.url.removeprefix("https://")}"\n'
            f'certificate = "{certificate}"\nkey = "{key}"\ntrust = ["{self.authority.anchor}"]\n'
            "retrievals_per_second = 100000\n"
        )
        self.cps = Service("cps", ["cps", "--config", str(config)], folder)
        self.listeners = {
            name: Service(f"listener-{name}", ["run", "--config", str(one.config)], folder)
            for name, one in (("a", self.a), ("b", self.b))
        }

    def __enter__(self) -> World:
        """Start all, and return when every part has found the others."""
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all."""
        self._stack.close()

    def _start(self) -> None:
        for company, pbxs in ((self.a, "a"), (self.b, "b"), (self.m, "")):
            last = company.number(company.count - 1)
            company.configure(
                authority=self.authority,
                trust=self.authority.anchor,
                cps=self.url,
                cps_ca=self.ca,
                routes=["1"],
                pbxs=[self.pbxs[one] for one in pbxs],
                tables=f'\n[[trunk]]\nname = "second"\ncountry_code = "1"\n'
                f'numbers = ["+{company.first}-+{last}"]\n\n[wallet]\nlow = 1\n',
            )
        self._stack.enter_context(self.cps)
        self.cps.wait_until(lambda: "listening on" in self.cps.said, "listening")
        for company in (self.a, self.b):
            self._give_tokens(company, self._calls)
        for pbx in self.pbxs.values():
            self._stack.enter_context(pbx)
        for name, listener in self.listeners.items():
            self._stack.enter_context(listener)
            listener.wait_until(partial(heard, self.pbxs[name]), "known to its PBX")
        pbx_stir("keys", "publish", "--config", str(self.m.config))

    def _give_tokens(self, company: Company, count: int) -> None:
        """Tokens for a busy day: obtained as ever, they would come over hours."""
        now = time.time()
        keys = TokenKeys(self.folder / "cps" / "token-keys").prepare(now)
        secret = next(one for one in keys if one.epoch == epochs.epoch_of(now))
        context = ssl.create_default_context(cafile=str(self.ca))
        url = self.url + exchange.KEYS_PATH
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            listed = epochs.parse_key_list(answer.read())
        key = listed.of(secret.epoch)
        assert key is not None
        signer = RawSigner(secret.private)
        state = company.folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        wallet = Wallet(state / "wallet")
        wallet.pin(self.url, listed, now)
        wanted = [want(listed.issuer, key) for _ in range(count)]
        records = [signed(one, key, signer.sign(one.blinded.blinded)) for one in wanted]
        wallet.put(self.url, key.epoch, records, count)
        wallet.close()

    def entries(self, number: str) -> list[bytes]:
        """What the CPS has under a number, sealed."""
        context = ssl.create_default_context(cafile=str(self.ca))
        url = f"{self.url}{wire.collection_path(number)}?expand=1"
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            listed = wire.parse_list(answer.read(), wire.JSON_TYPE)
        return [sealing.from_wire(one.wire) for one in listed if one.wire]

    def store(self, number: str, blobs: list[bytes], tokens: Iterator[Callable[..., str]]) -> None:
        """Store what anybody with a token may."""
        context = ssl.create_default_context(cafile=str(self.ca))
        for blob in blobs:
            body = sealing.to_wire(blob)
            url = self.url + wire.collection_path(number)
            headers = {
                "Content-Type": wire.PASSPORT_TYPE,
                "Authorization": next(tokens)(number=number, body=body),
            }
            request = urllib.request.Request(url, body, headers, method="POST")
            urllib.request.urlopen(request, timeout=10, context=context).close()
