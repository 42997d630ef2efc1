"""Tests of pbx_stir.cps.client_certificates: STIR certificates in real TLS handshakes."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.cps.client_certificates import shown_certificates
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import HOLDERS, CpsSettings
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

from .conftest import NOW, Authority, TlsFiles, private_pem, sealed
from .signing import Asker, authorization

NUMBER = "12125551234"
PATH = f"/cps/{NUMBER}/ppts"
BULK = "/cps/1212*/ppts"


class Chain:
    """A leaf under an authority under a root, and its files for a TLS client."""

    def __init__(self, folder: Path, version: ssl.TLSVersion, *, critical: bool) -> None:
        root, root_key = issuing.new_root("Root", NOW - 10, 30)
        key, leaf_key = issuing.new_key(), issuing.new_key()
        middle = issuing.issue_ca(root, root_key, key.public_key(), "Middle", NOW - 10, 30)
        leaf = issuing.issue_leaf(
            middle, key, leaf_key.public_key(), "Leaf", TnAuthList(numbers=(NUMBER,)), NOW - 10, 9
        )
        if critical:
            leaf = _with_critical_list(leaf, key)
        self.anchors = Anchors.of([root])
        (folder / "chain.pem").write_bytes(
            b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, middle))
        )
        (folder / "key.pem").write_bytes(private_pem(leaf_key))
        self._files = str(folder / "chain.pem"), str(folder / "key.pem")
        self._version = version

    def show(self, files: TlsFiles) -> ssl.SSLContext:
        """A client's context that shows the chain."""
        context = ssl.create_default_context(cafile=files.certificate)
        context.minimum_version = context.maximum_version = self._version
        context.load_cert_chain(*self._files)
        return context


def _with_critical_list(
    leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The same leaf, its TNAuthList marked critical, as some authorities do."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer)
        .public_key(leaf.public_key())  # type: ignore[arg-type]
        .serial_number(leaf.serial_number)
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
    )
    for each in leaf.extensions:
        builder = builder.add_extension(
            each.value, critical=each.critical or each.oid == OID_TN_AUTH_LIST
        )
    return builder.sign(key, hashes.SHA256())


def asking(files: TlsFiles, anchors: Anchors) -> CpsSettings:
    """Settings of a CPS that asks for certificates."""
    return CpsSettings(
        port=0,
        certificate=files.certificate,
        key=files.key,
        tokens=False,
        retrieval=HOLDERS,
        client_certificates=True,
        anchors=lambda: anchors,
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("critical", [False, True])
async def test_a_certificate_is_enough(
    tls_files: TlsFiles, tmp_path: Path, version: ssl.TLSVersion, critical: bool
) -> None:
    """The holder's chain in the handshake counts as a signature, its list critical or not."""
    chain = Chain(tmp_path, version, critical=critical)
    settings = asking(tls_files, chain.anchors)
    store = settings.new_store()
    async with listening(settings, store, lambda: NOW) as url:
        for _ in range(2):
            async with Asker(url, tls=chain.show(tls_files)) as asker:
                entry = await store.add(NUMBER, sealed(), time.monotonic())
                assert entry in (await asker.ask(PATH))[2].decode()
                assert (await asker.ask(BULK))[0] == 200
                asked = {"Accept": "text/event-stream"}
                assert (await asker.ask("/cps/16465550000/ppts", **asked))[0] == 401
                async with asker.stream(PATH) as stream:
                    await stream.until(entry)


async def test_without_one_all_goes_on(tls_files: TlsFiles, authority: Authority) -> None:
    """Who shows none is nobody, and may sign; a signature that does not hold is not made good."""
    company = authority.credential(NUMBER)
    async with listening(asking(tls_files, authority.anchors), now=lambda: NOW) as url:
        async with Asker(url, tls=tls_files.trusting) as nobody:
            assert (await nobody.ask(BULK))[0] == 401
            assert (await nobody.ask(PATH))[0] == 200
        async with Asker(url, company, tls_files.trusting) as signing:
            assert (await signing.ask(BULK))[0] == 200


async def test_a_bad_signature_outweighs_a_good_certificate(
    tls_files: TlsFiles, tmp_path: Path
) -> None:
    """Where a request is signed, the signature decides alone."""
    chain = Chain(tmp_path, ssl.TLSVersion.TLSv1_3, critical=False)
    stranger = Authority().credential(NUMBER)
    async with (
        listening(asking(tls_files, chain.anchors), now=lambda: NOW) as url,
        Asker(url, tls=chain.show(tls_files)) as asker,
    ):
        signed = authorization(stranger, PATH)
        assert (await asker.ask(PATH, Authorization=signed))[0] == 401


async def test_a_stranger_s_certificate_ends_the_handshake(
    tls_files: TlsFiles, tmp_path: Path, authority: Authority
) -> None:
    """What is not under the anchors is no holder's; nobody else notices."""
    chain = Chain(tmp_path, ssl.TLSVersion.TLSv1_2, critical=False)
    async with listening(asking(tls_files, authority.anchors), now=lambda: NOW) as url:
        async with Asker(url, tls=chain.show(tls_files)) as stranger:
            with pytest.raises(aiohttp.ClientError):
                await stranger.ask(PATH)
        async with Asker(url, tls=tls_files.trusting) as nobody:
            assert (await nobody.ask(PATH))[0] == 200


async def test_a_certificate_that_has_ended_is_401(tls_files: TlsFiles, tmp_path: Path) -> None:
    """Whether it is in time is judged with the rest, by the CPS's own clock."""
    chain = Chain(tmp_path, ssl.TLSVersion.TLSv1_3, critical=False)
    later = NOW + 20 * 86_400
    async with (
        listening(asking(tls_files, chain.anchors), now=lambda: later) as url,
        Asker(url, tls=chain.show(tls_files)) as asker,
    ):
        assert (await asker.ask(BULK))[0] == 401


def test_without_tls_nothing_is_shown() -> None:
    """A plain connection, and one that is gone, have no certificates."""

    class Plain(asyncio.BaseTransport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return default

    assert shown_certificates(Plain()) == ()
    assert shown_certificates(None) == ()
