"""``pbx-stir check`` on advertisements, ENUM, and CPSs where nothing is sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.companies import Authority
from pbx_stir import config
from pbx_stir.checks import plan
from pbx_stir.cps.bare import ANY, BareSettings
from pbx_stir.cps.listening import listening_bare
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.stir.advertisement import Advertisement
from tests.checks.setups import codes, files_of, looked


def load(folder: Path, text: str) -> config.Loaded:
    """A configuration with an anchor."""
    Authority.new(folder, "Lab Authority")
    file = folder / "pbx-stir.toml"
    file.write_text(f'state_dir = "."\n[verification]\ntrust = ["lab-authority.pem"]\n{text}')
    return config.load(file)


def offline(folder: Path, text: str) -> set[str]:
    """The codes that files give."""
    return set(codes(files_of(load(folder, text))))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[[advertisement]]\nsource="http://a.example"', "advertisement-wrong"),
        ('[[advertisement]]\nsource="a"\nsigned_by="missing"', "advertisement-wrong"),
        ('[enum]\nsuffix="a b"', "enum-wrong"),
        ('[outgoing]\nbare_key="a"', "tls-certificate-wrong"),
        ('[[route]]\nprefix="1"\ncps=["https://a.example"]\nsealing="none"\n'
         '[publish]\ncps=["https://a.example"]\nnumbers=["+15"]', "route-wrong"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_code(tmp_path: Path, text: str, code: str) -> None:
    """What cannot be used is an error of its section."""
    assert code in offline(tmp_path, text)


@pytest.mark.parametrize(
    "text", ['[[advertisement]]\nsource="a"', '[enum]\nsuffix="a.b"\nnameservers=["192.0.2.1"]']
)
def test_advertisements_and_enum_are_ways_to_a_cps(tmp_path: Path, text: str) -> None:
    """Without a route calls may be signed all the same."""
    assert "no-route" in offline(tmp_path, "")
    assert "no-route" not in offline(tmp_path, text)


def test_numbers_may_be_served_unsealed_alone(tmp_path: Path) -> None:
    """Then no keys are published, and none are missed."""
    text = '[publish]\nnumbers=["+15"]\nbare_cps=["https://a.example"]'
    assert "not-published" not in offline(tmp_path, text)


async def online(folder: Path, text: str) -> list[str]:
    """The codes that asking gives."""
    return codes(await looked(plan.connections(load(folder, text))))


async def test_advertisements_that_cannot_be_had_are_said(tmp_path: Path) -> None:
    """Each source that gives none; one that does gives no finding."""
    (tmp_path / "good").write_bytes(Advertisement({"2-15": "https://a.example"}).encode())
    text = '[[advertisement]]\nsource="good"\nsigned_by="nobody"\n'
    assert await online(tmp_path, text) == []
    text += '[[advertisement]]\nsource="missing"\n[[advertisement]]\nsource="good"\n'
    assert await online(tmp_path, text) == ["advertisement-unusable"] * 2


async def test_cpss_of_unsealed_passports_are_named_and_asked(tmp_path: Path) -> None:
    """That nothing is sealed there is said, and whether it answers."""
    common = CpsSettings(port=0, tls=False)
    async with listening_bare(BareSettings(common, ANY, ANY)) as url:
        text = f"""
[outgoing]
plain_loopback = true
[[route]]
prefix = "1"
cps = ["{url}", "http://127.0.0.1:1"]
sealing = "none"
"""
        assert sorted(await online(tmp_path, text)) == ["cps-unreachable", "unsealed", "unsealed"]
    assert await online(tmp_path, '[enum]\nsuffix="a.b"') == []
    assert await online(tmp_path, '[[advertisement]]\nsource="http://x"') == []
