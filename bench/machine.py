"""What was measured on, and what a process takes: read from /proc."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

_LIBRARIES: Final = ("cryptography", "aiohttp", "msgspec", "panoramisk", "pyjwt", "uvloop")
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


class Machine(msgspec.Struct, frozen=True):
    """The machine and its software. ``load`` are its load averages when this was asked."""

    cpu: str
    cores: int
    system: str
    python: str
    openssl: str
    libraries: dict[str, str]
    load: tuple[float, ...]

    @classmethod
    def this(cls) -> Machine:
        """The machine that we run on."""
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            openssl=ssl.OPENSSL_VERSION,
            libraries={name: _version(name) for name in _LIBRARIES},
            load=tuple(round(one, 2) for one in os.getloadavg()),
        )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of a process in megabytes (10^6 octets), now and at its highest."""

    now: float
    peak: float

    @classmethod
    def of(cls, pid: int) -> Memory:
        """Ask the kernel."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kibibytes = {
            name: int(value.split()[0])
            for name, _, value in (line.partition(":") for line in lines)
            if name in {"VmRSS", "VmHWM"}
        }
        return cls(_megabytes(kibibytes["VmRSS"]), _megabytes(kibibytes["VmHWM"]))


def _megabytes(kibibytes: int) -> float:
    return round(kibibytes * 1024 / 1e6, 1)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used since it began, its threads' too."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(after_name[11]), int(after_name[12])
    return (user + system) / _TICKS_A_SECOND


class Interference(msgspec.Struct, frozen=True):
    """What others took of the machine meanwhile, in cores: other processes, other machines."""

    others: float
    stolen: float


class Watch:
    """Tells what others take while we measure; ``pids`` are ours, beside this process."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._spent = dict.fromkeys((os.getpid(), *pids), 0.0)
        self._began = self._now()

    def follow(self, pid: int) -> None:
        """A process that has begun since is ours, too."""
        self._spent[pid] = 0.0

    def look(self) -> None:
        """To be called before one of ours ends: what it has taken is known until then."""
        self._now()

    def interference(self) -> Interference:
        """Since the beginning."""
        wall, busy, stolen, ours = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        return Interference(round(max(0.0, busy - ours) / wall, 2), round(stolen / wall, 2))

    def _now(self) -> tuple[float, float, float, float]:
        # user nice system idle iowait irq softirq steal (proc(5))
        ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        busy = sum(ticks[:3]) + ticks[5] + ticks[6]
        for pid in self._spent:
            with contextlib.suppress(OSError):
                self._spent[pid] = cpu_seconds(pid)
        ours = sum(self._spent.values())
        return time.monotonic(), busy / _TICKS_A_SECOND, ticks[7] / _TICKS_A_SECOND, ours
