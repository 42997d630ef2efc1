"""What an authority has issued, and what it has taken back: two files in its folder.

``issued`` has a line for each certificate: its serial number, when it ends (epoch seconds), and
whose it is. ``revoked.pem`` is the authority's revocation list; it is there from the beginning, so
that configurations can name it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx_stir.cli.certificate_files import write
from pbx_stir.cli.files import octets_of
from pbx_stir.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

ISSUED: Final = "issued"
REVOKED: Final = "revoked.pem"


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
        end = int(leaf.not_valid_after_utc.timestamp())
        shown = "".join(one if one.isprintable() else "?" for one in name)
        path = self.folder / ISSUED
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
                file.write(f"{leaf.serial_number:x} {end} {shown}\n")
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error

    def revoke(self, name: str, now: float) -> int:
        """Take back all certificates of ``name`` that have not ended; gives how many those are.

        Raises ``UsageError``, ``ConfigurationError``.
        """
        serials = {serial for serial, end, whose in self._issued() if whose == name and end >= now}
        revoked = {**dict.fromkeys(serials, now), **self._revoked()}
        # a certificate that has ended needs nobody's word
        over = {serial for serial, end, _ in self._issued() if end < now}
        self.write_list({one: at for one, at in revoked.items() if one not in over}, now)
        return len(serials)

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

    def _issued(self) -> list[tuple[int, int, str]]:
        path = self.folder / ISSUED
        if not path.exists():
            return []
        found = []
        for line in octets_of(str(path)).decode("utf-8", "replace").splitlines():
            serial, _, rest = line.partition(" ")
            end, _, name = rest.partition(" ")
            try:
                found.append((int(serial, 16), int(end), name))
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
