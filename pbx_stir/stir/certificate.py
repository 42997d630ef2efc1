"""From a leaf to a trust anchor: paths of STIR certificates (RFC 5280, RFC 8226, RFC 9060).

Takes parsed certificates, the anchors in force and the time; gives a ``Path`` that answers for
which numbers it speaks, or says why there is none. It fetches nothing and looks at no revocation.

Rules, beside those of ``profile`` for each certificate alone:

* Each certificate is signed by the next, whose subject is its issuer; the last is an anchor, octet
  by octet. Certificates may come in any order, with others between them; several anchors and
  authorities may have one name.
* Each is valid now, the anchor too: notBefore <= now <= notAfter. A path that is right but for the
  time is expired, everything else untrusted.
* An authority without a TN Authorization List is transparent. One with numbers must cover the
  calling number and hold the whole list of the leaf (RFC 9060). One with providers' codes only is
  transparent to numbers, which nobody can compare with codes; a leaf with codes only has no others.

cryptography has a path validation of its own. It finds one path and says of any other that it does
not hold, where we must tell a wrong time from no trust and weigh number lists, and it refuses roots
without key identifiers, which small authorities have. So the search is ours, and bounded; each step
of it rests on cryptography's ``verify_directly_issued_by``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.errors import (
    CertificateExpired,
    CertificateUntrusted,
    Malformed,
    MalformedCertificate,
    Refused,
)
from pbx_stir.stir.chain import (
    MAX_CERTIFICATES,
    MAX_CHAIN_OCTETS,
    check_readable,
    parse_chain,
    parse_pem_chain,
)
from pbx_stir.stir.constraints import ClaimConstraints
from pbx_stir.stir.profile import (
    check_issuer,
    check_leaf,
    claim_constraints,
    has_strong_signature,
    name_of,
    tn_auth_list,
)
from pbx_stir.stir.spc import SpcPolicy
from pbx_stir.stir.tnauthlist import TnAuthList

__all__ = [
    "MAX_CERTIFICATES",
    "MAX_CHAIN_OCTETS",
    "Anchors",
    "Path",
    "SpcPolicy",
    "find_path",
    "parse_chain",
    "parse_pem_chain",
]

MAX_PATH: Final = 10
# A chain has at most eight certificates: honest ones need a handful of steps, and only certificates
# that were all made to have one name could need more.
MAX_STEPS: Final = 64
# each is dear, and an honest chain of eight needs seven
MAX_SIGNATURES: Final = 24
# certificates that anchors have signed, of some kilobytes each
MOST_ISSUED: Final = 512


@dataclass(frozen=True, slots=True)
class Anchors:
    """The certificates that an administrator trusts. ``digest`` changes with the set."""

    certificates: tuple[x509.Certificate, ...]
    digest: bytes
    _named: Mapping[x509.Name, tuple[x509.Certificate, ...]]

    @classmethod
    def of(cls, certificates: Iterable[x509.Certificate]) -> Anchors:
        """Make a set; several may have one name. Raises ``MalformedCertificate``."""
        unique = tuple(dict.fromkeys(certificates))
        named: dict[x509.Name, tuple[x509.Certificate, ...]] = {}
        for certificate in unique:
            check_readable(certificate)
            same = named.get(certificate.subject, ())
            named[certificate.subject] = (*same, certificate)
        prints = sorted(certificate.fingerprint(hashes.SHA256()) for certificate in unique)
        return cls(unique, hashlib.sha256(b"".join(prints)).digest(), named)

    def named(self, name: x509.Name) -> tuple[x509.Certificate, ...]:
        """Give the anchors whose subject this is."""
        return self._named.get(name, ())

    def __contains__(self, certificate: x509.Certificate) -> bool:
        return certificate in self.named(certificate.subject)


@dataclass(frozen=True, slots=True)
class Path:
    """A path that holds: ``certificates`` from the leaf to the anchor.

    ``not_after`` is the epoch second after which it holds no more. ``signer`` is the provider's
    code where the leaf lists codes only, else the leaf's common name; raw, a stranger chose it.
    ``above`` are the lists with numbers of the authorities on the path, ``above_codes`` those of
    codes only. ``shown`` is what shows it to others: DER, leaf first, without the anchor, which
    they have or do not trust; one copy for all who keep it.
    """

    leaf: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    tn_auth_list: TnAuthList
    not_after: float
    signer: str
    above: tuple[TnAuthList, ...] = ()
    constraints: tuple[ClaimConstraints, ...] = ()
    above_codes: tuple[TnAuthList, ...] = ()
    shown: tuple[bytes, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Write out ``shown``."""
        below = self.certificates[: max(1, len(self.certificates) - 1)]
        ders = tuple(one.public_bytes(Encoding.DER) for one in below)
        object.__setattr__(self, "shown", ders)

    def covers(self, number: str, policy: SpcPolicy) -> bool:
        """Tell whether the path may sign PASSporTs from ``number`` (canonical).

        A list with any number is judged by its numbers alone; one of codes only by the policy.
        Raises ``CertificateUntrusted`` where every list covers the number, but the leaf has got
        more numbers than an authority above it had to give (RFC 9060 section 4).
        """
        own = (
            self.tn_auth_list.covers(number)
            if self.tn_auth_list.has_numbers
            else policy.accepts(self.tn_auth_list.spcs, number)
        )
        return own and self._encompassed(all(upper.covers(number) for upper in self.above))

    def authorises(self, first: str, last: str, policy: SpcPolicy) -> bool:
        """Tell whether the path has all numbers from ``first`` to ``last``, as many digits each.

        For everything but PASSporTs: a provider's code counts through the policy's table only.
        Raises as ``covers`` does.
        """
        wanted = _as_list(first, last)

        # of one number both say the same; the first has not to put all of a list in order
        def holds(mine: TnAuthList) -> bool:
            return mine.covers(first) if first == last else mine.contains(wanted)

        own = (
            holds(self.tn_auth_list)
            if self.tn_auth_list.has_numbers
            else policy.authorises(self.tn_auth_list.spcs, first, last)
        )
        return own and self._encompassed(all(map(holds, self.above)))

    def check_claims(self, claims: Mapping[str, object]) -> None:
        """Hold a PASSporT's payload against the leaf's constraints. Raises ConstraintViolated."""
        for constraints in self.constraints:
            constraints.check(claims)

    def overreaches(self) -> bool:
        """Tell whether the leaf's list goes beyond that of an authority above it."""
        listed = self.tn_auth_list
        if listed.has_numbers:
            return not all(upper.contains(listed) for upper in self.above)
        # whose numbers are a provider's nobody can compute, but which provider it is
        uppers = (*self.above, *self.above_codes)
        return not all(set(listed.spcs) <= set(upper.spcs) for upper in uppers)

    def _encompassed(self, covered: bool) -> bool:
        """Pass ``covered`` on, but for a leaf that has more than was there to give."""
        if covered and self.overreaches():
            raise CertificateUntrusted(
                f"the list of {name_of(self.leaf)!r} goes beyond that of its authority"
            )
        return covered


