"""What the tests of this folder share: a dialplan, callers, listeners."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

from lab import asterisk
from pbx_stir.pbx.ami import AmiConnection
from pbx_stir.pbx.asterisk import AsteriskPbx, AsteriskSettings
from pbx_stir.services.call import Call
from tests.pbx.software import software_of

EXTENSIONS = """
[globals]
STIR_OUT_on-1=on
STIR_IN_on-1=on
STIR_OUT_watch=monitor
STIR_IN_watch=monitor
STIR_OUT_short=on
STIR_IN_short=on
STIR_BUDGET_short=300

; What the originating test asked for comes in variables: TAG, ORIG, NAME, TRUNK, HANG.
[out]
exten => _[0-9+*#].,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Gosub(seen,s,1)
 same => n,Wait(${HANG})
 same => n,Hangup()

; dialled here, sent as SENT
[outside-line]
exten => _[0-9*#].,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${SENT}))
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

[in]
exten => _[0-9+*#].,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Gosub(pbx-stir-name,s,1(${GLOBAL(MARK)}))
 same => n,Gosub(seen,s,1)
 same => n,GotoIf($["${ANSWER}"=""]?wait)
 same => n,Answer()
 same => n(wait),Wait(${HANG})
 same => n,Hangup()

; the name that the caller's PASSporT gives him
[named]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,GotoIf($[${LEN(${STIR_NAME})} = 0]?mark)
 same => n,Set(CALLERID(name)=${STIR_NAME})
 same => n(mark),Gosub(pbx-stir-name,s,1)
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

; comes in on TRUNK, and is forwarded through a Local channel to leave by the trunk on-1
[forward]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Dial(Local/${EXTEN}@leave/n,5)
 same => n,Hangup()

; rings a phone, which is a Local channel: what reaches a leg of the call?
[ring]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Dial(Local/${EXTEN}@leg/n,5)
 same => n,Hangup()

[leg]
exten => _X.,1,Gosub(seen,s,1)
 same => n,Hangup()

[leave]
exten => _X.,1,Gosub(pbx-stir-outbound,s,1(on-1,${EXTEN}))
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

; in and out on one channel
[through]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Wait(${PAUSE})
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

; in twice on one channel
[again]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Wait(${PAUSE})
 same => n,Gosub(pbx-stir-inbound,s,1(${TRUNK},${EXTEN}))
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

; over SIP to ourselves, with the Identity headers of the variables ID1 to ID3
[sip]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Dial(PJSIP/${EXTEN}@itself,5,b(identities^s^1))
 same => n,Hangup()

; out by SIP to ourselves, with what the outbound hook gives the call to carry
[in-band]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Dial(PJSIP/${EXTEN}@itself,5,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

; the first trunk fails, the call goes on by another one
[in-band-again]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Dial(PJSIP/${EXTEN}@itself,5,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

; the leg is a Local channel, which leaves by a hook of its own
[in-band-local]
exten => _X.,1,Gosub(caller,s,1)
 same => n,Gosub(pbx-stir-outbound,s,1(${TRUNK},${EXTEN}))
 same => n,Dial(Local/${EXTEN}@in-band-leaves/n,5,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

[in-band-leaves]
exten => _X.,1,Dial(PJSIP/${EXTEN}@itself,5,b(pbx-stir-in-band^s^1))
 same => n,Hangup()

[identities]
exten => s,1,GotoIf($["${ID1}"=""]?end)
 same => n,Set(PJSIP_HEADER(add,Identity)=${URIDECODE(${ID1})})
 same => n,GotoIf($["${ID2}"=""]?end)
 same => n,Set(PJSIP_HEADER(add,Identity)=${URIDECODE(${ID2})})
 same => n,GotoIf($["${ID3}"=""]?end)
 same => n,Set(PJSIP_HEADER(add,Identity)=${URIDECODE(${ID3})})
 same => n(end),Return()

[from-sip]
exten => _X.,1,Set(TAG=${EXTEN})
 same => n,Gosub(pbx-stir-inbound,s,1(on-1,${EXTEN}))
 same => n,Gosub(seen,s,1)
 same => n,Hangup()

[caller]
exten => s,1,Set(CALLERID(num)=${URIDECODE(${ORIG})})
 same => n,Set(CALLERID(name)=${URIDECODE(${NAME})})
 same => n,GotoIf($["${PRES}"=""]?end)
 same => n,Set(CALLERID(num-pres)=${PRES})
 same => n(end),Return()

[seen]
exten => s,1,Set(SHOWN=)
 same => n,Set(SHOWN=Status: ${STIR_STATUS},Verstat: ${STIR_VERSTAT},Reason: ${STIR_REASON})
 same => n,Set(SHOWN=${SHOWN},Attest: ${STIR_ATTEST},Orig: ${STIR_ORIG},Dest: ${STIR_DEST})
 same => n,Set(SHOWN=${SHOWN},Signer: ${STIR_SIGNER},Id: ${STIR_ID},Ms: ${STIR_MS})
 same => n,Set(SHOWN=${SHOWN},CameIn: ${STIR_CAME_IN},Name: ${URIENCODE(${CALLERID(name)})})
 same => n,UserEvent(Seen,Tag: ${TAG},${SHOWN},Answer: ${URIENCODE(${STIR_ANSWER})},End: yes)
 same => n,Return()
"""

# As dialplan/README.md has them, to be seen by Asterisk.
README = (Path(__file__).resolve().parents[2] / "dialplan/README.md").read_text()
SAMPLES = re.findall(r"(?ms)^```\n(\[from-carrier-1\].*?)^```$", README)
EXTENSIONS += "".join(SAMPLES)

VERIFIED = (
    ("STIR_STATUS", ""),
    ("STIR_VERSTAT", "TN-Validation-Passed"),
    ("STIR_REASON", "verified"),
    ("STIR_ATTEST", "A"),
    ("STIR_ORIG", "12125550100"),
    ("STIR_DEST", "16465550100"),
    ("STIR_SIGNER", "Company A"),
    ("STIR_ID", "log-1"),
)
UNSIGNED = (
    *(("STIR_VERSTAT", "No-TN-Validation"), ("STIR_REASON", "no-passport"), VERIFIED[4]),
    *(VERIFIED[5], ("STIR_ID", "log-3")),
)
STORED = (("STIR_STATUS", "stored"), ("STIR_REASON", "stored"), ("STIR_ID", "log-2"))

_tags = itertools.count(1)


async def eventually(true: Callable[[], bool], timeout_seconds: float = 10) -> None:
    """Return as soon as it is so."""
    give_up_at = time.monotonic() + timeout_seconds
    while time.monotonic() < give_up_at:
        if true():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


class Desk:
    """A receiver that answers each call after ``delay`` seconds; never if that is None."""

    def __init__(
        self, delay: float | None = 0.0, headers: Sequence[Sequence[tuple[str, str]]] = ()
    ) -> None:
        """``headers`` are for each outbound call in turn, what it shall carry itself."""
        self.delay = delay
        self.headers = list(headers)
        self.verdict: tuple[tuple[str, str], ...] = VERIFIED
        self.calls: list[Call] = []
        self.taken: list[bool] = []
        self.over: list[tuple[str, bool]] = []
        self.stayed = asyncio.Event()
        self._arrivals: list[asyncio.Event] = []

    async def wait_calls(self, count: int, timeout_seconds: float = 10) -> None:
        """Return once so many calls have been announced."""
        arrived = asyncio.Event()
        self._arrivals.append(arrived)
        async with asyncio.timeout(timeout_seconds):
            while len(self.calls) < count:
                await arrived.wait()
                arrived.clear()

    async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
        """Answer as if all were well."""
        self.calls.append(call)
        for arrived in self._arrivals:
            arrived.set()
        if self.delay is None:
            return
        if self.delay:
            await asyncio.sleep(self.delay)
        variables = self.verdict
        if call.direction.value == "out":
            variables = (*STORED, *(self.headers.pop(0) if self.headers else ()))
        if call.mode.value == "on":
            self.taken.append(await pbx.answer(call, variables, time.monotonic() + 2))

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """Remember it."""
        self.over.append((unique_id, answered))
        self.stayed.set()


class Caller:
    """Places calls at one Asterisk, and tells what its dialplan saw after the hook."""

    def __init__(self, instance: asterisk.Instance, connection: AmiConnection) -> None:
        self.instance = instance
        self.connection = connection
        self.contested = _CONTESTED

    async def set_global(self, name: str, value: str) -> None:
        """As in [globals] of extensions.conf."""
        await self.connection.request("Setvar", (("Variable", name), ("Value", value)))

    async def get_global(self, name: str) -> str:
        """What a global variable says."""
        answer = await self.connection.request("Getvar", (("Variable", name),))
        return str(answer.value)

    async def place(self, context: str, number: str, *, tag: str = "", **variables: str) -> str:
        """Let a call begin; its tag."""
        tag = tag or f"t{next(_tags)}"
        usual = {"ORIG": "12125550100", "TRUNK": "on-1", "HANG": "0", "PAUSE": "0"}
        given = {"TAG": tag, **usual, **variables}
        joined = ",".join(f"__{name}={value}" for name, value in given.items())
        await self.connection.request(
            "Originate",
            (
                ("Channel", f"Local/{number}@{context}/n"),
                ("Application", "Wait"),
                ("Data", "20"),
                ("Timeout", "20000"),
                ("Variable", joined),
                ("Async", "true"),
            ),
        )
        return tag

    async def seen(self, tag: str, timeout_seconds: float = 10) -> dict[str, str]:
        """What the dialplan saw once the hook of that call was over."""
        await eventually(lambda: tag in _SEEN, timeout_seconds)
        return _SEEN.pop(tag)

    async def call(self, context: str, number: str, **variables: str) -> dict[str, str]:
        """Place a call, and what the dialplan saw."""
        return await self.seen(await self.place(context, number, **variables))


_SEEN: dict[str, dict[str, str]] = {}
_CONTESTED: list[dict[str, str]] = []


def _on_event(message: object) -> None:
    fields = {str(k): str(v) for k, v in message.items()}  # type: ignore[attr-defined]
    if fields.get("UserEvent") == "PbxStirContested":
        _CONTESTED.append(fields)
    if fields.get("UserEvent") == "Seen":
        encoded = {"Name", "Answer"}
        _SEEN[fields["Tag"]] = {k: unquote(v) if k in encoded else v for k, v in fields.items()}


def settings(instance: asterisk.Instance, user: str = "pbx-stir") -> AsteriskSettings:
    """How to log in at an instance."""
    return AsteriskSettings(
        instance.name, instance.host, instance.ami_port, user, instance.ami_secret
    )


@asynccontextmanager
async def listening(instance: asterisk.Instance, desk: Desk) -> AsyncIterator[AsteriskPbx]:
    """A listener in this process, known to the PBX; stopped as SIGTERM would."""
    pbx = AsteriskPbx(settings(instance), desk)
    running = asyncio.create_task(pbx.run())
    try:
        async with asyncio.timeout(10):
            await pbx.connected.wait()
        yield pbx
    finally:
        await pbx.stop(drain_seconds=3)
        await running


class ListenerProcess:
    """A listener in a process of its own, which can be frozen and killed."""

    def __init__(self, instance: asterisk.Instance) -> None:
        self.instance = instance
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it answers every call at once."""
        root = Path(__file__).resolve().parents[2]
        place = f"{self.instance.host}:{self.instance.ami_port}"
        self.process = subprocess.Popen(
            [sys.executable, str(root / "tests/pbx/listener.py"), place],
            env={**os.environ, "PYTHONPATH": str(root), "SECRET": self.instance.ami_secret},
        )

    def signal(self, number: signal.Signals) -> None:
        """Freeze, thaw, stop or kill it."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


def started(
    suite: str, extensions: str, without_modules: Sequence[str] = ()
) -> Iterator[asterisk.Instance]:
    """An Asterisk that is stopped, and its folder removed, when the iterator goes on."""
    software = software_of(suite)
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as folder:
        pbx = asterisk.Instance(
            software, Path(folder), suite, extensions=extensions, without_modules=without_modules
        )
        pbx.trunks.append(asterisk.Trunk("itself", pbx.host, pbx.sip_port, "from-sip"))
        with pbx:
            yield pbx


@asynccontextmanager
async def calling(instance: asterisk.Instance) -> AsyncIterator[Caller]:
    """A caller at an instance whose globals are as at its start."""
    _SEEN.clear()
    _CONTESTED.clear()
    connection = await AmiConnection.open(settings(instance, "lab"), _on_event)
    found = Caller(instance, connection)
    for name in (
        *("STIR_HEARTBEAT", "STIR_TIMED_OUT_HEARTBEAT", "STIR_EMERGENCY_UNTIL", "STIR_EMERGENCY"),
        *("STIR_EXCLUDED", "STIR_EXCLUDED_on-1", "STIR_BUDGET_on-1", "STIR_AMI_USER"),
        *("STIR_CDR", "STIR_CEL", "STIR_CDR_USERFIELD"),
    ):
        await found.set_global(name, "")
    try:
        yield found
    finally:
        await connection.close()
