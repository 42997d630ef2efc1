"""A program of another Debian release, unpacked into a directory of its own.

Takes a suite and package names, gives the directory they and all they depend on were unpacked
to. Needs apt-get, dpkg-deb and tar; neither root nor chroot. The mirror is the one the machine's
own apt is configured with, and so are its proxy and credentials; everything fetched is checked with
Debian's archive key. Nothing of the machine's own apt state is read or written.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TIME_LIMIT_SECONDS = 900

# Depended on, but of no use to a daemon that is run from where it lies.
_LEFT_OUT = re.compile(
    r"^(perl|perl-base|libperl[0-9.]*|perl-modules-[0-9.]+|asterisk-doc|mount|login|passwd|dpkg"
    r"|gnupg[a-z-]*|gpg[a-z-]*|systemd[a-z-]*|libicu-dev)_"
)
_EXCLUDED_TREES = ("doc", "man", "locale", "zoneinfo")


class LabError(Exception):
    """The lab cannot be set up on this machine; the message says what is missing."""


def why_not() -> str:
    """Why packages cannot be had here, or an empty string if they can."""
    missing = [name for name in ("apt-get", "dpkg-deb", "dpkg", "tar") if not shutil.which(name)]
    if missing:
        return f"not Debian: {', '.join(missing)} not found"
    if not KEYRING.exists():
        return f"{KEYRING} not found (install debian-archive-keyring)"
    try:
        mirror()
    except LabError as error:
        return str(error)
    return ""


def mirror(etc_apt: Path = Path("/etc/apt"), os_release: Path = Path("/etc/os-release")) -> str:
    """The URI of Debian's archive in the machine's own apt configuration.

    Reads both formats, ``deb … URI suite components`` lines and ``URIs:`` stanzas, and takes the
    first entry that offers this machine's own release.

    Raises LabError if there is none.
    """
    release = os_release.read_text() if os_release.exists() else ""
    codename = re.search(r'^VERSION_CODENAME="?([a-z]+)', release, re.MULTILINE)
    suites = {"stable", "testing", "unstable", "sid", "oldstable"}
    if codename:
        suites.add(codename[1])
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for path in files:
        if not path.is_file() or path.suffix not in {".list", ".sources"}:
            continue
        text = path.read_text(errors="replace")
        entries = _stanzas(text) if path.suffix == ".sources" else _lines(text)
        for uri, offered, components in entries:
            if suites & set(offered) and "main" in components:
                return uri
    raise LabError(f"no entry for Debian's archive in {etc_apt} (is this machine Debian?)")


def _lines(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """One-line entries: ``deb [options] URI suite component…``."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if found:
            yield found[1], [found[2]], found[3].split()


def _stanzas(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Entries of the deb822 format, separated by blank lines."""
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", joined, re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
            for uri in fields.get("URIs", "").split()[:1]:
                yield uri, fields.get("Suites", "").split(), fields.get("Components", "").split()


def unpack(suite: str, packages: Sequence[str], cache: Path) -> Path:
    """The directory ``cache/suite`` with these packages and all they depend on.

    Downloads and unpacks the first time, then only looks for the marker that the first time left.
    Safe to call from several processes at once.

    Raises LabError with what apt said if the packages cannot be had.
    """
    cache = cache.resolve()
    target = cache / suite
    marker = target / ".complete"
    if marker.exists():
        return target
    reason = why_not()
    if reason:
        raise LabError(reason)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if marker.exists():
            return target
        with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
            archives = _download(suite, packages, Path(work))
            fresh = Path(work) / "rootfs"
            _extract(archives, fresh, merged_usr=suite != "bullseye")
            (fresh / ".complete").write_text("\n".join(path.name for path in archives) + "\n")
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    return target


def _download(suite: str, packages: Sequence[str], work: Path) -> list[Path]:
    """Resolve and fetch with an apt whose configuration, lists and cache are all under ``work``."""
    for name in ("etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    sources = work / "etc/sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    configuration = work / "apt.conf"
    configuration.write_text(_configuration(work, sources))
    _run(["apt-get", "-qq", "update"], configuration)
    only = ["--download-only", "-o", "APT::Get::Essential=false"]
    _run(["apt-get", "-qq", "-y", *only, "install", *packages], configuration)
    archives = sorted((work / "cache/archives").glob("*.deb"))
    if not archives:
        raise LabError(f"apt fetched nothing for {', '.join(packages)} of {suite}")
    return archives


def _configuration(work: Path, sources: Path) -> str:
    architecture = _output(["dpkg", "--print-architecture"])
    lines = [
        f'Dir::Etc "{work}/etc";',
        f'Dir::Etc::SourceList "{sources}";',
        'Dir::Etc::SourceParts "/nonexistent";',
        'Dir::Etc::Parts "/nonexistent";',
        'Dir::Etc::Netrc "/etc/apt/auth.conf";',
        'Dir::Etc::NetrcParts "/etc/apt/auth.conf.d";',
        f'Dir::State "{work}/state";',
        f'Dir::State::Status "{work}/status";',
        f'Dir::Cache "{work}/cache";',
        f'APT::Architecture "{architecture}";',
        f'APT::Architectures {{ "{architecture}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Get::AllowUnauthenticated "false";',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
        # A suite that is not stable may have a Release file past its Valid-Until at a mirror that
        # lags. It is signed by the archive key all the same, and a lab needs no newest version.
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Retries "3";',
        'Debug::NoLocking "true";',
    ]
    return "\n".join([*lines, *reach()]) + "\n"


def reach() -> list[str]:
    """How the machine's own apt reaches its mirror, such as by a proxy: lines for an apt.conf."""
    return [
        line
        for line in _output(["apt-config", "dump"]).splitlines()
        if re.match(r"Acquire::https?::", line, re.IGNORECASE)
    ]


def _extract(archives: Sequence[Path], root: Path, *, merged_usr: bool) -> None:
    root.mkdir()
    if merged_usr:
        for name in ("lib", "bin", "sbin", "lib64"):
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
    wanted = [path for path in archives if not _LEFT_OUT.match(path.name)]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for _ in pool.map(lambda path: _extract_one(path, root), wanted):
            pass


def _extract_one(archive: Path, root: Path) -> None:
    excluded = [f"--exclude=./usr/share/{name}" for name in _EXCLUDED_TREES]
    options = ["--no-same-owner", "--keep-directory-symlink", *excluded]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE
    ) as reader:
        written = subprocess.run(
            ["tar", "-x", "-C", str(root), *options],
            stdin=reader.stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=TIME_LIMIT_SECONDS,
        )
    if reader.returncode or written.returncode:
        raise LabError(f"cannot unpack {archive.name}: {written.stderr.strip()[-300:]}")


def _run(command: Sequence[str], configuration: Path) -> None:
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{command[0]} took more than {TIME_LIMIT_SECONDS} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise LabError(f"{' '.join(command[:4])} failed: {said}")


def _output(command: Sequence[str]) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
