"""What goes with a call that leaves: PASSporTs to store, and PASSporTs for the call itself.

Frozen values that authentication, forwarding and placement make and authentication sends.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx_stir.services.call import Reason
from pbx_stir.stir.passport import Passport


@dataclass(frozen=True, slots=True)
class Parcel:
    """PASSporTs, and what is said of them when they have left.

    ``stored`` pairs each one to store with the DER certificates to seal beside it; ``carried`` are
    those for Identity headers. ``signer`` is who of us has signed, empty where nobody has.
    """

    reason: Reason
    stored: tuple[tuple[Passport, tuple[bytes, ...]], ...] = ()
    carried: tuple[Passport, ...] = ()
    attest: str = ""
    signer: str = ""
    diverted_by: str = ""


class Unsigned(Exception):
    """Ends the steps of the authentication service: the call goes on unsigned, for this reason."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail
