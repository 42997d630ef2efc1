"""What faults do to the machine itself, always taken back: packets dropped, small disks, limits."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def needs_root(program: str, package: str) -> None:
    """Skip where a fault cannot be made here."""
    if os.geteuid() != 0:
        pytest.skip(f"{program} needs root: run the tests as root")
    if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        pytest.skip(f"{program} is not installed: Debian's package {package} has it")


def _run(*command: str) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PATH": path},
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Packets to a port of 127.0.0.1 vanish."""
    needs_root("iptables", "iptables")
    rule = ("-i", "lo", "-d", "127.0.0.1/32", "-p", "tcp", "--dport", str(port), "-j", "DROP")
    try:
        _run("iptables", "-w", "10", "-I", "INPUT", *rule)
    except OSError as error:
        pytest.skip(f"this machine lets no packets be dropped: {error}")
    try:
        yield
    finally:
        _run("iptables", "-w", "10", "-D", "INPUT", *rule)


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of its own at ``folder``, so small that it can be filled."""
    needs_root("mount", "mount")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = f"size={mebibytes}m,mode=700"
    try:
        _run("mount", "-t", "tmpfs", "-o", options, "pbx-stir-faults", str(folder))
    except OSError as error:
        pytest.skip(f"this machine lets no file system be mounted: {error}")
    try:
        yield folder
    finally:
        _run("umount", "-l", str(folder))


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Nothing more fits on the file system of ``folder``."""
    filling = folder / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filling.unlink()


@contextlib.contextmanager
def without_descriptors(pid: int) -> Iterator[None]:
    """A process that can open nothing more."""
    needs_root("true", "coreutils")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # a limit below what is open leaves that open
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
