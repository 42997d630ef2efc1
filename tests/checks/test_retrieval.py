"""``pbx-stir check`` tries signed retrievals and subscriptions as the service will."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.companies import Authority, Company
from pbx_stir import config
from pbx_stir.checks.retrieval import check_retrieval
from tests.checks.setups import Manager, files_of
from tests.cli.conftest import Cps, Office


def company(office: Office, folder: Path, cps: Cps, publish: str, authority: Authority) -> Path:
    """A company's configuration that gets its PASSporTs in the way named."""
    one = Company("acme", "12125559900", 100, folder / "acme")
    one.configure(
        authority=authority,
        trust=office.authority.anchor,
        cps=cps[1],
        cps_ca=Path(cps[3]),
        routes=["1"],
        pbxs=[Manager()],
    )
    text = one.config.read_text().replace("[publish]\n", f"[publish]\n{publish}\n")
    one.config.write_text(text)
    return one.config


async def codes(path: Path) -> list[str]:
    return [one.code async for one in check_retrieval(config.load(path))]


@pytest.mark.parametrize("way", ["open", "signed", "subscribed"])
async def test_what_the_cps_takes_is_no_finding(
    office: Office, tmp_path: Path, secure: Cps, way: str
) -> None:
    """A CPS that trusts our authority gives us what we ask for."""
    path = company(office, tmp_path, secure, f'retrieve = "{way}"', office.authority)
    assert await codes(path) == []


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("open", []),
        ("signed", ["retrieval-refused"]),
        ("subscribed", ["retrieval-refused", "subscription-refused"]),
    ],
)
async def test_an_authority_that_the_cps_does_not_know(
    office: Office, tmp_path: Path, secure: Cps, way: str, found: list[str]
) -> None:
    """A signature that the CPS refuses is found before calls fail of it."""
    other = Authority.new(tmp_path, "Unknown Authority")
    path = company(office, tmp_path, secure, f'retrieve = "{way}"', other)
    assert await codes(path) == found


def test_cover_without_numbers_is_found_offline(
    office: Office, tmp_path: Path, secure: Cps
) -> None:
    """What is wrong with ``[cover]`` and ``[publish]`` has codes of its own."""
    path = company(office, tmp_path, secure, "", office.authority)
    path.write_text(path.read_text() + "\n[cover]\nstores_per_hour = 1.0\n")
    found = [one.code for one in files_of(config.load(path))]
    assert "cover-wrong" in found
