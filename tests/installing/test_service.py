"""The service's user, folders, units and secrets."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.errors import UsageError
from pbx_stir.installing.machine import Machine
from pbx_stir.installing.service import unit
from tests.installing.conftest import Site

UNITS = ("pbx-stir.service", "pbx-stir-cps.service")
NEEDS_SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: install Debian's systemd"
)
WORST_EXPOSURE = 1.5


def _settings(octets: bytes) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([A-Za-z]+)=(.*)$", octets.decode()))


@NEEDS_SYSTEMD
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    """``systemd-analyze verify`` is silent about each unit."""
    file = tmp_path / name
    file.write_bytes(unit(name, "/bin/true", ["ami.secret:/etc/pbx-stir/ami.secret"]))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    about_us = [line for line in done.stderr.splitlines() if "pbx-stir" in line]
    assert about_us == []


@NEEDS_SYSTEMD
@pytest.mark.parametrize("name", UNITS)
def test_little_is_exposed(tmp_path: Path, name: str) -> None:
    """``systemd-analyze security`` gives each unit a score of at most 1.5 of 10."""
    file = tmp_path / name
    file.write_bytes(unit(name, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    if score is None:
        pytest.skip("systemd-analyze security has no --offline: systemd 250 has")
    assert float(score[1]) <= WORST_EXPOSURE


@pytest.mark.parametrize("name", UNITS)
def test_the_units_fit_the_service(name: str) -> None:
    """They are ready when they say so, are watched, and reload by SIGHUP, on Debian 12 too."""
    settings = _settings(unit(name, "/bin/true"))
    assert settings["Type"] == "notify"
    assert settings["ExecReload"] == "/bin/sh -c 'kill -HUP \"$$MAINPID\"'"
    assert int(settings["WatchdogSec"]) >= 10
    assert settings["User"] == "pbx-stir"
    assert settings["StateDirectory"] == name.removesuffix(".service")


def test_the_unit_names_program_and_secret(site: Site) -> None:
    """The unit starts the program that installs it, and is handed the secret over."""
    site.install(with_cps=True)
    settings = _settings(site.read("/etc/systemd/system/pbx-stir.service"))
    assert settings["ExecStart"].startswith("/opt/pbx-stir/bin/pbx-stir run ")
    assert settings["LoadCredential"] == "ami.secret:/etc/pbx-stir/ami.secret"
    cps = _settings(site.read("/etc/systemd/system/pbx-stir-cps.service"))
    assert cps["ExecStart"].endswith("cps --config /etc/pbx-stir/cps.toml")
    # once there it stays, and is kept up
    assert not site.plan().changes


def test_without_systemd(site: Site) -> None:
    """No unit is written; what to run is said, and the service's group may read the secret."""
    site.machine.path("/etc/systemd/system").rmdir()
    plan = site.install(with_cps=True)
    assert not any(change.path.suffix == ".service" for change in plan.changes)
    assert any("pbx-stir run" in one for one in plan.left)
    assert site.machine.path("/etc/pbx-stir/ami.secret").stat().st_mode & 0o777 == 0o640
    assert site.machine.path("/var/lib/pbx-stir-cps").stat().st_mode & 0o777 == 0o700


def test_certificates_are_copied(site: Site, tmp_path: Path) -> None:
    """Certificate, key and anchors go to where the configuration says, the key for the group."""
    files = {name: tmp_path / name for name in ("example.pem", "example.key", "authority.pem")}
    for name, path in files.items():
        path.write_text(f"{name}\n")
    plan = site.install(
        trunks=("a",),
        numbers=("+12125551200",),
        certificate=files["example.pem"],
        key=files["example.key"],
        trust=(files["authority.pem"],),
    )
    loaded = config.load(site.machine.path("/etc/pbx-stir/pbx-stir.toml")).values
    (credential,) = loaded.credential
    assert site.read(credential.certificate) == b"example.pem\n"
    assert site.read(credential.key) == b"example.key\n"
    assert site.machine.path(credential.key).stat().st_mode & 0o777 == 0o640
    assert loaded.verification.trust == ("/etc/pbx-stir/anchors/*.pem",)
    assert site.read("/etc/pbx-stir/anchors/authority.pem") == b"authority.pem\n"
    assert not any("fill in" in one for one in plan.left)


def test_a_certificate_that_is_not_there(site: Site, tmp_path: Path) -> None:
    """A wrong path is told before anything is changed."""
    with pytest.raises(UsageError, match="no file"):
        site.plan(trust=(tmp_path / "none.pem",))


def test_a_certificate_that_is_not_there_later(site: Site, tmp_path: Path) -> None:
    """Nor is one passed over in silence where the configuration is there already."""
    site.install(trunks=("a",))
    with pytest.raises(UsageError, match="no file"):
        site.plan(certificate=tmp_path / "none.pem", key=tmp_path / "none.key")


def test_a_trunk_that_the_configuration_lacks(site: Site) -> None:
    """Its switches are written; its table, without which nothing is signed, is left to write."""
    site.install(trunks=("a",))
    plan = site.plan(trunks=("a", "b"), numbers=("+12125551200",), country_code="1")
    [told] = [one for one in plan.left if "[[trunk]]" in one]
    table = told.partition("\n\n")[2]
    assert tomllib.loads(table)["trunk"] == [
        {"name": "b", "country_code": "1", "numbers": ["+12125551200"]}
    ]
    site.put("/etc/pbx-stir/pbx-stir.toml", b"trunk = 1 # [[asterisk]]\n")
    assert not any("[[trunk]]" in one for one in site.plan(trunks=("b",)).left)


def test_an_upgrade_leaves_the_cps_running(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing but the program's place has changed: its entries would go with a restart."""
    monkeypatch.setattr(Machine, "here", property(lambda machine: True))
    monkeypatch.setattr(Machine, "has_systemd", property(lambda machine: True))
    site.install(trunks=("a",), with_cps=True)
    monkeypatch.setattr(Machine, "program", lambda machine: "/opt/pbx-stir-2/bin/pbx-stir")
    plan = site.plan()
    assert ("systemctl", "restart", "pbx-stir.service") in plan.after
    assert ("systemctl", "restart", "pbx-stir-cps.service") not in plan.after
    assert any("pbx-stir-cps.service runs on" in one for one in plan.left)


def test_a_configuration_that_is_there_stays(site: Site) -> None:
    """The administrator's configuration is never written to; what it lacks is said."""
    site.put("/etc/pbx-stir/pbx-stir.toml", b"# mine\n")
    plan = site.install(trunks=("a",), numbers=("+12125551200",))
    assert site.read("/etc/pbx-stir/pbx-stir.toml") == b"# mine\n"
    assert any("[[asterisk]]" in one for one in plan.left)
    assert any("--numbers" in one for one in plan.left)
