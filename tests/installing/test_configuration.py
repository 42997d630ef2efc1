"""Configurations to start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.installing.configuration import (
    ASTERISK,
    FREESWITCH,
    Pbx,
    cps_configuration,
    starting_configuration,
)
from pbx_stir.installing.wishes import Wishes

FILE = Path("file.pem")


@pytest.mark.parametrize("pbx", [ASTERISK, FREESWITCH])
@pytest.mark.parametrize("with_cps", [False, True])
@pytest.mark.parametrize("numbers", [(), ("+12125551200-+12125551299", "+44207*", "15551230000")])
@pytest.mark.parametrize("file", [None, FILE])
def test_each_loads(
    tmp_path: Path, pbx: Pbx, with_cps: bool, numbers: tuple[str, ...], file: Path | None
) -> None:
    """Whatever is known, the file is one that loads, and says what is known."""
    wishes = Wishes(
        trunks=("a", "b"),
        numbers=numbers,
        certificate=file,
        key=file,
        trust=(FILE,) if file else (),
        with_cps=with_cps,
    )
    path = tmp_path / "pbx-stir.toml"
    path.write_text(starting_configuration(wishes, pbx))
    values = config.load(path).values
    assert [one.name for one in values.trunk] == ["a", "b"]
    assert values.trunk[0].numbers == numbers
    assert bool(values.credential) == bool(values.verification.trust) == (file is not None)
    assert bool(values.asterisk) == (pbx is ASTERISK)
    assert values.outgoing.plain_loopback == with_cps
    if with_cps and numbers:
        assert [route.prefix for route in values.route] == ["+121255512", "+44207", "15551230000"]
    path.write_text(cps_configuration(wishes))
    cps = config.load(path).values.cps
    assert (cps.listen, cps.tls, cps.tokens) == ("127.0.0.1:8480", False, False)
