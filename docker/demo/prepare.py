"""Makes the demo's keys, certificates, secrets and configuration files, each party's in its volume.

Runs once, as root, in the image of the listener: the files go to the user id of the services. What
it made is left alone for 20 days, then made anew with the next start of the demo.
"""

from __future__ import annotations

import datetime
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx_stir.certificates import issuing

HERE = Path(__file__).resolve().parent
OUT = Path("/out")
SERVICE_ID = 10001
DAYS = 30
LEFT_ALONE_SECONDS = 20 * 86_400
COMPANIES = {
    "company-a": "+12125551200-+12125551299",
    "company-b": "+16465554000-+16465554099",
    "company-f": "+17205556000-+17205556099",
}
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def main() -> int:
    """Make everything that is not there."""
    made = OUT / "authority" / "made"
    if made.exists() and time.time() - made.stat().st_mtime < LEFT_ALONE_SECONDS:
        print("the demo's keys are there already")
        return 0
    ca = issuing.new_root("Demo TLS CA", time.time(), DAYS)
    authority = OUT / "authority"
    _pbx_stir("authority", "init", str(authority), "--name", "Demo Authority", "--force")
    demo_secret, redis_secret = secrets.token_hex(16), secrets.token_hex(16)
    for name, numbers in COMPANIES.items():
        _company(name, numbers)
    for letter, peer in (("a", "pbx-b"), ("b", "pbx-a")):
        listener_secret = secrets.token_hex(16)
        _write(f"company-{letter}", "ami.secret", listener_secret)
        _pbx(f"pbx-{letter}", peer, "on", listener_secret, demo_secret, ca)
    _write("company-f", "event-socket.secret", os.environ["FREESWITCH_PASSWORD"])
    _pbx("stranger", "pbx-b", "off", secrets.token_hex(16), demo_secret, ca)
    _write("cps", "cps.toml", _filled("cps.toml", {}))
    _tls("cps", "cps", "cps", ca)
    _write("cps", "redis.secret", redis_secret)
    _write("redis", "redis.conf", _filled("redis.conf", {"SECRET": redis_secret}))
    _tls("redis", "redis", "redis", ca)
    _write("redis", "redis.secret", redis_secret)
    _write("calls", "demo.secret", demo_secret)
    for volume in (*COMPANIES, "cps", "redis", "calls"):
        _write(volume, "tls-ca.pem", _pem(ca[0]))
    for volume in (*COMPANIES, "cps"):
        _write(volume, "authority.pem", (authority / "authority.pem").read_text())
    made.touch()
    print("made the demo's keys")
    return 0


def _company(company: str, numbers: str) -> None:
    """Certify its numbers, and write its listener's configuration."""
    folder = OUT / company
    name = company.replace("-", " ").title()
    folder.mkdir(exist_ok=True)
    issue = ["authority", "issue", str(OUT / "authority"), "--name", name, "--days", str(DAYS)]
    _pbx_stir(*issue, "--numbers", numbers, "--out", str(folder / "company"), "--force")
    for file in ("company.pem", "company.key"):
        os.chown(folder / file, SERVICE_ID, SERVICE_ID)
    values = {"PBX": company.replace("company", "pbx"), "COMPANY": company, "NUMBERS": numbers}
    pbx = "freeswitch.toml" if company == "company-f" else "asterisk.toml"
    text = _filled("company.toml", values) + "\n" + _filled(pbx, values)
    _write(company, "pbx-stir.toml", text)


def _pbx(
    volume: str, peer: str, switch: str, listener_secret: str, demo_secret: str, ca: Pair
) -> None:
    """Write the /etc/asterisk of one PBX, whose carrier brings its calls to ``peer``."""
    values = {
        "NAME": volume,
        "PEER": peer,
        "SWITCH": switch,
        "LISTENER_SECRET": listener_secret,
        "DEMO_SECRET": demo_secret,
    }
    for template in sorted((HERE / "asterisk").glob("*.conf")):
        _write(volume, template.name, _filled(f"asterisk/{template.name}", values))
    sample = Path(os.environ["DIALPLAN"]) / "cdr_custom.conf.sample"
    _write(volume, "cdr_custom.conf", sample.read_text())
    _tls(volume, "pbx", volume, ca)


def _tls(volume: str, file: str, host: str, ca: Pair) -> None:
    """Make a TLS server's certificate ``FILE.pem`` for that name, and its key ``FILE.key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(ca[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca[1].public_key()), critical=False
        )
        .sign(ca[1], hashes.SHA256())
    )
    _write(volume, f"{file}.pem", _pem(certificate))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(volume, f"{file}.key", private.decode())


def _filled(template: str, values: Mapping[str, str]) -> str:
    """A file of this folder with its ``@WORD@`` replaced."""
    text = (HERE / template).read_text()
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


def _write(volume: str, name: str, text: str) -> None:
    """Write a file that the services' user alone can read."""
    path = OUT / volume / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.chown(path, SERVICE_ID, SERVICE_ID)


def _pbx_stir(*arguments: str) -> None:
    subprocess.run(["pbx-stir", *arguments], check=True)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


if __name__ == "__main__":
    sys.exit(main())
