"""The whole service on a real Asterisk, with a call placement service that takes its time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.companies import Authority, Company, tls_certificate
from lab.processes import Service
from tests.pbx.scene import Caller

pytestmark = pytest.mark.pbx

CALLS = 300
TRUNK = '[[trunk]]\nname = "on-1"\ncountry_code = "1"'


SLOW_CPS = """
import asyncio, ssl, sys
from aiohttp import web

async def answer(request):
    await asyncio.sleep(float(sys.argv[3]))
    return web.json_response({"ppts": []})

async def serve():
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(serve())
"""


@contextmanager
def slow_cps(folder: Path, seconds: float) -> Iterator[tuple[str, Path]]:
    """A CPS over TLS that answers each retrieval after so many seconds; its URL and its CA."""
    certificate, key, authority = tls_certificate(folder, "cps", ["127.0.0.1"])
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_CPS, str(certificate), str(key), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"https://127.0.0.1:{int(process.stdout.readline())}", authority
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_300_holds_against_a_cps_that_takes_a_second(caller: Caller, tmp_path: Path) -> None:
    """300 calls, as fast as Asterisk opens them, wait for one slow CPS at the same time."""
    authority = Authority.new(tmp_path, "Lab")
    company = Company("company-b", "16465550100", 100, tmp_path / "b")
    with slow_cps(tmp_path, 1.0) as (url, ca):
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[caller.instance],
            more=TRUNK,
        )
        with Service("listener", ["run", "--config", str(company.config)], tmp_path):
            await eventually_heard(caller)
            # the machine may be slow, too: Asterisk alone takes two seconds of it for 300 calls
            await caller.set_global("STIR_BUDGET_on-1", "8000")
            began = time.monotonic()
            tags = await asyncio.gather(*(caller.place("in", "16465550100") for _ in range(CALLS)))
            opened = time.monotonic() - began
            seen = [await caller.seen(tag) for tag in tags]
    assert opened < 2.0
    assert Counter(each["Reason"] for each in seen) == {"no-passport": CALLS}
    assert {each["Verstat"] for each in seen} == {"No-TN-Validation"}
    assert all(1000 <= int(each["Ms"]) < 8050 for each in seen)
    assert (company.folder / "calls.jsonl").read_text().count('"reason":"no-passport"') == CALLS


async def eventually_heard(caller: Caller) -> None:
    """Return once the dialplan knows that somebody listens."""
    give_up_at = time.monotonic() + 10
    while not await caller.get_global("STIR_HEARTBEAT"):
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0.05)
