"""A whole service that subscribes and makes cover, between a PBX and a CPS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench import parts
from bench.manager import Manager
from lab.companies import Authority, Company, tls_certificate
from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import MemoryStore

COVER = """
[cover]
stores_per_hour = 3600.0
numbers = ["+12125550007"]
"""
CALLER, CALLED, COVERED = "12125550001", "12125550002", "12125550007"


@contextlib.asynccontextmanager
async def cps(folder: Path, authority: Authority) -> AsyncIterator[tuple[str, MemoryStore, Path]]:
    """A CPS over TLS that gives what is stored to holders alone."""
    certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
    settings = CpsSettings(
        port=0,
        certificate=str(certificate),
        key=str(key),
        tokens=False,
        anchors=AnchorFiles([str(authority.anchor)]).current,
        retrieval="holders",
    )
    store = settings.new_store()
    async with listening(settings, store) as url:
        yield url, store, ca


async def test_calls_pass_from_what_is_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configured so, a call is verified without its CPS being asked, while dummies are stored."""
    authority = Authority.new(tmp_path, "Lab")
    company = Company("company", "12125550000", 10, tmp_path / "company")
    asked: list[str] = []
    retrieve = CpsClient.retrieve

    def noting(client: CpsClient, wanted: list[tuple[str, str]], give_up_at: float) -> object:
        asked.extend(number for _, number in wanted)
        return retrieve(client, wanted, give_up_at)

    monkeypatch.setattr(CpsClient, "retrieve", noting)
    async with cps(tmp_path, authority) as (url, store, ca), Manager("pbx") as pbx:
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[pbx],
            more=COVER,
        )
        text = company.config.read_text()
        subscribed = text.replace("[publish]\n", '[publish]\nretrieve = "subscribed"\n')
        company.config.write_text(subscribed)
        async with parts.listening(company.config), asyncio.timeout(60):
            await pbx.heard.wait()
            # before that a call would find no key, which is remembered for up to a minute
            await published(url, ca)
            # the subscription stands a moment after the start
            while True:
                asked.clear()
                if await verdict(pbx) == "verified" and not asked:
                    break
                await asyncio.sleep(0.2)
            while not await store.entries(COVERED, time.monotonic()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def published(url: str, ca: Path) -> None:
    """Return once the CPS has our record."""
    client = CpsClient(tls=ssl.create_default_context(cafile=str(ca)))
    try:
        while not await client.get_records(url, CALLED, time.monotonic() + 5):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    finally:
        await client.close()


async def verdict(pbx: Manager) -> str:
    """What a call from a number of ours to another one is told."""
    out = await pbx.announce("out", "carrier", CALLER, f"+{CALLED}")
    if out.status != "stored":
        return out.reason
    return (await pbx.announce("in", "carrier", f"+{CALLER}", CALLED)).reason