def find_path(chain: Sequence[x509.Certificate], anchors: Anchors, now: float) -> Path:
    """Find a path from the first certificate of ``chain`` to an anchor that holds at ``now``.

    Raises ``CertificateUntrusted``; ``CertificateExpired`` where a path would hold at another time;
    ``MalformedCertificate`` where the leaf cannot be read. Of several paths one whose authorities
    hold the leaf's whole list is preferred.
    """
    if not chain:
        raise MalformedCertificate("no certificate")
    leaf = chain[0]
    listed = check_leaf(leaf)
    constraints = claim_constraints(leaf)
    search = _Search(chain[1:MAX_CERTIFICATES], anchors)
    untimely = ""
    overreaching: Path | None = None
    for certificates in search.paths((leaf,)):
        outside = _outside_validity(certificates, now)
        if outside:
            untimely = untimely or outside
            continue
        lists = _lists_above(certificates)
        path = Path(
            leaf=leaf,
            certificates=certificates,
            tn_auth_list=listed,
            not_after=min(one.not_valid_after_utc.timestamp() for one in certificates),
            signer=name_of(leaf) if listed.has_numbers else listed.spcs[0],
            above=tuple(one for one in lists if one.has_numbers),
            above_codes=tuple(one for one in lists if not one.has_numbers),
            constraints=constraints,
        )
        if not path.overreaches():
            return path
        overreaching = overreaching or path
    if overreaching is not None:
        return overreaching
    if untimely:
        raise CertificateExpired(untimely)
    raise CertificateUntrusted(
        search.obstacle or f"no path from {name_of(leaf)!r} to a configured anchor",
        hint="its chain lacks a certificate, or its root is not among the anchors",
    )


