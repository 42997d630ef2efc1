"""What a service and a CPS really expose, after some calls."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bench import parts
from bench.manager import Manager
from lab.companies import Authority, Company, tls_certificate
from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.tally import Tally
from pbx_stir.metrics.exposing import serving
from pbx_stir.metrics.tally import TallySource
from tests.monitoring.promtool import promtool as found_promtool

CALLER, CALLED = "12125550001", "12125550002"
METRICS = '[metrics]\nlisten = "127.0.0.1:{port}"\n'


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The checker; a test that asks for it is skipped where there is none."""
    found = found_promtool()
    if isinstance(found, str):
        pytest.skip(found)
    return found


async def text_of(url: str) -> str:
    """What Prometheus would read."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.text()


async def exposed(folder: Path, port: int) -> tuple[str, str]:
    """The texts of a service with a PBX, which has subscribed and stored, and of its CPS."""
    authority = Authority.new(folder, "Lab")
    certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
    tally = Tally()
    # as the command adds it where there is a Redis
    tally.gauges["redis_up"] = lambda: 1.0
    settings = CpsSettings(
        port=0,
        certificate=str(certificate),
        key=str(key),
        state_dir=str(folder / "cps"),
        anchors=AnchorFiles([str(authority.anchor)]).current,
        retrieval="holders",
    )
    company = Company("company", CALLER[:-1] + "0", 10, folder / "company")
    async with (
        listening(settings, tally=tally) as url,
        serving("127.0.0.1", 0, TallySource(tally)) as cps_metrics,
        Manager("pbx") as pbx,
    ):
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[pbx],
            tables=METRICS.format(port=port),
        )
        text = company.config.read_text()
        subscribed = text.replace("[publish]\n", '[publish]\nretrieve = "subscribed"\n')
        company.config.write_text(subscribed)
        own_metrics = f"http://127.0.0.1:{port}/metrics"
        async with parts.listening(company.config), asyncio.timeout(60):
            await pbx.heard.wait()
            while True:
                await pbx.announce("out", "carrier", CALLER, f"+{CALLED}")
                await pbx.announce("in", "carrier", f"+{CALLER}", CALLED)
                own = await text_of(own_metrics)
                wanted = ("pbx_stir_tokens_left{", 'reason="verified"')
                if all(one in own for one in wanted):
                    return own, await text_of(cps_metrics)
                await asyncio.sleep(0.3)


def families(text: str) -> dict[str, Metric]:
    """Each sample's name and its family."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = family
    return found


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics that a PromQL expression reads, ours and the process's."""
    found = set(re.findall(r"\b(pbx_stir_[a-z_]+|process_[a-z_]+)\b", expression))
    return found - set(re.findall(r"[a-z]+:(pbx_stir_[a-z_]+):", expression))
