"""Tests of pbx_stir.cps.names: what a CPS is called."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.cps.names import LOOPBACK_NAMES, cps_names
from pbx_stir.errors import ConfigurationError


def certificate(folder: Path, names: Sequence[x509.GeneralName]) -> str:
    """A TLS certificate with these names, as a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    today = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(today)
        .not_valid_after(today + datetime.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    path = folder / "cps.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(path)


def test_configured_names_come_first(tmp_path: Path) -> None:
    """In lower case, addresses without brackets; the certificate is not even read."""
    named = cps_names(["CPS.example.net", "[::1]"], certificate=str(tmp_path / "missing"))
    assert named == {"cps.example.net", "::1"}


def test_a_certificate_s_names(tmp_path: Path) -> None:
    """DNS names and addresses; a wildcard is no host's name."""
    path = certificate(
        tmp_path,
        [
            x509.DNSName("Cps.Example.net"),
            x509.DNSName("*.example.net"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        ],
    )
    assert cps_names([], certificate=path) == {"cps.example.net", "192.0.2.1", "2001:db8::1"}


def test_without_tls_it_is_loopback() -> None:
    """Without names and certificate a CPS is on this machine."""
    assert cps_names([]) == LOOPBACK_NAMES


@pytest.mark.parametrize("names", [[], [x509.DNSName("*.example.net")]])
def test_no_name_is_said(tmp_path: Path, names: list[x509.GeneralName]) -> None:
    """A certificate that names no host needs names in the configuration."""
    with pytest.raises(ConfigurationError, match="names no host"):
        cps_names([], certificate=certificate(tmp_path, names))


@pytest.mark.parametrize("octets", [None, b"", b"-----BEGIN CERTIFICATE-----\nxx"])
def test_an_unreadable_file_is_said(tmp_path: Path, octets: bytes | None) -> None:
    """The message names the file."""
    path = tmp_path / "cps.pem"
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match=r"cps\.pem"):
        cps_names([], certificate=str(path))


@pytest.mark.parametrize(
    "wrong", ["https://localhost", "localhost:8443", "Bad Name", "", "a/b", "é.example", "*.a.b"]
)
def test_what_is_no_host_is_refused(wrong: str) -> None:
    """A URL, a port, a blank: no request could ever be for it, so it is said at the start."""
    with pytest.raises(ConfigurationError, match=r"cps\.names"):
        cps_names([wrong])