class _Search:
    """A bounded depth-first search upwards, whatever the order and number of certificates.

    ``obstacle`` is the first rule at which an issuer failed that had signed what is below it.
    """

    def __init__(self, extra: Sequence[x509.Certificate], anchors: Anchors) -> None:
        self._extra = extra
        self._anchors = anchors
        self._steps = 0
        self._signed: dict[tuple[int, int], bool] = {}
        self.obstacle = ""

    def paths(self, path: tuple[x509.Certificate, ...]) -> Iterator[tuple[x509.Certificate, ...]]:
        """Give each way in which ``path`` goes on to an anchor. Validity is not looked at."""
        last = path[-1]
        if last in self._anchors:
            yield path
        if len(path) >= MAX_PATH:
            return
        for issuer in self._candidates(last):
            self._steps += 1
            if self._steps > MAX_STEPS or len(self._signed) > MAX_SIGNATURES:
                return
            if issuer not in path and self._may_issue(issuer, path):
                yield from self.paths((*path, issuer))

    def _candidates(self, certificate: x509.Certificate) -> Iterator[x509.Certificate]:
        """Give whoever has the issuer's name: anchors first, then what came along."""
        yield from self._anchors.named(certificate.issuer)
        for other in self._extra:
            if other.subject == certificate.issuer and other not in self._anchors:
                yield other

    def _may_issue(self, issuer: x509.Certificate, path: tuple[x509.Certificate, ...]) -> bool:
        """Tell whether the issuer signed the end of the path, and was allowed to."""
        if not self._has_signed(issuer, path[-1]):
            return False
        # RFC 5280 section 6.1.4 (l): a self-issued certificate does not count for the path length
        below = sum(one.subject != one.issuer for one in path[1:])
        try:
            check_issuer(issuer, below, anchor=issuer in self._anchors)
            tn_auth_list(issuer)
        except (Malformed, Refused) as error:
            self.obstacle = self.obstacle or error.message
            return False
        return True

    def _has_signed(self, issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
        """Verify one signature, each at most once."""
        # All certificates live as long as the search does, so their ids name them.
        key = (id(issuer), id(certificate))
        if key not in self._signed:
            self._signed[key] = self._verify(issuer, certificate)
        return self._signed[key]

    def _verify(self, issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
        if not has_strong_signature(certificate):
            self.obstacle = f"{name_of(certificate)!r} is signed with an unsuitable algorithm"
            return False
        try:
            if issuer in self._anchors:
                _remember_issued(certificate, issuer)
            else:
                certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True


@lru_cache(MOST_ISSUED)
def _remember_issued(certificate: x509.Certificate, anchor: x509.Certificate) -> None:
    """Verify an anchor's signature, once for the same octets; what it raises is not remembered.

    Who has no certificate of an anchor can thus push nothing out. Compares the names too, and the
    algorithm outside with the one that was signed.
    """
    certificate.verify_directly_issued_by(anchor)


def _outside_validity(certificates: Sequence[x509.Certificate], now: float) -> str:
    """Say which certificate is not valid at ``now``; empty where all are.

    RFC 5280 section 4.1.2.5: "the period of time from notBefore through notAfter, inclusive"; both
    are whole seconds, so the last second belongs to it as a whole.
    """
    for certificate in certificates:
        if now < certificate.not_valid_before_utc.timestamp():
            return f"{name_of(certificate)!r} is not yet valid"
        if int(now) > certificate.not_valid_after_utc.timestamp():
            return f"{name_of(certificate)!r} has expired"
    return ""


def _lists_above(certificates: Sequence[x509.Certificate]) -> tuple[TnAuthList, ...]:
    """Give the lists of the authorities on the path."""
    lists = (tn_auth_list(certificate) for certificate in certificates[1:])
    return tuple(listed for listed in lists if listed is not None)


def _as_list(first: str, last: str) -> TnAuthList:
    """Make a list of the numbers from ``first`` to ``last``."""
    count = int(last) - int(first) + 1
    if count == 1:
        return TnAuthList(numbers=(first,))
    return TnAuthList(ranges=((first, count),))
