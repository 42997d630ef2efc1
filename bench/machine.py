"""What was measured on, and what a process takes: read from /proc."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
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
