"""A CPS on Redis, as its clients see it: one or several processes, with Redis and without."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.redis_servers import RedisServer, running_redis
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError
from pbx_stir.redis_backend.settings import settings
from pbx_stir.redis_backend.sharing import sharing
from pbx_stir.stir import sealing

NUMBER = "12125551234"
TYPE = {"Content-Type": "application/passport"}


def sealed() -> bytes:
    """A sealed PASSporT's text on the wire, as far as a CPS can tell."""
    return sealing.to_wire(sealing.dummy(os.urandom(32)))


@contextlib.asynccontextmanager
async def cps(url: str) -> AsyncIterator[str]:
    """Run a CPS without tokens on a Redis."""
    patient = replace(settings(url), command_seconds=5.0)
    async with sharing(patient, lifetime_seconds=30, max_entries_of_a_number=61) as shared:
        chosen = CpsSettings(
            port=0, tls=False, tokens=False, ledger=shared.ledger, secrets=shared.secrets
        )
        async with listening(chosen, shared.store) as served:
            yield served


async def test_what_one_takes_the_other_gives(server: RedisServer, eventually: Any) -> None:
    """Two CPSs on one Redis are one CPS: the same entries, the same dummies, the same order."""
    wire = sealed()
    async with (
        cps(server.url) as one,
        cps(server.url) as other,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(f"{one}/cps/{NUMBER}/ppts", data=wire, headers=TYPE) as stored:
            assert stored.status == 201
            where = stored.headers["Location"]
        async with session.get(other + where) as found:
            assert await found.read() == wire

        async def listed(url: str) -> Any:
            async with session.get(f"{url}/cps/{NUMBER}/ppts?expand=1") as answer:
                assert answer.status == 200
                return await answer.json()

        async def same() -> bool:
            # A dummy may come or go between two questions, not between twenty.
            return bool(await listed(one) == await listed(other))

        await eventually(same)


async def test_without_redis_it_is_503_at_once_and_with_it_all_is_well(
    server: RedisServer, eventually: Any
) -> None:
    """Neither a list of dummies alone, which would say that nothing is stored, nor a wait."""
    async with cps(server.url) as url, aiohttp.ClientSession() as session:
        path = f"{url}/cps/{NUMBER}/ppts"

        async def status(method: str, data: bytes | None = None) -> int:
            async with session.request(method, path, data=data, headers=TYPE) as answer:
                if answer.status == 503:
                    assert answer.headers["Retry-After"]
                    assert answer.content_type == "application/problem+json"
                return answer.status

        assert await status("POST", sealed()) == 201
        server.kill()
        assert await status("GET") == 503
        began = time.monotonic()
        for _ in range(50):
            assert await status("GET") == 503
            assert await status("POST", sealed()) == 503
        assert time.monotonic() - began < 5
        async with session.get(f"{url}/health") as health:
            assert health.status == 200
        server.start()

        async def is_well() -> bool:
            return await status("POST", sealed()) == 201 and await status("GET") == 200

        await eventually(is_well)


async def test_a_cps_starts_without_redis(redis_installed: None, tmp_path: Path) -> None:
    """After a power failure nothing has to be started in an order, or twice."""
    server = RedisServer(tmp_path)
    try:
        async with cps(server.url) as url, aiohttp.ClientSession() as session:
            path = f"{url}/cps/{NUMBER}/ppts"
            async with session.get(path) as answer:
                assert answer.status == 503
            server.start()
            async with asyncio.timeout(15):
                while True:
                    async with session.get(path) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
    finally:
        server.kill()


async def test_a_wrong_password_ends_the_start(redis_installed: None, tmp_path: Path) -> None:
    """It would never come right by itself."""
    with running_redis(tmp_path, ("requirepass", "right")) as server:
        starting = cps(server.url)
        with pytest.raises(ConfigurationError, match="refuses"):
            await starting.__aenter__()


@contextlib.contextmanager
def process(folder: Path, redis: str, workers: int) -> Iterator[str]:
    """Run ``pbx-stir cps`` with so many workers; gives its URL."""
    file = folder / "cps.toml"
    file.write_text(
        f'state_dir = "{folder}"\n[cps]\nlisten = "127.0.0.1:0"\ntls = false\ntokens = false\n'
        f'workers = {workers}\n[cps.redis]\nurl = "{redis}"\n'
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "pbx_stir", "cps", "--config", str(file)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    try:
        said = ""
        while not said.startswith("listening on "):
            said = started.stderr.readline()
            assert said, "it ended without listening"
        yield said.split()[-1]
        started.terminate()
        assert started.wait(20) == 0
    finally:
        started.kill()
        started.wait()
        started.stderr.close()


async def test_workers_are_one_cps(server: RedisServer, tmp_path: Path) -> None:
    """Whichever of them a connection comes to: what is stored is found, and a signal ends all."""
    with process(tmp_path, server.url, 3) as url:
        path = f"{url}/cps/{NUMBER}/ppts"
        stored = set()
        while len(stored) < 12:
            # A connection of its own each time: the kernel chooses the worker anew.
            async with (
                aiohttp.ClientSession() as session,
                session.post(path, data=sealed(), headers=TYPE) as answer,
            ):
                # 503 is a machine that is too busy for Redis to answer in time.
                assert answer.status in {201, 503}
                if answer.status == 201:
                    stored.add(answer.headers["Location"])
        found = 0
        while found < 12:
            async with aiohttp.ClientSession() as session, session.get(path) as answer:
                assert answer.status in {200, 503}
                if answer.status == 200:
                    assert stored <= set(json.loads(await answer.read())["ppts"])
                    found += 1
