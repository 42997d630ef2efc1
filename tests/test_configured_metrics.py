"""Where metrics are given, and what they watch, as the configuration says; and after a reload."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from bench.manager import Manager
from lab.companies import Authority, Company
from lab.redis_servers import free_ports
from pbx_stir import config, configured_metrics, running
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError
from pbx_stir.used_database import UsedDatabase
from tests.monitoring.conftest import text_of

A, B = "https://a.example", "https://B.example:8443/x/"


def load(folder: Path, text: str) -> Loaded:
    """``text`` as a configuration file, loaded."""
    path = folder / "pbx-stir.toml"
    path.write_text(text)
    return config.load(path)


def test_metrics_are_given_where_that_is_said(tmp_path: Path) -> None:
    """Without ``listen`` nowhere; what is no address is named with its key."""
    assert configured_metrics.listen(load(tmp_path, "")) is None
    text = '[metrics]\nlisten = "[::1]:9464"\n'
    assert configured_metrics.listen(load(tmp_path, text)) == ("::1", 9464)
    with pytest.raises(ConfigurationError, match=r"metrics\.listen"):
        configured_metrics.listen(load(tmp_path, '[metrics]\nlisten = "9464"\n'))


async def test_cps_are_those_that_are_named(tmp_path: Path) -> None:
    """Of routes and of our records, each once, as they are written; tokens are found by them."""
    text = f"""
[[route]]
prefix = "+1"
cps = ["{A}", "{B}"]
[[route]]
prefix = "+2"
cps = ["{A}"]
[publish]
bare_cps = ["https://bare.example"]
"""
    loaded = load(tmp_path, text)
    assert configured_metrics.cps(loaded) == (A, B, "https://bare.example")

    @dataclass
    class FakeSupply:
        async def left(self) -> Mapping[str, int]:
            return {"https://b.example:8443/x": 3, "https://stranger.example": 4}

    left = configured_metrics.tokens(loaded, cast(Any, FakeSupply()))
    assert left is not None
    assert await left() == {B: 3}
    assert configured_metrics.tokens(loaded, None) is None


def test_redis_is_watched_where_it_is_used(tmp_path: Path) -> None:
    """Single use in a file has no Redis that could be lost."""
    used = UsedDatabase(tmp_path / "used.sqlite")
    assert configured_metrics.redis_up(load(tmp_path, ""), used) is None
    used.close()


def company(folder: Path, pbx: Manager, port: int) -> Company:
    """A company without a CPS, whose service gives metrics."""
    authority = Authority.new(folder, "Lab")
    made = Company("company", "12125550000", 10, folder / "company")
    made.configure(
        authority=authority,
        trust=authority.anchor,
        cps="https://127.0.0.1:9",
        cps_ca=authority.anchor,
        routes=[],
        pbxs=[pbx],
        tables=f'[metrics]\nlisten = "127.0.0.1:{port}"\n',
    )
    return made


async def test_counts_go_on_through_a_reload(tmp_path: Path) -> None:
    """A changed trunk, address or call log begins no counter anew, and the new one is counted."""
    first, second = free_ports(2)
    async with Manager("pbx") as pbx, asyncio.timeout(30):
        made = company(tmp_path, pbx, first)
        async with running.running(config.load(made.config)) as service:
            await pbx.heard.wait()
            await pbx.announce("in", "carrier", "+12125550001", "12125550002")
            assert 'trunk="carrier",verdict="No-TN-Validation"' in await told(first)
            text = made.config.read_text().replace('name = "carrier"', 'name = "other-carrier"')
            text = text.replace(f":{first}", f":{second}").replace("calls.jsonl", "new.jsonl")
            made.config.write_text(text)
            assert await service.reload()
            await pbx.announce("in", "other-carrier", "+12125550001", "12125550002")
            await pbx.announce("in", "carrier", "+12125550001", "12125550002")
            lines = (await told(second)).splitlines()
            await is_left(first)
    calls = [one for one in lines if re.match(r"pbx_stir_calls_total\{.* [1-9]", one)]
    assert len(calls) == 3
    assert {one.partition('trunk="')[2].partition('"')[0] for one in calls} == {
        "carrier",
        "other-carrier",
        "other",
    }


async def test_an_address_that_is_taken_is_a_mistake(tmp_path: Path) -> None:
    """At the start it is said; in a reload the configuration before stays in force."""
    first, second = free_ports(2)
    async with Manager("pbx") as pbx, asyncio.timeout(30):
        made = company(tmp_path, pbx, first)
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", second)
        async with taken, running.running(config.load(made.config)) as service:
            made.config.write_text(made.config.read_text().replace(f":{first}", f":{second}"))
            assert not await service.reload()
            assert "pbx_stir_build_info" in await told(first)
            with pytest.raises(ConfigurationError, match="metrics cannot listen"):
                async with running.running(config.load(made.config)):
                    pass


async def is_left(port: int) -> None:
    """Return once nobody listens there: the calls in hand at the reload are over."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.05)


async def told(port: int) -> str:
    """What is exposed there."""
    return await text_of(f"http://127.0.0.1:{port}/metrics")
