"""Files with lists and with their signers are read whole, or named as the mistake they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pbx_stir.certificates import revocation_files
from pbx_stir.certificates.revocation_files import MAX_OCTETS, RevocationFiles
from pbx_stir.errors import ConfigurationError
from tests.stir import revoking
from tests.stir.conftest import Forge

FORGE = Forge()
ROOT = FORGE.root()


def test_lists_and_signers_are_read(tmp_path: Path) -> None:
    """DER and PEM, by patterns, each certificate once; far more than is ever fetched."""
    (tmp_path / "a.crl").write_bytes(revoking.crl(ROOT, range(1, 5_000)))
    (tmp_path / "b.crl").write_bytes(revoking.crl(ROOT, encoding=Encoding.PEM) * 2)
    (tmp_path / "a.pem").write_bytes(ROOT.pem)
    (tmp_path / "b.pem").write_bytes(FORGE.make(None, "Lists").pem + ROOT.pem)
    read = RevocationFiles((f"{tmp_path}/*.crl",), (f"{tmp_path}/*.pem",)).read()
    assert len(read.lists) == 3
    assert len(read.lists[0].entries[ROOT.cert.subject]) == 4_999
    assert len(read.signers) == 2


def test_nothing_named_is_nothing_read() -> None:
    """Without patterns there are no lists."""
    assert RevocationFiles().read() == revocation_files.Read()


@pytest.mark.parametrize("octets", [b"", b"hello", ROOT.der, ROOT.pem, b"0" * (MAX_OCTETS + 1)])
def test_a_file_that_is_no_list_is_named(tmp_path: Path, octets: bytes) -> None:
    """Empty, text, a certificate, too large."""
    (tmp_path / "a.crl").write_bytes(octets)
    with pytest.raises(ConfigurationError, match=r"a\.crl"):
        RevocationFiles((f"{tmp_path}/a.crl",)).read()


def test_a_file_that_holds_no_signer_is_named(tmp_path: Path) -> None:
    """A list, nothing, or a certificate with its private key."""
    key = ROOT.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    for octets in (b"", revoking.crl(ROOT), ROOT.der, ROOT.pem + key):
        (tmp_path / "a.pem").write_bytes(octets)
        with pytest.raises(ConfigurationError, match=r"a\.pem"):
            RevocationFiles(signers=(f"{tmp_path}/a.pem",)).read()


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    """A pattern without a file, a folder, too many files."""
    for pattern in (f"{tmp_path}/*.crl", str(tmp_path)):
        with pytest.raises(ConfigurationError, match=tmp_path.name):
            RevocationFiles((pattern,)).read()
    for number in range(revocation_files.MOST_FILES + 1):
        (tmp_path / f"{number}.crl").touch()
    with pytest.raises(ConfigurationError, match="more than"):
        RevocationFiles((f"{tmp_path}/*.crl",)).read()
