"""What the tests of checks share: a healthy set-up, alone and with a PBX."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.companies import tls_certificate
from tests.checks.setups import CertificateServer, Manager, Setup, healthy_pbx
from tests.cli.conftest import Cps, Office, office, plain, secure
from tests.pbx_room.fake_asterisk import FakeAsterisk

__all__ = ["office", "plain", "secure"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertificateServer]:
    """Where certificates are published."""
    folder = tmp_path_factory.mktemp("certificates")
    server = CertificateServer(*tls_certificate(folder, "certificates", ["127.0.0.1"]))
    yield server
    server.close()


@pytest.fixture
def setup(
    office: Office,
    tmp_path: Path,
    secure: Cps,
    certificates: CertificateServer,
    capsys: pytest.CaptureFixture[str],
) -> Setup:
    """A healthy set-up without its PBX."""
    made = Setup(office, tmp_path, secure, Manager(), certificates)
    capsys.readouterr()
    return made


@pytest.fixture
async def pbx() -> AsyncIterator[FakeAsterisk]:
    """A PBX that has our dialplan, switched on."""
    async with FakeAsterisk() as fake:
        yield healthy_pbx(fake)


@pytest.fixture
def online(
    office: Office,
    tmp_path: Path,
    secure: Cps,
    certificates: CertificateServer,
    pbx: FakeAsterisk,
) -> Setup:
    """A healthy set-up with its PBX and CPS, whose records are not published yet."""
    return Setup(office, tmp_path, secure, Manager(ami_port=pbx.port), certificates)


@pytest.fixture
def published(online: Setup, capsys: pytest.CaptureFixture[str]) -> Setup:
    """The same with its records published: nothing is wrong with it."""
    from pbx_stir.cli.main import main

    assert main(["keys", "publish", "--config", str(online.company.config)]) == 0
    capsys.readouterr()
    return online
