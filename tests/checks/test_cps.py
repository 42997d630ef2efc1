"""CPSs that are named: health, clock, records."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.checks.cps import check_cps, check_records, every_cps
from pbx_stir.checks.finding import Finding
from pbx_stir.cps.client import CpsClient
from tests.checks.setups import Setup
from tests.cli.conftest import Cps


async def records(setup: Setup) -> list[Finding]:
    """What is found of our records."""
    return [one async for one in check_records(setup.loaded)]


async def at(setup: Setup) -> list[Finding]:
    """What is found at the one CPS."""
    [cps] = every_cps(setup.loaded)
    return [one async for one in check_cps(setup.loaded, cps)]


async def test_a_cps_that_is_not_there(setup: Setup, secure: Cps) -> None:
    """It is unreachable, and that is all there is to say."""
    text = setup.company.config.read_text()
    setup.company.config.write_text(text.replace(secure[1], "https://127.0.0.1:1"))
    assert [one.code for one in await at(setup)] == ["cps-unreachable"]
    assert await records(setup) == []


@pytest.mark.parametrize(("offset", "severity"), [(3.0, ""), (-9.0, "warning"), (99.0, "error")])
async def test_a_clock_that_is_wrong(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, offset: float, severity: str
) -> None:
    """Measured against the CPS's: PASSporTs live for a minute."""

    async def clock_offset(*_: object) -> float:
        return offset

    monkeypatch.setattr(CpsClient, "clock_offset", clock_offset)
    clocks = [one for one in await at(setup) if one.code == "clock"]
    assert [one.severity.value for one in clocks] == ([severity] if severity else [])


async def test_records_that_are_published(published: Setup) -> None:
    """With our keys: nothing to say; with those of another folder: others seal to nobody."""
    assert await records(published) == []
    (published.folder / "state/keys").rename(published.folder / "state/old")
    [one] = await records(published)
    assert (one.code, one.severity.value) == ("record-other-key", "error")


async def test_records_that_nobody_would_believe(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CPS has under our numbers is judged as others would."""
    [one] = await records(setup)
    assert (one.code, "there is none" in one.what) == ("record-missing", True)

    async def junk(*_: object) -> tuple[str, ...]:
        return ("junk",)

    monkeypatch.setattr(CpsClient, "get_records", junk)
    [one] = await records(setup)
    assert (one.code, "there is none" in one.what) == ("record-missing", False)


async def test_what_files_say_is_not_said_again(setup: Setup) -> None:
    """A wrong CA has one finding, whichever check meets it."""
    setup.change('\ntls_ca = "', '\ntls_ca = "/none')
    assert await at(setup) == []
    assert await records(setup) == []


def test_every_cps_once(setup: Setup, tmp_path: Path) -> None:
    """Those of our numbers and of sealed routes."""
    setup.append('\n[[route]]\nprefix = "+44"\ncps = ["https://b.example"]\n')
    setup.append('\n[[route]]\nprefix = "+45"\ncps = ["https://c.example"]\nsealing = "none"\n')
    assert [one[:12] for one in every_cps(setup.loaded)] == ["https://127.", "https://b.ex"]
