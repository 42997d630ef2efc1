"""Files of certificates and keys, as ``pbx-stir authority`` writes them."""

from __future__ import annotations

import grp
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pbx_stir.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec


def check_free(force: bool, *paths: Path) -> None:
    """Refuse to overwrite what is there. Raises ``UsageError``."""
    for path in paths:
        if path.exists() and not force:
            raise UsageError(f"{path} is there already", hint="--force overwrites it")


def write(path: Path, octets: bytes, mode: int) -> None:
    """Write a file that is there whole or not at all, never through a link and never readable by
    others for a moment. One that takes another's place belongs to whom that one did."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(new, flags, mode), "wb") as file:
            file.write(octets)
            if os.geteuid() == 0 and path.exists():
                owner = path.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.replace(new, path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate's text."""
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key's text, unencrypted."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def open_to_group(path: Path) -> str:
    """What root writes into a folder of a service's group, such as /etc/pbx-stir, may be read by
    that group; gives its name, or an empty string where nothing was changed."""
    group = path.parent.stat().st_gid
    if os.geteuid() != 0 or group == 0:
        return ""
    os.chown(path, -1, group, follow_symlinks=False)
    path.chmod(0o640)
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)
