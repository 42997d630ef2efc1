"""What an authority has issued, and what it has taken back: two files in its folder.

``issued`` has a line for each certificate: its serial number, when it ends (epoch seconds), the
fingerprint of its key, and whose it is. Lines of earlier versions have no fingerprint.
``revoked.pem`` is the authority's revocation list; it is there from the beginning, so that
configurations can name it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pbx_stir.cli.certificate_files import write
from pbx_stir.cli.files import octets_of
from pbx_stir.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

ISSUED: Final = "issued"
REVOKED: Final = "revoked.pem"


_KEY: Final = "key:"


class Issued(NamedTuple):
    """One certificate that was issued; ``key`` is its key's fingerprint, empty where unknown."""

    serial: int
    end: int
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority's folder, with its certificate and its key."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def revoked(self) -> Path:
        """The file of its revocation list."""
        return self.folder / REVOKED

    def note(self, leaf: x509.Certificate, name: str) -> None:
        """Enter a certificate, before it is given to anybody. Raises ``ConfigurationError``."""
        from pbx_stir.certificates.group import digest_of

        end = int(leaf.not_valid_after_utc.timestamp())
        path = self.folder / ISSUED
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
                file.write(f"{leaf.serial_number:x} {end} key:{digest_of(leaf)} {name}\n")
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error

    def revoke(self, name: str, now: float, keys: Sequence[str] = ()) -> list[str]:
        """Take back what has not ended of ``name``, and of whoever else has had one of its keys.

        ``keys`` are fingerprints of keys besides those that were issued to ``name``. Gives whose
        each of the certificates is. Raises ``UsageError``, ``ConfigurationError``.
        """
        issued = self._issued()
        known = {*keys, *(one.key for one in issued if one.name == name)} - {""}
        found = [one for one in issued if one.name == name or one.key in known]
        good = [one for one in found if one.end >= now]
        revoked = {**dict.fromkeys((one.serial for one in good), now), **self._revoked()}
        # a certificate that has ended needs nobody's word
        over = {one.serial for one in issued if one.end < now}
        self.write_list({one: at for one, at in revoked.items() if one not in over}, now)
        return [one.name for one in good]

    def write_list(self, revoked: dict[int, float], now: float) -> None:
        """Write the revocation list."""
        from cryptography.hazmat.primitives.serialization import Encoding

        from pbx_stir.certificates.issuing import new_revocation_list

        found = new_revocation_list(self.certificate, self.key, revoked, now)
        write(self.revoked, found.public_bytes(Encoding.PEM), 0o644)

    def revocation_list(self) -> str:
        """The list's text; made where an authority has none yet."""
        if not self.revoked.exists():
            self.write_list({}, time.time())
        return octets_of(str(self.revoked)).decode("ascii", "replace")

    def _issued(self) -> list[Issued]:
        path = self.folder / ISSUED
        if not path.exists():
            return []
        found = []
        for line in octets_of(str(path)).decode("utf-8", "replace").splitlines():
            serial, _, rest = line.partition(" ")
            end, _, name = rest.partition(" ")
            key = ""
            if name.startswith(_KEY):
                key, _, name = name.removeprefix(_KEY).partition(" ")
            try:
                found.append(Issued(int(serial, 16), int(end), key, name))
            except ValueError as error:
                raise UsageError(f"{path}: not a line of it: {line[:80]!r}") from error
        return found

    def _revoked(self) -> dict[int, float]:
        from cryptography import x509

        try:
            listed = x509.load_pem_x509_crl(self.revocation_list().encode())
            return {one.serial_number: one.revocation_date_utc.timestamp() for one in listed}
        except ValueError as error:
            raise UsageError(f"{self.revoked} is no revocation list") from error
