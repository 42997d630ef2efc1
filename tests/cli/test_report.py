"""``pbx-stir report``: a number's holder tells a CPS of bogus entries; nobody else can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.companies import tls_certificate
from pbx_stir.cli.main import main
from tests.cli.conftest import ALICE, BOB, Office, running

ID = "C8hG3pTtEEpRzCw1ezMBWA"


@pytest.fixture(scope="module")
def cps(tmp_path_factory: pytest.TempPathFactory, office: Office) -> Iterator[tuple[str, Path]]:
    """A CPS with tokens, and the CA of its certificate."""
    folder = tmp_path_factory.mktemp("cps")
    certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
    config = folder / "cps.toml"
    config.write_text(
        f'state_dir = "state"\n[cps]\ntrust = ["{office.trust}"]\n'
        f'certificate = "{certificate.name}"\nkey = "{key.name}"\n'
    )
    for url in running(["--config", str(config)], folder):
        yield url, ca


@pytest.fixture
def config(office: Office, tmp_path: Path) -> str:
    """Alice's configuration."""
    path = tmp_path / "pbx-stir.toml"
    path.write_text(
        f'state_dir = "{tmp_path}/state"\n[[credential]]\n'
        f'certificate = "{office.file("alice.pem")}"\nkey = "{office.file("alice.key")}"\n'
        'x5u = "https://certificates.example.com/alice.pem"\n'
    )
    return str(path)


def report(cps: tuple[str, Path], config: str, dest: str, *ids: str) -> int:
    """Exit status."""
    given = ["--cps", cps[0], "--tls-ca", str(cps[1]), "--dest", dest, "--config", config]
    try:
        return main(["report", *given, *ids])
    except SystemExit as end:
        return int(str(end.code))


def test_a_holder_reports(
    cps: tuple[str, Path], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The CPS takes it, whatever the ids are of, and nothing is said."""
    assert report(cps, config, ALICE, ID, "A" * 22) == 0
    assert capsys.readouterr() == ("", "")


def test_nobody_reports_for_others(
    cps: tuple[str, Path], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number that no credential covers is not even asked for."""
    assert report(cps, config, BOB, ID) == 1
    assert f"no credential covers {BOB}" in capsys.readouterr().err


@pytest.mark.parametrize("ids", [(), ("x",), ("../../x",), tuple(f"{n:022d}" for n in range(65))])
def test_what_is_no_entry_is_wrong_use(
    cps: tuple[str, Path], config: str, ids: tuple[str, ...]
) -> None:
    """Ids of another form, none at all or too many: exit status 2."""
    assert report(cps, config, ALICE, *ids) == 2


def test_a_cps_that_is_not_there_is_said(
    cps: tuple[str, Path], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, and why."""
    assert report(("https://127.0.0.1:9", cps[1]), config, ALICE, ID) == 1
    assert "pbx-stir report:" in capsys.readouterr().err
