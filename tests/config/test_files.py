"""Which files sections name, and whether what they say is still the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.config import Loaded, with_files

TEXT = """
state_dir = "state"
[[credential]]
certificate = "a.pem"
key = "a.key"
x5u = "https://a/a.pem"
[outgoing]
tls_ca = "ca.pem"
[cps.redis]
url = "redis://a"
password_file = "redis.password"
[[advertisement]]
source = "advertised.json"
signed_by = "signer.pem"
"""


def load(folder: Path, text: str = TEXT) -> Loaded:
    """A configuration file, loaded."""
    path = folder / "pbx-stir.toml"
    path.write_text(text)
    return config.load(path)


def whole(loaded: Loaded) -> tuple[object, ...]:
    """All sections."""
    return with_files(loaded, loaded.values)


def test_the_same_is_the_same(tmp_path: Path) -> None:
    """Read twice, with files or without them; comments say nothing."""
    assert whole(load(tmp_path)) == whole(load(tmp_path, f"# once more\n{TEXT}"))
    (tmp_path / "a.pem").write_text("a")
    assert whole(load(tmp_path)) == whole(load(tmp_path))


@pytest.mark.parametrize("name", ["a.pem", "a.key", "ca.pem", "redis.password", "signer.pem"])
def test_a_file_that_changes_is_another(tmp_path: Path, name: str) -> None:
    """Also one that comes or goes; and nothing of it is in what is compared."""
    before = whole(load(tmp_path))
    (tmp_path / name).write_text("s3cret")
    then = whole(load(tmp_path))
    (tmp_path / name).write_text("another")
    assert len({repr(one) for one in (before, then, whole(load(tmp_path)))}) == 3
    assert "s3cret" not in repr(then)


def test_a_value_that_changes_is_another(tmp_path: Path) -> None:
    """Of the sections that are asked for, not of others."""
    old, new = load(tmp_path), load(tmp_path, TEXT.replace("https://a/", "https://b/"))
    assert whole(old) != whole(new)
    assert with_files(old, old.values.outgoing) == with_files(new, new.values.outgoing)


def test_the_same_text_elsewhere_is_another(tmp_path: Path) -> None:
    """Paths are relative to the file that names them."""
    (tmp_path / "other").mkdir()
    assert whole(load(tmp_path)) != whole(load(tmp_path / "other"))
