"""Where Redis is, as an administrator writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import ConfigurationError
from pbx_stir.redis_backend.settings import Address, RedisSettings, settings


@pytest.mark.parametrize(
    ("url", "address", "tls", "database"),
    [
        ("redis://127.0.0.1", Address("127.0.0.1", 6379), False, 0),
        ("redis://redis.example.com:7000/", Address("redis.example.com", 7000), False, 0),
        ("rediss://redis.example.com:6380/3", Address("redis.example.com", 6380), True, 3),
        ("redis://[::1]:6379", Address("::1", 6379), False, 0),
    ],
)
def test_a_url_is_read(url: str, address: Address, tls: bool, database: int) -> None:
    """Scheme, host, port and database are what they say."""
    read = settings(url)
    assert read.addresses == (address,)
    assert (read.tls, read.database, read.is_cluster) == (tls, database, False)


def test_a_list_is_a_cluster() -> None:
    """Several nodes, or one in a list, are nodes of a cluster."""
    read = settings(["rediss://a.example:1", "rediss://b.example:2"])
    assert read.is_cluster
    assert read.tls
    assert read.addresses == (Address("a.example", 1), Address("b.example", 2))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1",
        "redis://",
        "redis://127.0.0.1:0",
        "redis://127.0.0.1:65536",
        "redis://127.0.0.1:6379/x",
        "redis://127.0.0.1:6379?db=1",
        "redis://127.0.0.1:6379\n",
        [],
        ["redis://a", "rediss://b"],
        ["redis://a/1"],
    ],
)
def test_what_is_no_url_is_refused(url: str | list[str]) -> None:
    """With words that say what to write."""
    with pytest.raises(ConfigurationError) as refused:
        settings(url)
    assert refused.value.hint


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    """An error message is no place for a password either."""
    with pytest.raises(ConfigurationError) as refused:
        settings("redis://:hunter2@127.0.0.1")
    assert "hunter2" not in str(refused.value)


def test_a_password_is_not_shown() -> None:
    """Whoever prints the settings sees where, never the password."""
    read = settings("redis://127.0.0.1", username="cps", password="hunter2")
    assert "hunter2" not in repr(read)
    assert "127.0.0.1:6379" in repr(read)


@given(st.text(max_size=60) | st.from_regex(r"rediss?://.*"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but ConfigurationError comes out, and a port is always one."""
    try:
        read = settings(text)
    except ConfigurationError:
        return
    assert isinstance(read, RedisSettings)
    assert 1 <= read.addresses[0].port <= 65535
