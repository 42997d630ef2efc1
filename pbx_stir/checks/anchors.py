"""Checks of whom we trust: the files of anchors, each certificate in them, revocation lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from pbx_stir import configured, configured_mistakes
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import findings_of, place
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError, MalformedCertificate
from pbx_stir.stir.profile import is_authority, name_of

DAY = 86_400.0
_SOON_DAYS = 30.0
_KEY = "verification.trust"


def check_anchors(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with ``verification.trust`` at ``now`` (epoch seconds)."""
    trust = loaded.values.verification.trust
    if not trust:
        yield error(
            "no-anchors",
            "no trust anchor is configured: no call can be verified",
            place(loaded, _KEY),
            "name the PEM files of the authorities you trust",
        )
        return
    found = list(check_each_anchor(loaded, _KEY, trust, now))
    yield from found
    if not any(one.code == "anchor-not-authority" for one in found):
        # which the service refuses too
        yield from _as_the_service(loaded, trust)


def check_each_anchor(
    loaded: Loaded, key: str, patterns: tuple[str, ...], now: float
) -> Iterator[Finding]:
    """Give what is wrong with single certificates in the files that ``key`` names."""
    seen: dict[bytes, Path] = {}
    alive, ended = 0, []
    for path, one in _certificates(loaded, key, patterns):
        where = f"{place(loaded, key)}: {path}"
        if not _may_be_authority(one):
            what = f"{name_of(one)!r} is not the certificate of an authority"
            hint = "name the authority's own certificate, not one that it issued"
            yield error("anchor-not-authority", what, where, hint)
            continue
        print_ = one.fingerprint(hashes.SHA256())
        if print_ in seen:
            what = f"{name_of(one)!r} is in {seen[print_]} already"
            yield note("anchor-twice", what, where, "one place is enough, and easier to keep")
            continue
        seen[print_] = path
        days = (one.not_valid_after_utc.timestamp() - now) / DAY
        alive += days >= 0
        if days < 0:
            ended.append((where, f"{name_of(one)!r} ended {-days:.1f} days ago"))
        elif days < _SOON_DAYS and _lives_long(one):
            what = f"{name_of(one)!r} ends in {days:.1f} days: nothing under it passes then"
            yield warning("anchor-expires", what, where, "ask the authority for its next one")
    for where, what in ended:
        make = warning if alive else error
        more = "" if alive else ", and there is no other one"
        hint = "take it out, or ask the authority for its next one"
        yield make("anchor-expired", what + more, where, hint)


def _lives_long(one: x509.Certificate) -> bool:
    """Whether a month before its end is late: not for one that is made for weeks."""
    life = one.not_valid_after_utc - one.not_valid_before_utc
    return life.total_seconds() > 3 * _SOON_DAYS * DAY


def _certificates(
    loaded: Loaded, key: str, patterns: tuple[str, ...]
) -> Iterator[tuple[Path, x509.Certificate]]:
    """Each certificate of the files; what cannot be read is said where the service reads them."""
    try:
        paths = loaded.matching(key, patterns)
    except ConfigurationError:
        return
    for path in paths:
        try:
            octets = loaded.read(key, str(path))
            for one in x509.load_pem_x509_certificates(octets):
                yield path, one
        except (ConfigurationError, ValueError, TypeError, UnsupportedAlgorithm, Warning):
            continue


def _may_be_authority(one: x509.Certificate) -> bool:
    try:
        return is_authority(one)
    except (MalformedCertificate, ValueError):
        return False


def _as_the_service(loaded: Loaded, trust: tuple[str, ...]) -> Iterator[Finding]:
    try:
        anchors = configured.anchors(loaded, _KEY, trust)
    except ConfigurationError as wrong:
        yield from findings_of("anchors-wrong", loaded.path, wrong)
        return
    try:
        configured_mistakes.check_x5u(loaded)
    except ConfigurationError:
        # revocation lists are fetched by the same settings, which have their own finding
        return
    try:
        configured.revocation(loaded, anchors)
    except ConfigurationError as wrong:
        yield from findings_of("revocation-wrong", loaded.path, wrong)
