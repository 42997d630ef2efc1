"""Companies for the lab: certificates from one authority, and the configuration files of each.

What is written here is what an administrator would write, with ``pbx-stir authority`` and an
editor; the demo and the tests on real PBXs read it with the real commands.
"""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx_stir.certificates import issuing
from pbx_stir.stir.tnauthlist import TnAuthList


class Manager(Protocol):
    """A PBX's manager interface: where it is, and as whom to log in there."""

    name: str
    host: str
    ami_port: int
    ami_user: str
    ami_secret: str


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority whose root certificate lies in ``anchor``."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    anchor: Path

    @classmethod
    def new(cls, folder: Path, name: str) -> Authority:
        """Make one, a day old; its certificate is ``NAME.pem`` in ``folder``."""
        certificate, key = issuing.new_root(name, time.time() - 86_400, 31)
        anchor = folder / f"{name.replace(' ', '-').lower()}.pem"
        anchor.write_bytes(_pem(certificate))
        return cls(certificate, key, anchor)

    def issue(self, folder: Path, name: str, numbers: TnAuthList) -> tuple[Path, Path]:
        """A certificate for ``numbers`` and its key, as files."""
        key = issuing.new_key()
        leaf = issuing.issue_leaf(
            self.certificate, self.key, key.public_key(), name, numbers, time.time() - 86_400, 7
        )
        certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        certificate_file.write_bytes(_pem(leaf))
        _write_key(key_file, key)
        return certificate_file, key_file


@dataclass(slots=True)
class Company:
    """A company: its numbers, its folder, and where its listener's configuration lies."""

    name: str
    first: str
    count: int
    folder: Path
    spc: str = ""
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config = self.folder / "pbx-stir.toml"

    @property
    def numbers(self) -> TnAuthList:
        """Its numbers, as its certificate has them, beside its provider's code if it has one."""
        return TnAuthList(spcs=(self.spc,) if self.spc else (), ranges=((self.first, self.count),))

    def number(self, index: int) -> str:
        """One of its numbers."""
        assert 0 <= index < self.count
        return str(int(self.first) + index)

    def configure(
        self,
        *,
        authority: Authority,
        trust: Path,
        cps: str,
        cps_ca: Path,
        routes: Sequence[str],
        pbxs: Sequence[Manager],
        more: str = "",
        tables: str = "",
        x5u: str = "https://certificates.example.com",
        verification: str = "",
    ) -> None:
        """Write the certificate, the secrets and the configuration file.

        ``x5u`` is the URL of the folder where the certificate is; ``more`` are lines for the top of
        the file, ``tables`` for its end, ``verification`` for that table. With a provider's code
        its PASSporTs are shaken.
        """
        certificate, key = authority.issue(self.folder, self.name, self.numbers)
        last = self.number(self.count - 1)
        text = f'state_dir = "state"\n{more}\n'
        for pbx in pbxs:
            secret = self.folder / f"{pbx.name}.secret"
            secret.touch(mode=0o600)
            secret.write_text(pbx.ami_secret)
            text += f"""
[[asterisk]]
name = "{pbx.name}"
host = "{pbx.host}"
port = {pbx.ami_port}
username = "{pbx.ami_user}"
secret_file = "{secret.name}"
"""
        text += f"""
[[credential]]
certificate = "{certificate.name}"
key = "{key.name}"
x5u = "{x5u}/{self.name}.pem"
{'ppt = "shaken"' if self.spc else ""}

[[trunk]]
name = "carrier"
country_code = "1"
numbers = ["+{self.first}-+{last}"]

[verification]
trust = ["{trust}"]
{verification}

[outgoing]
tls_ca = "{cps_ca}"

[publish]
numbers = ["+{self.first}-+{last}"]
cps = ["{cps}"]

[call_log]
file = "calls.jsonl"
"""
        for prefix in routes:
            text += f'\n[[route]]\nprefix = "+{prefix}"\ncps = ["{cps}"]\n'
        self.config.write_text(text + tables)


def tls_certificate(
    folder: Path, name: str, hosts: Sequence[str], *, days: float = 30
) -> tuple[Path, Path, Path]:
    """A TLS server's certificate and key, and the CA that signed it, as files.

    The certificate is good for ``days`` from yesterday on: with less than one it has ended.
    """
    ca_certificate, ca_key = issuing.new_root(f"{name} TLS CA", time.time() - 86_400, 31)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    names = [_general_name(host) for host in hosts]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca_certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days - 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}-ca.pem"
    paths[0].write_bytes(_pem(certificate))
    _write_key(paths[1], key)
    paths[2].write_bytes(_pem(ca_certificate))
    return paths


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
