"""Records for the tests of this room."""

from __future__ import annotations

from pbx_stir.cps.records import CheckedRecord, RecordCheck, Shelved
from pbx_stir.cps.shelf import RecordShelf
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.record import EncryptionKey, Record

from .conftest import NOW, Authority

NUMBER = "12125551234"
OTHER = "12125551235"


def record(
    *numbers: str,
    serial: int = 1,
    keys: int = 1,
    hours: float = 24,
    cps: str = "https://cps.example",
    at: float = NOW,
) -> Record:
    """A record with fresh keys; a tombstone where there are none."""
    return Record(
        numbers=numbers or (NUMBER,),
        cps=(cps,),
        keys=tuple(
            EncryptionKey(sealing.public_octets(sealing.new_private_key())) for _ in range(keys)
        ),
        serial=serial,
        iat=int(at) - 10,
        exp=int(at + hours * 3600),
        revoked=not keys,
    )


def checked(
    *spans: str,
    serial: int = 1,
    keys: int = 1,
    signer: bytes = b"Alice",
    exp: float = NOW + 3600,
    token: str = "",
) -> CheckedRecord:
    """What a check gives for numbers and ranges ("first-last"), without any cryptography."""
    pairs = [each.partition("-") for each in spans or (NUMBER,)]
    text = token or f"{signer.decode()} {serial} {' '.join(spans)}"
    return CheckedRecord(text, signer, tuple((a, b or a) for a, _, b in pairs), serial, keys, exp)


class Desk:
    """A check and a shelf, as the service puts them together."""

    def __init__(
        self, authority: Authority, shelf: RecordShelf, policy: SpcPolicy | None = None
    ) -> None:
        self.shelf = shelf
        self.check = RecordCheck(lambda: authority.anchors, policy or SpcPolicy())

    async def put(self, number: str, token: str, now: float = NOW) -> Shelved:
        """Check and keep."""
        found = self.check.check(number, token, now)
        return (
            Shelved.NOT_THIS_NUMBER if found is None else await self.shelf.put(number, found, now)
        )
