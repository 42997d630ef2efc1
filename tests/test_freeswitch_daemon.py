"""A whole service with an Asterisk and a FreeSWITCH, doubles both, and a real CPS over TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench import parts
from bench.manager import Manager
from lab.companies import Authority, Company
from lab.event_socket import PASSWORD, EventSocketDouble
from tests.test_subscribed_daemon import cps

CALLER, CALLED = "12125550001", "12125550002"


async def answer(double: EventSocketDouble, **fields: str) -> list[str]:
    """What a call at the FreeSWITCH is answered: its fields."""
    listener = double.globals["stir_heartbeat"].partition(":")[0]
    before = len(double.answers)
    nonce = double.announce(listener, **fields)
    await double.until(lambda: len(double.answers) > before)
    said = double.answers[-1][1].split("|")
    assert said[0] == nonce
    return said[1:]


async def test_freeswitch_and_asterisk_behind_one_daemon(tmp_path: Path) -> None:
    """What leaves by the one is verified at the other, once; what came in is not signed."""
    authority = Authority.new(tmp_path, "Lab")
    company = Company("company", "12125550000", 10, tmp_path / "company")
    async with (
        cps(tmp_path, authority) as (url, _, ca),
        Manager("pbx") as asterisk,
        EventSocketDouble(late_seconds=0.02) as double,
    ):
        company.configure(
            authority=authority,
            trust=authority.anchor,
            cps=url,
            cps_ca=ca,
            routes=["1"],
            pbxs=[asterisk],
        )
        secret = company.folder / "fs.password"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        text = company.config.read_text().replace("[publish]\n", '[publish]\nretrieve = "signed"\n')
        text += f'\n[[freeswitch]]\nname = "fs"\nport = {double.port}\npassword_file = "{secret}"\n'
        company.config.write_text(text)
        async with parts.listening(company.config), asyncio.timeout(60):
            await asterisk.heard.wait()
            await double.until(lambda: ":" in double.globals.get("stir_heartbeat", ""))
            out = {"Dir": "out", "CameIn": "", "From": CALLER, "To": f"+{CALLED}", "Budget": "5000"}
            # keys are published a moment after the start
            while (await answer(double, **out))[0] != "stored":  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            into = await asterisk.announce("in", "carrier", f"+{CALLER}", CALLED)
            assert into.reason == "verified"
            assert (await asterisk.announce("out", "carrier", CALLER, CALLED)).status == "stored"
            back = {"From": f"+{CALLER}", "To": CALLED, "Budget": "5000"}
            assert (await answer(double, **back))[1:3] == ["TN-Validation-Passed", "verified"]
            assert (await answer(double, **back))[1:3] == ["No-TN-Validation", "replayed"]
            forwarded = await answer(double, **{**out, "CameIn": "carrier"})
            assert forwarded[:3] == ["skipped", "", "caller-not-allowed"]
