"""The nouns of the two services: a call, what came of it, and why.

Takes nothing and does nothing: frozen values that check themselves when made. They know no PBX and
no wire. The words of ``Reason`` are a closed list that dialplan/README.md explains row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pbx_stir.services.used import Claim

# so many Identity headers of a call are read, and so many written
MOST_HEADERS: Final = 4
# the budget of a call whose hold was over before its announcement was read; no dialplan gives it
OVER_MS: Final = 1


class Direction(Enum):
    """Which way the call crosses the PBX's trunk."""

    OUTBOUND = "out"
    INBOUND = "in"


class Mode(Enum):
    """A trunk's switch: hold and treat, or watch only. A trunk that is off announces nothing."""

    ON = "on"
    MONITOR = "monitor"


class Status(Enum):
    """What became of an outbound call's PASSporT (``STIR_STATUS``)."""

    STORED = "stored"
    IN_BAND = "in-band"
    SKIPPED = "skipped"
    ERROR = "error"


class Verstat(Enum):
    """The verdict on an inbound call (``STIR_VERSTAT``). Source: 3GPP TS 24.229 section 7.2A.20."""

    PASSED = "TN-Validation-Passed"
    FAILED = "TN-Validation-Failed"
    NONE = "No-TN-Validation"


class Reason(Enum):
    """One word that says why (``STIR_REASON``)."""

    # inbound
    VERIFIED = "verified"
    ATTEST_B = "attest-b"
    ATTEST_C = "attest-c"
    NO_PASSPORT = "no-passport"
    UNSUPPORTED_PPT = "unsupported-ppt"
    ORIG_MISMATCH = "orig-mismatch"
    DEST_MISMATCH = "dest-mismatch"
    STALE = "stale"
    FUTURE_IAT = "future-iat"
    CLOCK = "clock"
    CERTIFICATE_UNAVAILABLE = "certificate-unavailable"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_EXPIRED = "certificate-expired"
    X5U_REFUSED = "x5u-refused"
    NUMBER_NOT_COVERED = "number-not-covered"
    CONSTRAINT_VIOLATED = "constraint-violated"
    REVOKED = "revoked"
    BAD_SIGNATURE = "bad-signature"
    MALFORMED = "malformed"
    BROKEN_DIVERSION = "broken-diversion"
    REPLAYED = "replayed"
    CONTESTED = "contested"
    CALLER_ID_NOT_FIXED = "caller-id-not-fixed"
    OVERLOADED = "overloaded"
    # outbound
    STORED = "stored"
    STORED_LATE = "stored-late"
    IN_BAND = "in-band"
    FORWARDED = "forwarded"
    PASSED_ON = "passed-on"
    NOT_AUTHORITATIVE = "not-authoritative"
    CALLER_NOT_ALLOWED = "caller-not-allowed"
    CREDENTIAL_EXPIRED = "credential-expired"
    NO_CPS = "no-cps"
    NO_KEY = "no-key"
    NO_TOKENS = "no-tokens"
    BAD_RECORD = "bad-record"
    CPS_REFUSED = "cps-refused"
    INVALID_NUMBER = "invalid-number"
    TOO_LARGE = "too-large"
    # both
    ANONYMOUS_CALLER = "anonymous-caller"
    CPS_UNAVAILABLE = "cps-unavailable"
    TIMEOUT = "timeout"
    LISTENER_DOWN = "listener-down"
    DISABLED = "disabled"
    EXCLUDED = "excluded"
    EMERGENCY = "emergency"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class Call:
    """One call at one trunk, as the PBX announced it.

    ``orig`` and ``dest`` are as the PBX has them, not yet canonical. ``restricted`` is the caller's
    wish that orig is not shown. ``originator`` are the names of who placed it, most specific first
    (endpoint, then account); ``came_in`` is the trunk by which it entered this PBX, empty for a
    call that began here, and ``came_in_id`` the ``unique_id`` that it had there, empty where the
    leg has not inherited it; of an inbound call it is that of the first of its legs to ask, which
    may be itself. ``placed_by`` is whose channel placed it, TECHNOLOGY/ENDPOINT, whatever name the
    dialplan has for its originator; empty where the PBX does not say. ``is_orphan``: a leg of the
    PBX's own stands for a channel that has gone, so that nobody knows whose call it is.
    ``caller_id_fixed``: not so where the PBX would let the caller give another number afterwards.
    ``identity`` are the values of the Identity headers that the call
    itself carried. ``nonce`` names the hook that waits, ``budget_ms`` how long it does, and
    ``headers`` how many Identity headers its leg can be given.
    """

    pbx: str
    direction: Direction
    mode: Mode
    trunk: str
    orig: str
    restricted: bool
    dest: str
    originator: tuple[str, ...]
    came_in: str
    unique_id: str
    linked_id: str
    nonce: str
    budget_ms: int
    identity: tuple[str, ...] = ()
    headers: int = MOST_HEADERS
    came_in_id: str = ""
    placed_by: str = ""
    is_orphan: bool = False
    caller_id_fixed: bool = True


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one PASSporT, or one source of them, did not do: where it stood, and a sentence on it.

    ``conclusive`` is False where the reason alone would say more than was shown.
    """

    step: str
    reason: Reason
    detail: str = ""
    conclusive: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What one CPS said for one number, as the call log tells it.

    ``heard`` is False where the verdict stood before it answered. ``reason`` is None where it did
    what was asked. A retrieval found ``passports``, dummies among them, of which ``opened`` with a
    key of ours (unsealed ones all do), ``ms`` after the call came; None where nobody measured.
    """

    cps: str
    number: str
    heard: bool = True
    reason: Reason | None = None
    passports: int = 0
    opened: int = 0
    ms: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Outbound ones have a ``status``, inbound ones a ``verstat``; the other is None. ``orig`` and
    ``dest`` are canonical, or empty where none could be made. ``rejections`` are all that were met,
    in the order they were.

    An outcome that passed has used up one PASSporT: ``used_key`` names it (services.used, in hex)
    and ``claim`` is what it was reserved for; ``also_used`` are those that were merged with it.
    ``diverted_by`` is the number that passed the call on last; ``name`` and ``call_reason`` are
    what the caller's PASSporT says of him, raw. ``identity`` are the values of the Identity headers
    that the call shall carry itself. ``contests`` is the call that has used up the only
    PASSporT which would have let this one pass (RFC 8816 section 7.4). ``asked`` are the CPSs that
    were asked to give or to take.
    """

    reason: Reason
    status: Status | None = None
    verstat: Verstat | None = None
    attest: str = ""
    orig: str = ""
    dest: str = ""
    signer: str = ""
    rejections: tuple[Rejection, ...] = field(default=())
    diverted_by: str = ""
    name: str = ""
    call_reason: str = ""
    used_key: str = ""
    also_used: tuple[str, ...] = ()
    claim: Claim | None = None
    contests: Claim | None = None
    detail: str = ""
    identity: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()

    def __post_init__(self) -> None:
        if (self.status is None) == (self.verstat is None):
            raise ValueError("an outcome has either a status or a verstat")
        if (self.verstat is Verstat.PASSED) != (bool(self.used_key) and self.claim is not None):
            raise ValueError("exactly the calls that pass have used a PASSporT")
