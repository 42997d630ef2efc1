"""SIPp as a caller and as a phone: how fast calls are answered, and how many a second.

Takes addresses and numbers, gives what SIPp has measured from INVITE to 200. Source: Debian's
package sip-tester.
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
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""


def _scenario() -> str:
    """INVITE, 200, ACK, BYE, 200."""
    target = "sip:[field0]@[remote_ip]:[remote_port]"
    invite = _HEAD.format(tag="", cseq="1 INVITE")
    ack = _HEAD.format(tag="[peer_tag_param]", cseq="1 ACK")
    bye = _HEAD.format(tag="[peer_tag_param]", cseq="2 BYE")
    return f"""<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="calls">
  <send retrans="500" start_rtd="1"><![CDATA[
INVITE {target} SIP/2.0
{invite}Content-Type: application/sdp
Content-Length: [len]

{_SDP}
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rtd="1"/>
  <send><![CDATA[
ACK {target} SIP/2.0
{ack}Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
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
    """Answers every call at once as long as the context lasts."""
    with (folder / "phone.log").open("ab") as log:
        process = subprocess.Popen(
            [str(binary()), "-sn", "uas", "-i", host, "-p", str(port), "-nostdin"],
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
) -> Calls:
    """Make one call for each (called, calling) pair, up to ``at_once`` at a time.

    Raises LabError where SIPp fails altogether.
    """
    run = folder / f"calls-{time.monotonic_ns()}"
    run.mkdir()
    (run / "calls.xml").write_text(_scenario())
    lines = "".join(f"{called};{calling};\n" for called, calling in numbers)
    (run / "numbers.csv").write_text(f"SEQUENTIAL\n{lines}")
    command = [
        str(binary()), f"{pbx[0]}:{pbx[1]}", "-sf", "calls.xml", "-inf", "numbers.csv",
        "-i", own, "-p", str(_free_port(own)), "-m", str(len(numbers)), "-l", str(at_once),
        "-r", f"{rate:.0f}", "-nostdin", "-trace_rtt", "-rtt_freq", "1", "-recv_timeout", "15000",
        "-trace_stat", "-fd", "1", "-stf", "statistics.csv", "-timeout", "300",
    ]  # fmt: skip
    began = time.perf_counter()
    with (run / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=run, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)  # fmt: skip
        pin(process.pid, processors)
        status = process.wait(330)
    seconds = time.perf_counter() - began
    # 1: some calls failed
    if status not in {0, 1}:
        raise LabError(f"sipp ended with {status}: {(run / 'log').read_text()[-500:]}")
    times = _times(run)
    return Calls(len(times), len(numbers) - len(times), seconds, Latency.of(times or [0.0]))


def _times(run: Path) -> list[float]:
    """Seconds from INVITE to 200, of every call that had one."""
    found: list[float] = []
    for file in run.glob("*_rtt.csv"):
        with file.open() as lines:
            found += [
                float(row[1]) / 1000 for row in csv.reader(lines, delimiter=";") if _is_number(row)
            ]
    return found


def _is_number(row: Sequence[str]) -> bool:
    return len(row) > 1 and row[1].replace(".", "", 1).isdigit()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])
