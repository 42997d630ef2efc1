"""The key of the call log's hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.call_log.keys import hash_key
from pbx_stir.errors import ConfigurationError


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    """32 random octets that nobody else may read; the next start finds the same."""
    key = hash_key(tmp_path, make=True)
    assert len(key) == 32
    assert hash_key(tmp_path, make=True) == hash_key(tmp_path, make=False) == key
    assert (tmp_path / "call_log/key").stat().st_mode & 0o777 == 0o600
    assert hash_key(tmp_path / "other", make=True) != key


def test_who_only_reads_makes_none(tmp_path: Path) -> None:
    """A query on the wrong machine does not leave a key there."""
    with pytest.raises(ConfigurationError, match="no such file"):
        hash_key(tmp_path, make=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_open_or_damaged_is_refused(tmp_path: Path) -> None:
    """Never silently another one: old hashes would be found no more."""
    hash_key(tmp_path, make=True)
    path = tmp_path / "call_log/key"
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        hash_key(tmp_path, make=True)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="32 octets"):
        hash_key(tmp_path, make=True)
