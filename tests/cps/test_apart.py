"""Tests of pbx_stir.cps.apart: stores and retrievals that meet on no connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

from pbx_stir.cps.apart import Apart
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing

from .other_cps import http

NUMBER = "12125551234"


async def test_stores_and_retrievals_never_meet() -> None:
    """However they alternate, a connection carries stores and looks at the health, or retrievals;
    never both."""
    methods: list[set[str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: set[str] = set()
        methods.append(mine)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                is_store = head.startswith("POST")
                mine.add("store" if is_store else "health" if "/health" in head else "retrieval")
                writer.write(http(b"", "201 Created") if is_store else http(b'{"ppts":[]}'))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    storing, retrieving = CpsClient(allow_plain=True), CpsClient(allow_plain=True)
    apart = Apart(storing=storing, retrieving=retrieving)
    placement = GuardedPlacement(apart)
    async with server:
        for _ in range(3):
            give_up_at = time.monotonic() + 5
            blob = sealing.dummy(os.urandom(32))
            [result] = await placement.store([url], NUMBER, [blob], give_up_at)
            assert result.reason is Reason.STORED
            answers = [one async for one in placement.retrieve([(url, NUMBER)], give_up_at)]
            assert [one.reason for one in answers] == [None]
            await apart.clock_offset(url, give_up_at)
        for each in (placement, storing, retrieving):
            await each.close()
        await asyncio.sleep(0)
    assert sorted(map(sorted, methods)) == [["health", "store"], ["retrieval"]]
