"""What the tests of this room share: real Redis servers, and connections to them."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.redis_servers import RedisServer, running_cluster, running_redis
from pbx_stir.redis_backend.connection import Connection
from pbx_stir.redis_backend.entries import RedisStore
from pbx_stir.redis_backend.settings import RedisSettings, settings

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
Running = Callable[[RedisStore], AbstractAsyncContextManager[RedisStore]]


@pytest.fixture(scope="session")
def shared_server(
    redis_installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """One server for the tests that neither stop nor slow it."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(redis_installed: None, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of a test's own."""
    with running_redis(tmp_path / "redis") as one:
        yield one


@pytest.fixture(scope="session")
def shared_cluster(
    redis_installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[RedisServer]]:
    """Three masters; a test that ends one of them starts it again."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(params=["single", "cluster"])
def places(request: pytest.FixtureRequest) -> RedisSettings:
    """One server, then a cluster, both empty, and as patient as a busy machine needs."""
    if request.param == "single":
        server = request.getfixturevalue("shared_server")
        server.ask("FLUSHALL")
        return replace(settings(server.url), command_seconds=5.0)
    servers = request.getfixturevalue("shared_cluster")
    for server in servers:
        server.ask("FLUSHALL")
    return replace(settings([server.url for server in servers]), command_seconds=5.0)


@pytest.fixture
async def connection(places: RedisSettings) -> AsyncIterator[Connection]:
    """A connection to one server, then to a cluster."""
    one = Connection(places)
    yield one
    await one.close()


@pytest.fixture
def eventually() -> Eventually:
    """Look until something is so: ``await eventually(is_so)``."""

    async def look(is_so: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(15):
            while not await is_so():  # noqa: ASYNC110  a server is asked, no task of ours
                await asyncio.sleep(0.02)

    return look


@asynccontextmanager
async def _running(store: RedisStore) -> AsyncIterator[RedisStore]:
    task = asyncio.ensure_future(store.run())
    try:
        async with asyncio.timeout(15):
            while not store.is_complete:  # noqa: ASYNC110  a property of the store
                await asyncio.sleep(0.01)
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def running() -> Running:
    """Let a store hear of arrivals: ``async with running(RedisStore(connection)) as store``."""
    return _running


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a server on 127.0.0.1 that is its own authority."""

    certificate: str
    key: str


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A self-signed certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "redis.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "redis.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return TlsFiles(str(folder / "redis.pem"), str(folder / "redis.key"))
