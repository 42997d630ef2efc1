"""Signing and verifying one token, beside secsipidx: over HTTP, and in a loop of the library."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ctypes.util
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import aiohttp
import msgspec

from bench import haystack, secsipidx
from bench.haystack import Haystack
from bench.latency import Latency
from bench.machine import Machine
from bench.tokens import X5U, Bench
from lab.companies import Authority, Company
from pbx_stir.stir import passport
from pbx_stir.stir.tnauthlist import TnAuthList

ROUNDS = 3


class Verify(msgspec.Struct, frozen=True):
    """All figures; ratios are ours over the peer's, None where there was no peer.

    ``nothing_http`` is what a request like a check takes that is answered without any work.
    """

    command: str
    machine: Machine
    sign_http: Latency
    check_http: Latency
    nothing_http: Latency
    sign_loop_ms: float
    check_loop_ms: float
    peer: secsipidx.Peer
    peer_sign_loop_ms: float | None
    ratios: dict[str, float | None]
    haystack: Haystack

    def as_json(self) -> bytes:
        """One JSON object, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def measure(calls: int, say: Callable[[str], None]) -> Verify:
    """Measure all, in a folder that is removed. Raises ValueError where a verdict is wrong."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return asyncio.run(_measure(Path(name), calls, say))


async def _measure(folder: Path, calls: int, say: Callable[[str], None]) -> Verify:
    authority = Authority.new(folder, "Bench")
    company = Company("company", "12125551200", 100, folder / "company")
    # an SPC: secsipidx signs shaken alone
    certificate, key = authority.issue(company.folder, company.name, TnAuthList(spcs=("1234",)))
    shutil.copy(certificate, folder / "company.pem")
    shutil.copy(key, folder / "company.key")
    shutil.copy(authority.anchor, folder / "anchor.pem")
    bench = Bench.of(folder)
    ours: list[tuple[Latency, Latency, Latency]] = []
    peers: list[secsipidx.Peer] = []
    with _front(folder) as url:
        # turn by turn, so that what else the machine does is shared fairly
        for turn in range(ROUNDS):
            say(f"round {turn + 1} of {ROUNDS}: ours and secsipidx over HTTP")
            ours.append(await _http(url, company, calls))
            peers.append(
                await secsipidx.measure(folder / f"peer-{turn}", authority, company, calls)
            )
    say("the library in a loop")
    token = passport.identity_header(_sign(bench, company.number(0), company.number(1)))
    sign_ms = _loop(lambda: _sign(bench, company.number(0), company.number(1)), calls)
    check_ms = await _check_loop(bench, token, company, calls)
    peer_ms = _peer_loop(folder, company, calls)
    say("a thousand foreign blobs")
    found = await haystack.measure(folder, company.number(0), company.number(1))
    sign, check, nothing = (Latency.of_rounds(rounds) for rounds in zip(*ours, strict=True))
    return Verify(
        command=f"scripts/bench verify --calls {calls}",
        machine=Machine.this(),
        sign_http=sign,
        check_http=check,
        nothing_http=nothing,
        sign_loop_ms=sign_ms,
        check_loop_ms=check_ms,
        peer=_median_peer(peers),
        peer_sign_loop_ms=peer_ms,
        ratios=_ratios(sign, check, nothing, sign_ms, peers, peer_ms),
        haystack=found,
    )


def _ratios(
    sign: Latency,
    check: Latency,
    nothing: Latency,
    sign_ms: float,
    peers: list[secsipidx.Peer],
    peer_ms: float | None,
) -> dict[str, float | None]:
    peer = _median_peer(peers)
    return {
        "check over HTTP": round(check.p50 / peer.check.p50, 2) if peer.check else None,
        "nothing over HTTP": round(nothing.p50 / peer.check.p50, 2) if peer.check else None,
        "sign over HTTP": round(sign.p50 / peer.sign.p50, 2) if peer.sign else None,
        "sign in a library loop": round(sign_ms / peer_ms, 2) if peer_ms else None,
    }


def _median_peer(peers: list[secsipidx.Peer]) -> secsipidx.Peer:
    signs = [one.sign for one in peers if one.sign is not None]
    checks = [one.check for one in peers if one.check is not None]
    if not signs or not checks:
        return peers[0]
    return msgspec.structs.replace(
        peers[0], sign=Latency.of_rounds(signs), check=Latency.of_rounds(checks)
    )


@contextlib.contextmanager
def _front(folder: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.http_front", str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


async def _http(url: str, company: Company, calls: int) -> tuple[Latency, Latency, Latency]:
    """Sign, check, and have nothing done."""
    signed, checked, idle = [], [], []
    async with aiohttp.ClientSession(trust_env=False) as session:

        async def post(path: str, body: str) -> tuple[str, float]:
            began = time.perf_counter()
            async with session.post(url + path, data=body) as response:
                answer = await response.text()
            return answer, time.perf_counter() - began

        for index in range(-min(calls, 50), calls):
            orig, dest = company.number(index % company.count), company.number(0)
            header, sign = await post("/sign", f"{orig},{dest}")
            said, check = await post("/check", f"{header}\n{orig}\n{dest}")
            _, nothing = await post("/nothing", f"{header}\n{orig}\n{dest}")
            if said != "verified":
                raise ValueError(f"our own token is {said}")
            if index >= 0:
                signed.append(sign)
                checked.append(check)
                idle.append(nothing)
    return Latency.of(signed), Latency.of(checked), Latency.of(idle)


def _sign(bench: Bench, orig: str, dest: str) -> passport.Passport:
    return passport.sign(
        orig=orig,
        dest=[dest],
        iat=int(time.time()),
        x5u=X5U,
        key=bench.key,
        attest="A",
        origid=str(uuid.uuid4()),
    )


def _loop(work: Callable[[], object], calls: int) -> float:
    """The median of ROUNDS rounds, in milliseconds each time."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - began) * 1000 / calls)
    return round(median(rounds), 4)


