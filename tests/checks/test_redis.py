"""``pbx-stir check`` asks the Redis that a configuration names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.redis_servers import RedisServer, free_ports, running_redis
from pbx_stir import config
from pbx_stir.checks.redis import check_redis, check_redis_running, wants_redis


@pytest.fixture
def server(redis_installed: None, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis with a password."""
    with running_redis(tmp_path / "redis", ("requirepass", "right")) as one:
        yield one


async def codes(folder: Path, text: str) -> list[str]:
    """What is found in a configuration."""
    path = folder / "pbx-stir.toml"
    path.write_text(text)
    loaded = config.load(path)
    in_files = [one.code for one in check_redis(loaded)]
    return in_files + [one.code async for one in check_redis_running(loaded)]


async def test_no_redis_is_no_finding(tmp_path: Path) -> None:
    """Who needs none hears nothing of it."""
    assert await codes(tmp_path, "") == []
    assert not wants_redis(config.load(tmp_path / "pbx-stir.toml"))


async def test_a_redis_as_it_should_be_is_no_finding(tmp_path: Path, server: RedisServer) -> None:
    """The password is the file's."""
    secret = tmp_path / "redis.secret"
    secret.write_text("right\n")
    secret.chmod(0o600)
    table = f'url = "{server.url}"\npassword_file = "redis.secret"\n'
    assert await codes(tmp_path, f"[cps]\nworkers = 2\n[cps.redis]\n{table}") == []
    assert await codes(tmp_path, f"[verification.redis]\n{table}") == []


async def test_a_wrong_password_is_found(tmp_path: Path, server: RedisServer) -> None:
    """As a mistake of the configuration."""
    assert await codes(tmp_path, f'[cps.redis]\nurl = "{server.url}"\n') == ["redis-wrong"]


async def test_nobody_there_is_found(tmp_path: Path) -> None:
    """With what it means for requests and calls."""
    url = f"redis://127.0.0.1:{free_ports(1)[0]}"
    assert await codes(tmp_path, f'[cps.redis]\nurl = "{url}"\n') == ["redis-unreachable"]


@pytest.mark.parametrize("text", ["[cps]\nworkers = 2\n", '[verification]\nsingle_use = "redis"\n'])
async def test_a_missing_table_is_found(tmp_path: Path, text: str) -> None:
    """The services would not start."""
    assert await codes(tmp_path, text) == ["redis-missing"]
    assert wants_redis(config.load(tmp_path / "pbx-stir.toml"))


async def test_a_url_that_is_none_is_found(tmp_path: Path) -> None:
    """Nothing is connected to."""
    assert await codes(tmp_path, '[cps.redis]\nurl = "http://x"\n') == ["redis-wrong"]


async def test_a_missing_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and without connecting to anything."""
    monkeypatch.setitem(sys.modules, "redis", None)
    path = tmp_path / "pbx-stir.toml"
    for table in ("cps", "verification"):
        path.write_text(f'[{table}.redis]\nurl = "redis://127.0.0.1:1"\n')
        loaded = config.load(path)
        [found] = check_redis(loaded)
        assert (found.code, found.hint) == ("redis-wrong", "pip install 'pbx-stir[redis]'")
        assert found.where.endswith(f"{table}.redis")
        assert [one async for one in check_redis_running(loaded)] == []


async def test_clear_text_over_a_network_is_found(tmp_path: Path) -> None:
    """Numbers stand in Redis' keys."""
    found = await codes(tmp_path, '[cps.redis]\nurl = "redis://redis.invalid"\n')
    assert found == ["redis-cleartext", "redis-unreachable"]
