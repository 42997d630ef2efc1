"""A renewed certificate is taken up without a restart."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from pbx_stir.cps.listening import listening
from pbx_stir.cps.server_tls import ServerTls
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError

from .conftest import TlsFiles, new_tls_files


async def shown(port: int) -> bytes:
    """The certificate that a server shows to a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(certificate)


async def test_new_handshakes_use_the_new_certificate(tls_files: TlsFiles, tmp_path: Path) -> None:
    """After a reload; connections that stand go on, and half-written files change nothing."""
    other = new_tls_files(tmp_path / "other")
    renewed = ssl.PEM_cert_to_DER_cert(Path(other.certificate).read_text())  # noqa: ASYNC240
    certificate, key = tmp_path / "cps.pem", tmp_path / "cps.key"
    shutil.copy(tls_files.certificate, certificate)
    shutil.copy(tls_files.key, key)
    settings = CpsSettings(port=0, certificate=str(certificate), key=str(key), tokens=False)
    tls = ServerTls(settings)
    async with listening(settings, tls=tls) as url:
        port = int(url.rpartition(":")[2])
        old = await shown(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls_files.trusting)
        # the certificate is there, its key not yet
        shutil.copy(other.certificate, certificate)
        with pytest.raises(ConfigurationError, match="key"):
            tls.reload()
        assert await shown(port) == old
        shutil.copy(other.key, key)
        tls.reload()
        assert old != renewed == await shown(port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


def test_plain_http_has_no_context() -> None:
    """On loopback; reading nothing again is no mistake."""
    tls = ServerTls(CpsSettings(tls=False))
    tls.reload()
    assert tls.current() is None
    with pytest.raises(ConfigurationError, match="without tls"):
        ServerTls(CpsSettings(tls=False, host="192.0.2.1"))
