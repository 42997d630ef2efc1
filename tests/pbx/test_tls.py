"""AMI over TLS on real Asterisks."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import asterisk
from lab.companies import tls_certificate
from pbx_stir.errors import PbxUnavailable
from pbx_stir.pbx.ami import AmiConnection
from tests.pbx.scene import settings
from tests.pbx.software import software_of

pytestmark = pytest.mark.pbx


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def secured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asterisk.Instance, Path]]:
    """An Asterisk whose AMI has a certificate, and the CA of it."""
    software = software_of(str(request.param))
    folder = tmp_path_factory.mktemp("tls")
    pbx = asterisk.Instance(software, folder / "pbx", "secured")
    pbx.tls_certificate, pbx.tls_key, ca = tls_certificate(folder, "ami", [pbx.host])
    with pbx:
        yield pbx, ca


async def test_login_over_tls(secured: tuple[asterisk.Instance, Path]) -> None:
    """With its CA the PBX is trusted, logged in at, and asked."""
    pbx, ca = secured
    over_tls = replace(
        settings(pbx), port=pbx.ami_tls_port, tls=ssl.create_default_context(cafile=ca)
    )
    connection = await AmiConnection.open(over_tls, lambda message: None)
    assert (await connection.request("Ping")).response == "Success"
    await connection.close()


async def test_unknown_certificate_gets_no_secret(
    secured: tuple[asterisk.Instance, Path],
) -> None:
    """Without its CA, or under another name, nobody logs in."""
    pbx, ca = secured
    for tls, name in (
        (ssl.create_default_context(), None),
        (ssl.create_default_context(cafile=ca), "pbx.example"),
    ):
        over_tls = replace(settings(pbx), port=pbx.ami_tls_port, tls=tls, server_hostname=name)
        with pytest.raises(PbxUnavailable, match="certificate verify failed"):
            await AmiConnection.open(over_tls, lambda message: None)


async def test_tls_where_there_is_none_is_given_up(
    secured: tuple[asterisk.Instance, Path],
) -> None:
    """TLS spoken to the plain port ends with a sentence."""
    pbx, _ = secured
    wrong = replace(settings(pbx), tls=ssl.create_default_context())
    with pytest.raises(PbxUnavailable):
        await AmiConnection.open(wrong, lambda message: None, timeout_seconds=2)
