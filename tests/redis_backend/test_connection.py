"""Redis lost, slow, refusing, moved: clear words at once, and recovery without a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.redis_servers import RedisServer, free_ports, running_redis
from pbx_stir.errors import ConfigurationError, StoreUnavailable
from pbx_stir.redis_backend.connection import Connection, Script
from pbx_stir.redis_backend.settings import RedisSettings, settings

KEY = b"pbx-stir:{test}"


@asynccontextmanager
async def connected(where: RedisSettings) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    connection = Connection(where)
    try:
        yield connection
    finally:
        await connection.close()


async def answers(connection: Connection, key: bytes = KEY) -> bool:
    """Say whether the server that has a key answers."""
    try:
        return bool(await connection.run(key, "SET", key, b"1", "PX", 60_000) == b"OK")
    except StoreUnavailable:
        return False


async def test_commands_and_scripts_run(connection: Connection) -> None:
    """On one server and on a cluster; a script that the server does not know yet, too."""
    assert await answers(connection)
    assert await connection.run(KEY, "GET", KEY) == b"1"
    script = Script("return redis.call('GET', KEYS[1]) .. ARGV[1]")
    assert await connection.script(script, [KEY], "2") == b"12"
    await connection.run(KEY, "SCRIPT", "FLUSH")
    assert await connection.script(script, [KEY], "3") == b"13"


async def test_check_finds_nothing_wrong(connection: Connection) -> None:
    """A server as it should be passes."""
    await connection.check()


async def test_a_refused_command_is_unavailable(connection: Connection) -> None:
    """What the server refuses is said by its first word: the rest may quote what was sent."""
    await connection.run(KEY, "SET", KEY, b"a number 12125551234")
    with pytest.raises(StoreUnavailable) as refused:
        await connection.run(KEY, "LPUSH", KEY, b"12125551234")
    assert "WRONGTYPE" in str(refused.value)
    assert "1212" not in str(refused.value)
    assert await answers(connection)


async def test_nobody_there_is_said_at_once() -> None:
    """The first command finds out, the others do not even try; a check says the same."""
    port = free_ports(1)[0]
    async with connected(settings(f"redis://127.0.0.1:{port}")) as connection:
        with pytest.raises(StoreUnavailable):
            await connection.check()
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(StoreUnavailable):
                await connection.run(KEY, "GET", KEY)
        assert time.monotonic() - began < 2.0


async def test_a_killed_server_that_returns_is_used_again(
    server: RedisServer, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a restart; the log says both, once each."""
    async with connected(settings(server.url)) as connection:
        assert await answers(connection)
        assert not connection.is_lost
        with caplog.at_level(logging.WARNING):
            server.kill()
            for _ in range(50):
                assert not await answers(connection)
            assert connection.is_lost
            server.start()
            await eventually(lambda: answers(connection))
            assert not connection.is_lost
        said = [record.message for record in caplog.records if "pbx_stir" in record.name]
        assert len([one for one in said if "is lost" in one]) == 1
        assert len([one for one in said if "answers again" in one]) == 1


async def test_a_server_that_answers_nothing_costs_two_waits(
    server: RedisServer, eventually: Any
) -> None:
    """Commands end in bounded time, after two of them at once; then the server is used again."""
    where = replace(settings(server.url), command_seconds=0.2)
    async with connected(where) as connection:
        assert await answers(connection)
        server.freeze()
        began = time.monotonic()
        for _ in range(200):
            assert not await answers(connection)
        # Two waits of 0.2 s; two hundred would be 40 s.
        assert time.monotonic() - began < 5.0
        server.thaw()
        await eventually(lambda: answers(connection))


async def test_a_paused_server_costs_nothing_more_than_a_lost_one(
    server: RedisServer, eventually: Any
) -> None:
    """Nor does it count as back while its writes are paused and its reads are not."""
    where = replace(settings(server.url), command_seconds=0.2)
    async with connected(where) as connection:
        assert await answers(connection)
        server.ask("CLIENT", "PAUSE", "1500", "WRITE")
        began = time.monotonic()
        for _ in range(200):
            assert not await answers(connection)
        assert time.monotonic() - began < 1.5
        await eventually(lambda: answers(connection))


async def test_many_at_once_share_few_connections(server: RedisServer) -> None:
    """Each gets its own answer, and the server never sees more connections than it may."""
    where = replace(settings(server.url), most_connections=4, command_seconds=10.0)
    async with connected(where) as connection:
        found = await asyncio.gather(
            *(connection.run(KEY, "ECHO", b"%d" % one) for one in range(200))
        )
        assert found == [b"%d" % one for one in range(200)]
        told = server.ask("INFO", "clients")
        connected_clients = int(told.split("connected_clients:")[1].split("\r\n")[0])
        # One of them asks this.
        assert connected_clients <= 5


