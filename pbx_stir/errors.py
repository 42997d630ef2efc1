"""Every exception that pbx_stir raises.

::

    PbxStirError                     says what is wrong, and (hint) what to do about it
    ├── ConfigurationError           a configuration, secret or key file: names file, key and remedy
    │   └── SeveralMistakes          more than one of them
    ├── UsageError                   a command line that cannot be carried out (exit status 2)
    ├── Malformed                    octets that do not have their format
    │   ├── MalformedNumber          a telephone number
    │   ├── MalformedPassport        a PASSporT or Identity header (RFC 8225, RFC 8224)
    │   ├── MalformedCertificate     a certificate, chain or TNAuthList (RFC 5280, RFC 8226)
    │   ├── MalformedSealed          a sealed PASSporT, once opened
    │   ├── MalformedRecord          a signed record of keys and CPSs
    │   ├── MalformedAdvertisement   an advertisement of CPSs (RFC 9888)
    │   ├── MalformedToken           a storage token, its proof, or a list of token keys
    │   ├── MalformedAnnouncement    what a PBX's dialplan announced
    │   ├── MalformedFrame           octets of a FreeSWITCH's event socket
    │   └── MalformedAnswer          what a CPS answered
    ├── Refused                      well-formed, but not acceptable
    │   ├── UrlRefused               a URL that the egress rule forbids
    │   ├── CertificateUntrusted     no path to a configured anchor, or a rule on the path broken
    │   ├── CertificateExpired       a path that would hold at another time
    │   ├── ConstraintViolated       JWTClaimConstraints of the certificate (RFC 8226, RFC 9118)
    │   ├── CertificateRevoked       revoked by its issuer
    │   ├── BrokenDiversion          PASSporTs of a diverted call that do not follow each other
    │   ├── TooLarge                 more than the one sealed size holds
    │   ├── RecordRefused            a record whose signer has no authority, or that is not newer
    │   ├── AdvertisementRefused     an advertisement whose signer has no authority
    │   ├── RequestRefused           a signed request for another CPS, time, path or body
    │   └── TokenRefused             a storage token that is spent, or not good here and now
    └── Unavailable                  something outside did not answer in time, or said no
        ├── CpsUnavailable           no answer, a 5xx or a broken one
        ├── CpsRefused               the CPS said no (4xx)
        ├── CertificateUnavailable   the certificate could not be fetched
        ├── StoreUnavailable         our own store, ledger or database does not answer
        └── PbxUnavailable           the PBX is not connected, or did not answer

"Not sealed to us", "another caller", "stale" and the like are results, not exceptions.
Messages are lower case, without a full stop, name the offending value and never hold key material.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class PbxStirError(Exception):
    """What went wrong, in words for an operator; ``hint`` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigurationError(PbxStirError):
    """A configuration, secret or key file is wrong; the message names the file and the key."""

    @property
    def each(self) -> tuple[ConfigurationError, ...]:
        """Every mistake by itself."""
        return (self,)


class SeveralMistakes(ConfigurationError):
    """More than one mistake in a configuration; each is in ``each``."""

    def __init__(self, mistakes: Sequence[ConfigurationError]) -> None:
        super().__init__("; ".join(str(one) for one in mistakes))
        self._mistakes = tuple(mistakes)

    @property
    def each(self) -> tuple[ConfigurationError, ...]:
        """Every mistake by itself."""
        return self._mistakes


class Mistakes:
    """Gathers the mistakes of a configuration, so that all of them are said at once."""

    def __init__(self) -> None:
        self._found: dict[str, ConfigurationError] = {}

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Keep what is wrong within the block for ``settle``; what follows the block goes on."""
        try:
            yield
        except ConfigurationError as error:
            # one thing that is wrong may be met in several places
            self._found |= {str(one): one for one in error.each}

    def settle(self) -> None:
        """Raise what was gathered, if anything."""
        if self._found:
            raise together(self._found.values())


def together(mistakes: Iterable[ConfigurationError]) -> ConfigurationError:
    """One error for all of them; for one alone, that one."""
    found = tuple(mistakes)
    return found[0] if len(found) == 1 else SeveralMistakes(found)


class UsageError(PbxStirError):
    """A command line that cannot be carried out."""


class Malformed(PbxStirError):
    """Octets that do not have the format they should have."""


class MalformedNumber(Malformed):
    """Not a telephone number."""


class MalformedPassport(Malformed):
    """Not a PASSporT in full form, or not an Identity header."""


class MalformedCertificate(Malformed):
    """Not a certificate, not a chain of them, or not a TNAuthList."""


class MalformedSealed(Malformed):
    """Opened with our key, but what was inside has not the sealed form."""


class MalformedRecord(Malformed):
    """Not a signed record of keys and CPSs."""


class MalformedAdvertisement(Malformed):
    """Not an advertisement of CPSs (RFC 9888 section 4)."""


class MalformedToken(Malformed):
    """Not a storage token, not its proof, or not a list of token keys."""


class MalformedAnnouncement(Malformed):
    """What the dialplan announced cannot be read."""


class MalformedFrame(Malformed):
    """What came over an event socket is not in its form."""


class MalformedAnswer(Malformed):
    """What a CPS answered cannot be read."""


class Refused(PbxStirError):
    """Well-formed, but not acceptable."""


class UrlRefused(Refused):
    """The egress rule forbids to fetch this URL."""


class CertificateUntrusted(Refused):
    """No path to a configured anchor, or one of the path's rules is broken."""


class CertificateExpired(Refused):
    """A path that would hold at another time."""


class ConstraintViolated(Refused):
    """The PASSporT breaks the certificate's JWTClaimConstraints."""


class CertificateRevoked(Refused):
    """Its issuer has revoked it."""


class BrokenDiversion(Refused):
    """The PASSporTs of a diverted call do not follow each other (RFC 8946)."""


class TooLarge(Refused):
    """More than the one sealed size holds."""


class RecordRefused(Refused):
    """The record's signer has no authority over it, or we hold a newer one."""


class AdvertisementRefused(Refused):
    """The advertisement's signer has no authority over what it advertises."""


class RequestRefused(Refused):
    """A signed request that is not for this CPS, time, path or body, or was used before."""


class TokenRefused(Refused):
    """A storage token or a request for some: not good here and now, or spent.

    ``status`` is the HTTP status that says so: 401, 409 or 429, the last with ``retry_after`` in
    seconds.
    """

    def __init__(
        self, message: str, *, status: int = 401, retry_after: int = 0, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class Unavailable(PbxStirError):
    """Something outside did not answer in time, or answered that it cannot."""


class CpsUnavailable(Unavailable):
    """The CPS gave no answer, a 5xx, or one that cannot be read."""


class CpsRefused(Unavailable):
    """The CPS answered that it will not (4xx); ``retry_after`` is in seconds, 0 if not said."""

    def __init__(self, message: str, *, status: int, retry_after: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class CertificateUnavailable(Unavailable):
    """The certificate could not be fetched."""


class StoreUnavailable(Unavailable):
    """What this service keeps its state in is lost, slow or full."""


class PbxUnavailable(Unavailable):
    """The PBX is not connected, or did not answer in time."""
