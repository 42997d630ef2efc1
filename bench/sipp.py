"""SIPp as a caller and as a phone: how fast calls are answered, and how many a second.

Takes addresses and numbers, gives what SIPp has measured from INVITE to 200, to its clock's tick of
some 4 ms. With audio the caller speaks (G.711, 50 packets a second) and the phone sends back what
it hears. Source: Debian's package sip-tester.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.latency import Latency
from bench.load import pin
from lab.debian import LabError

_HEAD: Final = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field1]@[local_ip]:[local_port]>;tag=[pid]-[call_number]
To: <sip:[field0]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:[field1]@[local_ip]:[local_port]>
Max-Forwards: 70
"""
_SDP: Final = """\
v=0
o=bench 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [{port}] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
_SPEAK: Final = """\
  <nop><action><exec rtp_stream="{file},-1,0,PCMU/8000"/></action></nop>
  <pause milliseconds="{milliseconds:.0f}"/>
"""
# packets a second each way, of 20 ms each
PACKETS: Final = 50


def _scenario(audio: Path | None, seconds: float) -> str:
    """INVITE, 200, ACK, so many seconds of audio, BYE, 200."""
    target = "sip:[field0]@[remote_ip]:[remote_port]"
    invite = _HEAD.format(tag="", cseq="1 INVITE")
    ack = _HEAD.format(tag="[peer_tag_param]", cseq="1 ACK")
    bye = _HEAD.format(tag="[peer_tag_param]", cseq="2 BYE")
    sdp = _SDP.replace("{port}", "rtpstream_audio_port" if audio else "media_port")
    speak = _SPEAK.format(file=audio, milliseconds=seconds * 1000) if audio else ""
    return f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="calls">
  <send retrans="500" start_rtd="1"><![CDATA[
INVITE {target} SIP/2.0
{invite}Content-Type: application/sdp
Content-Length: [len]

{sdp}
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rtd="1"/>
  <send><![CDATA[
ACK {target} SIP/2.0
{ack}Content-Length: 0

  ]]></send>
{speak}  <send retrans="500"><![CDATA[
BYE {target} SIP/2.0
{bye}Content-Length: 0

  ]]></send>
  <recv response="200"/>
</scenario>
"""


class Calls(msgspec.Struct, frozen=True):
    """What came of one run: calls answered, those that were not, wall seconds, INVITE to 200."""

    answered: int
    failed: int
    seconds: float
    latency: Latency

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return self.answered / self.seconds


def binary() -> str | None:
    """SIPp, if it is installed."""
    return shutil.which("sipp")


@contextlib.contextmanager
def phone(host: str, port: int, folder: Path, processors: Sequence[int]) -> Iterator[None]:
    """Answers every call at once as long as the context lasts, and sends back what it hears."""
    media = str(_free_ports(host))
    with (folder / "phone.log").open("ab") as log:
        process = subprocess.Popen(
            [str(binary()), "-sn", "uas", "-i", host, "-p", str(port), "-nostdin",
             "-mi", host, "-mp", media, "-rtp_echo"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        pin(process.pid, processors)
        time.sleep(0.3)
        if process.poll() is not None:
            raise LabError("sipp as a phone ended")
        yield
    finally:
        process.terminate()
        process.wait(10)


def call(
    folder: Path,
    pbx: tuple[str, int],
    own: str,
    numbers: Sequence[tuple[str, str]],
    *,
    at_once: int,
    rate: float,
    processors: Sequence[int],
    audio_seconds: float = 0.0,
) -> Calls:
    """Make one call for each (called, calling) pair, up to ``at_once`` at a time.

    ``rate`` are calls begun a second; each has so many seconds of audio. Raises LabError where
    SIPp fails altogether.
    """
    began = time.perf_counter()
    run, process = start(
        folder, pbx, own, numbers,
        ("-m", str(len(numbers)), "-l", str(at_once), "-r", f"{rate:.0f}"),
        processors=processors, audio_seconds=audio_seconds,
    )  # fmt: skip
    status = process.wait(330)
    seconds = time.perf_counter() - began
    # 1: some calls failed
    if status not in {0, 1}:
        raise LabError(f"sipp ended with {status}: {(run / 'log').read_text()[-500:]}")
    times = [waited for _, waited in answers(run)]
    return Calls(len(times), len(numbers) - len(times), seconds, Latency.of(times or [0.0]))


def start(
    folder: Path,
    pbx: tuple[str, int],
    own: str,
    numbers: Sequence[tuple[str, str]],
    options: Sequence[str],
    *,
    processors: Sequence[int],
    audio_seconds: float = 0.0,
) -> tuple[Path, subprocess.Popen[bytes]]:
    """Start SIPp as a caller: the folder that it writes to, and the process."""
    run = folder / f"calls-{time.monotonic_ns()}"
    _prepare(run, numbers, audio_seconds)
    command = [
        str(binary()), f"{pbx[0]}:{pbx[1]}", "-sf", "calls.xml", "-inf", "numbers.csv",
        "-i", own, "-mi", own, "-p", str(_free_port(own)), "-nostdin",
        "-trace_rtt", "-rtt_freq", "1", "-recv_timeout", "15000", "-timeout", "300",
        "-trace_stat", "-fd", "1", "-stf", "statistics.csv", *options,
    ]  # fmt: skip
    with (run / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=run, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)  # fmt: skip
    pin(process.pid, processors)
    return run, process


def _prepare(run: Path, numbers: Sequence[tuple[str, str]], audio_seconds: float) -> None:
    """Write the files that SIPp reads."""
    run.mkdir()
    audio = run / "audio.ulaw" if audio_seconds else None
    if audio is not None:
        # a second of silence
        audio.write_bytes(b"\xff" * 8000)
    (run / "calls.xml").write_text(_scenario(audio, audio_seconds))
    lines = "".join(f"{called};{calling};\n" for called, calling in numbers)
    (run / "numbers.csv").write_text(f"SEQUENTIAL\n{lines}")


def seconds_so_far(run: Path) -> int:
    """Whole seconds that SIPp has run, by its own clock; 0 before it has written a whole row."""
    file = run / "statistics.csv"
    text = file.read_text() if file.exists() else ""
    rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines(), delimiter=";"))
    if not rows:
        return 0
    hours, minutes, seconds = rows[-1]["ElapsedTime(C)"].split(":")[:3]
    return (int(hours) * 60 + int(minutes)) * 60 + int(seconds)


def answers(run: Path) -> list[tuple[float, float]]:
    """Of every call with a 200 so far: the second at which it began, and the seconds until then."""
    found: list[tuple[float, float]] = []
    for file in run.glob("*_rtt.csv"):
        with file.open() as lines:
            for row in csv.reader(lines, delimiter=";"):
                # the last line may be half written
                if len(row) == 3 and _is_number(row[0]) and _is_number(row[1]):
                    at, waited = float(row[0]) / 1000, float(row[1]) / 1000
                    found.append((at - waited, waited))
    return found


def _free_ports(host: str) -> int:
    """An even port of several that are free: SIPp echoes on it, on the second and the fourth."""
    while True:
        first = _free_port(host) & ~1
        with contextlib.ExitStack() as held:
            try:
                for port in (first, first + 2, first + 4):
                    one = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    one.bind((host, port))
            except OSError:
                continue
        return first


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])
