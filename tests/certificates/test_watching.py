"""Revocation as the daemon and the commands put it together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates.watching import watching
from pbx_stir.errors import CertificateRevoked, ConfigurationError, UrlRefused, UsageError
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.revocation import Status
from tests.stir import revoking
from tests.stir.conftest import DAY, Forge

FORGE = Forge()
NOW = time.time()
LASTS = {"not_before": NOW - 30 * DAY, "not_after": NOW + 30 * DAY}
TIMES: dict[str, Any] = {"this_update": NOW - 60, "next_update": NOW + DAY}
ROOT = FORGE.root(**LASTS)
LEAF = FORGE.leaf(ROOT, **LASTS)
PATH = revoking.path_of(LEAF, ROOT, now=NOW)
GONE = revoking.crl(ROOT, [LEAF.cert.serial_number], **TIMES)


def anchors() -> Anchors:
    """The one root."""
    return Anchors.of([ROOT.cert])


async def test_files_alone(tmp_path: Path) -> None:
    """Without fetching, a list in a file is believed and nothing else is asked for."""
    (tmp_path / "all.crl").write_bytes(GONE)
    watch, close = watching(
        anchors=anchors, policy="soft", crls=[f"{tmp_path}/all.crl"], fetch=False
    )
    with pytest.raises(CertificateRevoked):
        watch.check(PATH, NOW)
    assert not await watch.settle(time.monotonic() + 1)
    await close()


async def test_a_signer_for_lists_alone(tmp_path: Path) -> None:
    """An indirect list counts by the certificates in files of signers."""
    signer = FORGE.root("Policy", **LASTS)
    entry = revoking.entry(LEAF.cert.serial_number, issuer=ROOT.cert.subject)
    says = revoking.point(indirect_crl=True)
    pem = revoking.crl(signer, [entry], says=says, encoding=Encoding.PEM, **TIMES)
    (tmp_path / "all.crl").write_bytes(pem)
    (tmp_path / "policy.pem").write_bytes(signer.pem)
    for signers, expected in (((), Status.UNKNOWN), ((f"{tmp_path}/*.pem",), Status.REVOKED)):
        watch, close = watching(
            anchors=anchors, policy="soft", crls=[f"{tmp_path}/all.crl"], signers=signers
        )
        assert watch.status(PATH, NOW).status is expected
        await close()


async def test_places_of_certificates_are_fetched_from(raw_server: Any, tls: Any) -> None:
    """What a certificate names is fetched where it is allowed; one form of the URL, one fetch."""
    raw_server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GONE) + GONE
    origin = f"127.0.0.1:{raw_server.port}"
    leaf = FORGE.leaf(ROOT, extra=[revoking.at(f"https://{origin}/all.crl")], **LASTS)
    path = revoking.path_of(leaf, ROOT, now=NOW)
    with pytest.MonkeyPatch.context() as patch:
        # the server's certificate is not of an authority that the system knows
        patch.setattr(
            "pbx_stir.certificates.watching.ssl.create_default_context", lambda cafile: tls.client
        )
        watch, close = watching(anchors=anchors, policy="hard", allow=[origin], tls_ca="ca.pem")
    assert watch.status(path, NOW).status is Status.UNKNOWN
    assert await watch.settle(time.monotonic() + 10)
    assert watch.status(path, NOW).status is Status.GOOD
    await close()
    assert raw_server.connections == 1


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"crls": ["/nowhere/a.crl"]}, ConfigurationError),
        ({"signers": ["/nowhere/a.pem"]}, ConfigurationError),
        ({"crls": ["https://a.example.com/a?b"]}, UrlRefused),
        ({"crls": ["http://a.example.com:x/a"]}, UsageError),
        ({"allow": ["nowhere"]}, UsageError),
        ({"allow": ["a.example.com:1"], "tls_ca": "/nowhere/ca.pem"}, UsageError),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], kind: type[Exception]) -> None:
    """Files that are not there, URLs and origins that are none."""
    with pytest.raises(kind):
        watching(anchors=anchors, policy="soft", **options)


async def test_urls_of_the_configuration_may_be_anywhere(tls: Any) -> None:
    """A list on our own network may be named by the administrator."""
    watch, close = watching(
        anchors=anchors, policy="soft", crls=["HTTP://localhost:8080/all.crl", "https://[::1]/a"]
    )
    await close()
    assert len(watch._configured) == 2
