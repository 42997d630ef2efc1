"""What the tests of this room share: a clock, TLS files, a running CPS, STIR credentials."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx_stir.certificates import issuing
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.store import MemoryStore
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList

if TYPE_CHECKING:
    from .bare_listener import Bare

NOW = 1_800_000_000.0
# the numbers of ``company``
HELD = ("12125551234", "12125551235")


class Clock:
    """A clock that goes when told."""

    def __init__(self, moment: float = 1000.0) -> None:
        self.moment = moment

    def __call__(self) -> float:
        """Tell the time."""
        return self.moment


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a server on 127.0.0.1, and a context that trusts it."""

    certificate: str
    key: str
    trusting: ssl.SSLContext


@dataclass(frozen=True)
class Running:
    """A CPS that runs: its URL, its store and its clock."""

    url: str
    store: MemoryStore
    clock: Clock

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])


Run = Callable[..., AbstractAsyncContextManager[Running]]


def sealed() -> bytes:
    """A sealed PASSporT's text on the wire, as far as a CPS can tell."""
    return sealing.to_wire(sealing.dummy(os.urandom(32)))


@asynccontextmanager
async def _run(**settings: object) -> AsyncIterator[Running]:
    """Run a CPS on loopback without TLS and tokens, unless told otherwise."""
    clock = Clock()
    chosen = CpsSettings(**({"port": 0, "tls": False, "tokens": False} | settings))
    store = chosen.new_store()
    async with listening(chosen, store, lambda: NOW, clock=clock) as url:
        yield Running(url, store, clock)


@pytest.fixture
def run() -> Run:
    """Start a CPS: ``async with run(tokens=True) as cps``."""
    return _run


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A self-signed certificate for 127.0.0.1."""
    return new_tls_files(tmp_path_factory.mktemp("tls"))


def new_tls_files(folder: Path) -> TlsFiles:
    """Write another one."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cps")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cps.pem", folder / "cps.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(private_pem(key))
    trusting = ssl.create_default_context(cafile=str(files[0]))
    return TlsFiles(str(files[0]), str(files[1]), trusting)


def private_pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    """A key as PEM, encrypted where there is a password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


class Authority:
    """A lab authority that makes credentials."""

    def __init__(self) -> None:
        self._root, self._key = issuing.new_root("Lab", NOW - 1000, 30)
        self.anchors = Anchors.of([self._root])

    def credential(self, *numbers: str, name: str = "Company") -> Credential:
        """Credential of a company with these numbers."""
        key = issuing.new_key()
        leaf = issuing.issue_leaf(
            self._root,
            self._key,
            key.public_key(),
            name,
            TnAuthList(numbers=numbers),
            NOW - 1000,
            20,
        )
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        return credentials.load(pem, private_pem(key), x5u="https://cert.example.com/c.pem")


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One authority for all tests."""
    return Authority()


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has two numbers."""
    return authority.credential(*HELD)


@pytest.fixture
async def bare(authority: Authority) -> AsyncIterator[Bare]:
    """A listener as it is by default."""
    # which itself takes its clock and its authority from here
    from .bare_listener import running

    async with running(authority) as found:
        yield found
