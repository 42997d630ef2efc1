"""Our certificate where others look for it."""

from __future__ import annotations

import pytest

from pbx_stir.checks.finding import Finding
from pbx_stir.checks.x5u import check_x5u
from tests.checks.setups import Setup


async def found(setup: Setup) -> list[Finding]:
    """What is found at the x5u of the one credential."""
    return [one async for one in check_x5u(setup.loaded, 0)]


async def test_our_certificate_is_there(setup: Setup) -> None:
    """At an address that the configuration names, whatever network it is in."""
    assert await found(setup) == []


@pytest.mark.parametrize(("table", "severity"), [("", "note"), ("in_band = true\n", "error")])
async def test_nothing_is_there(setup: Setup, table: str, severity: str) -> None:
    """Good to know while everything is sealed with its certificates, else an error."""
    setup.change('country_code = "1"\n', f'country_code = "1"\n{table}')
    setup.serve_nothing()
    [one] = await found(setup)
    assert (one.code, one.severity.value) == ("x5u-unreachable", severity)
    assert "404" in one.what


@pytest.mark.parametrize(("table", "severity"), [("", "warning"), ("in_band = true\n", "error")])
async def test_something_else_is_there(setup: Setup, table: str, severity: str) -> None:
    """Another certificate, or a page that says welcome."""
    setup.change('country_code = "1"\n', f'country_code = "1"\n{table}')
    for octets in (setup.office.authority.anchor.read_bytes(), b"<html>"):
        setup.serve(octets)
        [one] = await found(setup)
        assert (one.code, one.severity.value) == ("x5u-other-certificate", severity)


async def test_the_chain_is_missing(setup: Setup) -> None:
    """Whoever has the root alone finds no path to it."""
    whole, leaf = setup.certify_by_another()
    setup.serve(leaf)
    [one] = await found(setup)
    assert (one.code, one.severity.value) == ("x5u-chain-incomplete", "warning")
    setup.serve(whole)
    assert await found(setup) == []


async def test_a_credential_that_is_wrong_has_its_own_finding(setup: Setup) -> None:
    """Nothing is fetched then."""
    (setup.folder / "acme.key").unlink()
    setup.serve_nothing()
    assert await found(setup) == []


@pytest.mark.parametrize(("table", "codes"), [("", []), ("in_band = true\n", ["x5u-unreachable"])])
async def test_a_place_that_is_nowhere_on_purpose(
    setup: Setup, table: str, codes: list[str]
) -> None:
    """Nothing to do while everything is sealed with its certificates, else an error."""
    setup.change('country_code = "1"\n', f'country_code = "1"\n{table}')
    url = setup.loaded.values.credential[0].x5u
    setup.change(url, "https://our-group.invalid/acme.pem")
    assert [one.code for one in await found(setup)] == codes
