"""Trust anchors are what the administrator's files say, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.certificates.anchors import MAX_FILE_OCTETS, AnchorFiles, load
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.tnauthlist import TnAuthList

NOW = 1_750_000_000.0
ROOT, ROOT_KEY = issuing.new_root("Root One", NOW, 3650)
OTHER, _ = issuing.new_root("Root Two", NOW, 3650)
TWIN, _ = issuing.new_root("Root One", NOW, 3650)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as a PEM file holds them."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def test_a_file_holds_one_certificate_or_several(tmp_path: Path) -> None:
    """All certificates of all matching files are anchors, each once, equal names among them."""
    (tmp_path / "a.pem").write_bytes(pem(ROOT, OTHER))
    (tmp_path / "b.pem").write_bytes(b"# the twin\n" + pem(TWIN) + pem(ROOT))
    (tmp_path / "c.txt").write_bytes(b"not looked at")
    assert set(load([str(tmp_path / "*.pem")]).certificates) == {ROOT, OTHER, TWIN}


def test_a_pattern_without_a_file_is_named(tmp_path: Path) -> None:
    """A typing error must not mean that nobody is trusted."""
    with pytest.raises(ConfigurationError, match="nothing"):
        load([str(tmp_path / "nothing*.pem")])


def test_no_pattern_is_no_anchor() -> None:
    """Where nothing is configured there is an empty set."""
    assert load([]).certificates == ()


def test_a_leaf_is_refused(tmp_path: Path) -> None:
    """A certificate that is not an authority's is refused with file and name."""
    numbers = TnAuthList(numbers=("12125551234",))
    public = issuing.new_key().public_key()
    leaf = issuing.issue_leaf(ROOT, ROOT_KEY, public, "Alice", numbers, NOW, 7)
    (tmp_path / "leaf.pem").write_bytes(pem(ROOT, leaf))
    with pytest.raises(ConfigurationError, match=r"leaf\.pem.*Alice"):
        load([str(tmp_path / "leaf.pem")])


def test_a_private_key_is_refused(tmp_path: Path) -> None:
    """A key among the anchors is a mistake that the administrator must hear of."""
    key = ROOT_KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "both.pem").write_bytes(pem(ROOT) + key)
    with pytest.raises(ConfigurationError, match=r"both\.pem holds a private key") as refusal:
        load([str(tmp_path / "both.pem")])
    assert b"BEGIN" not in str(refusal.value).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 800), st.integers(0, 255))
def test_a_broken_file_is_named(tmp_path: Path, octets: bytes, at: int, value: int) -> None:
    """Any octets are anchors, or an error that names the file."""
    damaged = bytearray(pem(ROOT))
    damaged[at % len(damaged)] = value
    for content in (octets, bytes(damaged), pem(ROOT)[:at]):
        (tmp_path / "broken.pem").write_bytes(content)
        try:
            load([str(tmp_path / "broken.pem")])
        except ConfigurationError as error:
            assert "broken.pem" in str(error)  # noqa: PT017


def test_the_size_is_bounded(tmp_path: Path) -> None:
    """A file of any size is not read whole."""
    (tmp_path / "large.pem").write_bytes(pem(ROOT) + b"\n" * MAX_FILE_OCTETS)
    with pytest.raises(ConfigurationError, match="larger"):
        load([str(tmp_path / "large.pem")])


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """What cannot be read is named."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        load([str(tmp_path)])


def test_a_reload_gives_a_new_set(tmp_path: Path) -> None:
    """The set that somebody looks at never changes; the next look shows the new one."""
    path = tmp_path / "a.pem"
    path.write_bytes(pem(ROOT))
    files = AnchorFiles([str(path)])
    before = files.current()
    path.write_bytes(pem(OTHER))
    assert files.reload().certificates == (OTHER,)
    assert files.current().certificates == (OTHER,)
    assert before.certificates == (ROOT,)
    assert before.digest != files.current().digest


def test_a_broken_reload_changes_nothing(tmp_path: Path) -> None:
    """A half-written file takes nobody's trust away."""
    path = tmp_path / "a.pem"
    path.write_bytes(pem(ROOT))
    files = AnchorFiles([str(path)])
    path.write_bytes(pem(OTHER)[:100])
    with pytest.raises(ConfigurationError):
        files.reload()
    assert files.current().certificates == (ROOT,)