async def test_a_cancelled_command_leaves_no_answer_behind(connection: Connection) -> None:
    """Whoever takes the connection next gets the answer to its own command."""
    for _ in range(20):
        task = asyncio.ensure_future(connection.run(KEY, "ECHO", b"lost"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await connection.run(KEY, "ECHO", b"mine") == b"mine"


async def test_a_password_opens_and_a_wrong_one_is_a_clear_error(
    redis_installed: None, tmp_path: Path
) -> None:
    """At the start of a service it is a mistake of the configuration, later a lost server."""
    with running_redis(tmp_path, ("requirepass", "right")) as server:
        async with connected(settings(server.url, password="right")) as connection:
            await connection.check()
            assert await answers(connection)
        for wrong in ("wrong-secret", ""):
            async with connected(settings(server.url, password=wrong)) as connection:
                with pytest.raises(ConfigurationError) as refused:
                    await connection.check()
                assert "password_file" in str(refused.value)
                assert "wrong-secret" not in str(refused.value)
                assert not await answers(connection)


async def test_a_server_that_drops_keys_is_refused(redis_installed: None, tmp_path: Path) -> None:
    """What is spent must not be forgotten because memory is short."""
    lines = ("maxmemory", "64mb"), ("maxmemory-policy", "allkeys-lru")
    with running_redis(tmp_path, *lines) as server:
        async with connected(settings(server.url)) as connection:
            with pytest.raises(ConfigurationError, match="allkeys-lru"):
                await connection.check()


async def test_a_full_server_refuses(redis_installed: None, tmp_path: Path) -> None:
    """Nothing is dropped, nothing is lost: the command fails, and reading goes on."""
    with running_redis(tmp_path, ("maxmemory", "2mb")) as server:
        async with connected(settings(server.url)) as connection:
            await connection.check()

            async def fill() -> None:
                for each in range(100):
                    key = KEY + b"%d" % each
                    await connection.run(KEY, "SET", key, b"x" * 100_000)

            with pytest.raises(StoreUnavailable, match="OutOfMemoryError"):
                await fill()
            assert await connection.run(KEY, "GET", KEY + b"1") == b"x" * 100_000


async def test_tls_is_checked(redis_installed: None, tmp_path: Path, tls_files: Any) -> None:
    """With its authority the server is used, with any other it is not."""
    with running_redis(tmp_path, tls=(tls_files.certificate, tls_files.key)) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        async with connected(settings(url, tls_ca=tls_files.certificate)) as connection:
            await connection.check()
            assert await answers(connection)
        async with connected(settings(url)) as connection:
            assert not await answers(connection)
        async with connected(settings(server.url)) as connection:
            assert not await answers(connection)


async def test_too_few_replicas_are_said(server: RedisServer) -> None:
    """What must be on a replica before it holds does not hold where there is none."""
    async with connected(settings(server.url)) as connection:
        with pytest.raises(StoreUnavailable, match="replicas"):
            await connection.run(KEY, "SET", KEY, b"1", replicas=1)
        # Written it is: nobody may take it for not done.
        assert await connection.run(KEY, "GET", KEY) == b"1"


async def test_a_replica_that_has_it_is_enough(
    server: RedisServer, tmp_path: Path, eventually: Any
) -> None:
    """With one replica in step the answer comes as ever."""
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica_of = ("replicaof", "127.0.0.1", str(server.port))
    with running_redis(tmp_path / "replica", replica_of):
        async with connected(settings(server.url)) as connection:

            async def holds() -> bool:
                try:
                    await connection.run(KEY, "SET", KEY, b"1", replicas=1)
                except StoreUnavailable:
                    return False
                return True

            await eventually(holds)


async def test_a_server_that_became_a_replica_is_left(server: RedisServer) -> None:
    """A former master refuses to write; that is said, and reading it is no use either."""
    async with connected(settings(server.url)) as connection:
        assert await answers(connection)
        server.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="ReadOnlyError"):
            await connection.run(KEY, "SET", KEY, b"1")
        server.ask("REPLICAOF", "NO", "ONE")
        assert await answers(connection)


async def test_nonsense_in_the_place_of_a_server_is_unavailable() -> None:
    """Whatever listens there and says what: nothing but StoreUnavailable, in bounded time."""
    for nonsense in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 9, b"*1000000000\r\n"):

        async def talk(
            _reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            said: bytes = nonsense,
        ) -> None:
            writer.write(said)
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, connected(settings(f"redis://127.0.0.1:{port}")) as connection:
            with pytest.raises(StoreUnavailable):
                await connection.script(Script("return 1"), [KEY])