async def _check_loop(bench: Bench, header: str, company: Company, calls: int) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            if await bench.check(header, company.number(0), company.number(1)) != "verified":
                raise ValueError("our own token is not verified")
        rounds.append((time.perf_counter() - began) * 1000 / calls)
    return round(median(rounds), 4)


def _peer_loop(folder: Path, company: Company, calls: int) -> float | None:
    """secsipidx's own library, where it is installed (libsecsipid1)."""
    name = ctypes.util.find_library("secsipid")
    if name is None:
        return None
    sign = ctypes.CDLL(name).SecSIPIDGetIdentityPrvKey
    sign.argtypes = [ctypes.c_char_p] * 6 + [ctypes.POINTER(ctypes.c_char_p)]
    key = (folder / "company.key").read_bytes()
    numbers = company.number(0).encode(), company.number(1).encode()

    def one() -> None:
        found = ctypes.c_char_p()
        size = sign(
            *numbers, b"A", str(uuid.uuid4()).encode(), X5U.encode(), key, ctypes.byref(found)
        )
        if size <= 0:
            raise ValueError(f"libsecsipid says {size}")

    return _loop(one, calls)


def render(report: Verify) -> str:
    """The figures as text."""
    peer, found = report.peer, report.haystack
    lines = [
        f"command  {report.command}",
        f"machine  {report.machine.cpu}, {report.machine.cores} cores, Python "
        f"{report.machine.python}, load {report.machine.load[0]:g}; median of {ROUNDS} rounds",
        "",
        f"{'ms, p50 / p99':34}{'pbx_stir':>18}{'secsipidx ' + peer.version:>18}{'ratio':>8}",
    ]
    rows = (
        ("sign over HTTP", report.sign_http, peer.sign),
        ("check over HTTP", report.check_http, peer.check),
    )
    for name, mine, its in rows:
        theirs = f"{its.p50:.3f} / {its.p99:.3f}" if its else "-"
        own = f"{mine.p50:.3f} / {mine.p99:.3f}"
        lines.append(f"{name:34}{own:>18}{theirs:>18}{_ratio(report, name):>8}")
    name, idle = "nothing over HTTP", report.nothing_http
    own = f"{idle.p50:.3f} / {idle.p99:.3f}"
    lines.append(f"{name + ', beside its check':34}{own:>18}{'':>18}{_ratio(report, name):>8}")
    its_loop = f"{report.peer_sign_loop_ms:.3f}" if report.peer_sign_loop_ms else "-"
    name = "sign in a library loop"
    lines.append(f"{name:34}{report.sign_loop_ms:>18.3f}{its_loop:>18}{_ratio(report, name):>8}")
    lines.append(f"{'check in a library loop':34}{report.check_loop_ms:>18.3f}{'-':>18}{'':>8}")
    if peer.unavailable:
        lines.append(f"secsipidx not available: {peer.unavailable}")
    lines += [
        "Ours compares orig, dest, age and the certificate's authority for the number; secsipidx",
        "checks time and path of the certificate, the signature and the age.",
        "",
        f"{found.blobs} blobs of others and two of ours: first {found.first_ms:.1f} ms, again "
        f"{found.again_ms:.1f} ms; the event loop's longest pause {found.longest_pause_ms:.1f} ms",
    ]
    return "\n".join(lines)


def _ratio(report: Verify, name: str) -> str:
    ratio = report.ratios.get(name)
    return f"{ratio:.2f}" if ratio is not None else "-"
