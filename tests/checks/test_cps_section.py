"""``[cps]``: the files, names and trust of a call placement service of our own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.companies import Authority, tls_certificate
from lab.processes import Service
from lab.stage import free_port
from pbx_stir import config
from pbx_stir.checks import plan
from pbx_stir.checks.cps_section import check_cps_running
from pbx_stir.cli.cps_signals import check_cps
from pbx_stir.errors import ConfigurationError
from tests.checks.setups import DAY, NOW, codes, files_of, looked

HEALTHY = """
state_dir = "state"
[cps]
listen = "127.0.0.1:{port}"
certificate = "cps.pem"
key = "cps.key"
names = ["cps.example.net", "192.0.2.7"]
trust = ["lab-authority.pem"]
"""


class CpsSetup:
    """A CPS's configuration that is healthy, until a test breaks it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        Authority.new(folder, "Lab Authority")
        tls_certificate(folder, "cps", ["cps.example.net", "192.0.2.7", "127.0.0.1"])
        self.file = folder / "cps.toml"
        self.text = HEALTHY.format(port=free_port())

    def load(self, old: str = "", new: str = "") -> config.Loaded:
        """The configuration, changed."""
        assert old in self.text
        self.file.write_text(self.text.replace(old, new, 1))
        return config.load(self.file)

    def offline(self, old: str = "", new: str = "", *, now: float = NOW) -> list[str]:
        """The codes that its files give."""
        return codes(files_of(self.load(old, new), now))


@pytest.fixture
def cps(tmp_path: Path) -> CpsSetup:
    """A healthy one."""
    return CpsSetup(tmp_path)


def test_a_healthy_cps_has_no_findings(cps: CpsSetup) -> None:
    """Nor does anybody miss a PBX; nothing is made by looking."""
    assert cps.offline() == []
    assert not (cps.folder / "state").exists()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("127.0.0.1:", "127.0.0.1", "cps-wrong"),
        ('"192.0.2.7"', '"https://x"', "cps-wrong"),
        ('certificate = "cps.pem"', "", "cps-tls-missing"),
        ('certificate = "cps.pem"\nkey = "cps.key"', "tls = false", ""),
        ('listen = "127.0.0.1', 'tls = false\nlisten = "0.0.0.0', "cps-tls-missing"),
        ('"cps.pem"', '"none.pem"', "cps-tls-wrong"),
        ('"cps.key"', '"none.key"', "cps-tls-wrong"),
        ('"192.0.2.7"', '"192.0.2.8"', "cps-name-missing"),
        ('"192.0.2.7"', '"www.example.net"', "cps-name-missing"),
        ('trust = ["lab-authority.pem"]', "", "cps-trust-missing"),
        ('"lab-authority.pem"', '"none.pem"', "cps-trust-wrong"),
        ('"lab-authority.pem"', '"cps.pem"', "anchor-not-authority"),
        ("[cps]", '[cps]\ncrls = ["https://a.example/a.crl"]', "cps-trust-wrong"),
        ("[cps]", '[cps]\ncrls = ["none.crl"]', "cps-trust-wrong"),
        ('"state"', '"cps.toml/state"', "cps-state-dir"),
        ("[cps]", '[cps]\nmetrics = "nowhere"', "metrics-wrong"),
        ("[cps]", '[cps]\nbare = { listen = "nowhere" }', "cps-wrong"),
        ("[cps]", '[cps]\nbare = { listen = "127.0.0.1:1", key = "x" }', "cps-tls-wrong"),
    ],
)
def test_each_mistake_has_its_code(cps: CpsSetup, old: str, new: str, code: str) -> None:
    """And no other, but for what the second listener shares with the first."""
    assert cps.offline(old, new) == ([code] if code else [])


def test_a_key_that_everybody_may_read(cps: CpsSetup) -> None:
    """As any other private key."""
    (cps.folder / "cps.key").chmod(0o644)
    assert cps.offline() == ["key-readable-by-all"]


@pytest.mark.parametrize(
    ("table", "package", "code"),
    [
        ('metrics = "127.0.0.1:1"', "prometheus_client", "metrics-wrong"),
        ('redis = { url = "redis://127.0.0.1:1" }', "redis", "redis-wrong"),
    ],
)
def test_a_package_that_is_missing(
    cps: CpsSetup, monkeypatch: pytest.MonkeyPatch, table: str, package: str, code: str
) -> None:
    """The CPS would not start; nothing is connected to for it."""
    assert cps.offline("[cps]", f"[cps]\n{table}") == []
    monkeypatch.setitem(sys.modules, package, None)
    loaded = cps.load("[cps]", f"[cps]\n{table}")
    [found] = files_of(loaded)
    assert (found.code, found.hint[:12]) == (code, "pip install ")
    with pytest.raises(ConfigurationError):
        check_cps(loaded)


def test_times(cps: CpsSetup) -> None:
    """A certificate for thirty days: a third of its life before its end, and after it."""
    found = [cps.offline(now=NOW + days * DAY) for days in (15, 21, 31)]
    assert [[one for one in each if one.startswith("cps")] for each in found] == [
        [],
        ["cps-certificate-expires"],
        ["cps-certificate-expired"],
    ]


async def test_a_cps_that_runs(cps: CpsSetup) -> None:
    """With the certificate that the file has; with an older one; and not at all."""
    loaded = cps.load()
    with Service("cps", ["cps", "--config", str(cps.file)], cps.folder) as service:
        service.wait_until(lambda: "listening on http" in service.said, "listening")
        assert await looked(plan.connections(loaded)) == []
        tls_certificate(cps.folder, "cps", ["127.0.0.1"])
        assert [one.code async for one in check_cps_running(loaded)] == ["cps-certificate-stale"]
    assert [one.code async for one in check_cps_running(loaded)] == ["cps-not-running"]
