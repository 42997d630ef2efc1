"""Checks of what we sign with: certificates, keys, the numbers that they cover, our records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbx_stir import configured, configured_retrieval
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import findings_of, place
from pbx_stir.config import CredentialSection, Loaded
from pbx_stir.directory.holdings import nameable
from pbx_stir.errors import ConfigurationError, PbxStirError
from pbx_stir.stir import certificate, credential
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberSet

DAY = 86_400.0
_MOST_SHOWN = 120
_CODES = (
    ("not that of the certificate", "key-mismatch"),
    ("cannot read", "file-unreadable"),
)


def usable(loaded: Loaded) -> tuple[Credential, ...]:
    """The credentials that can be used; what is wrong with the others has its own finding."""
    found = []
    for index, section in enumerate(loaded.values.credential):
        try:
            found.append(_load(loaded, index, section))
        except ConfigurationError:
            continue
    return tuple(found)


def _load(loaded: Loaded, index: int, section: CredentialSection) -> Credential:
    key = f"credential[{index}]"
    chain = loaded.read(f"{key}.certificate", section.certificate)
    private = loaded.read_private(f"{key}.key", section.key)
    try:
        return credential.load(chain, private, x5u=section.x5u, ppt=section.ppt)
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def check_credential(loaded: Loaded, index: int, now: float) -> Iterator[Finding]:
    """Give what is wrong with one ``[[credential]]`` at ``now`` (epoch seconds)."""
    where = place(loaded, f"credential[{index}]")
    try:
        one = _load(loaded, index, loaded.values.credential[index])
    except ConfigurationError as wrong:
        code = next((code for part, code in _CODES if part in wrong.message), "credential-wrong")
        yield from findings_of(code, loaded.path, wrong)
        return
    yield from _expiry(where, one, now)
    yield from _trusted(loaded, where, one, now)


def check_none(loaded: Loaded) -> Iterator[Finding]:
    """Say that nothing is signed, where there is nothing to sign with."""
    if not loaded.values.credential:
        where = place(loaded, "credential")
        hint = "without one, calls are verified but none is signed"
        yield note("no-credential", "no credential is configured", where, hint)


def _expiry(where: str, one: Credential, now: float) -> Iterator[Finding]:
    days = (one.not_after - now) / DAY
    if now < one.not_before:
        yield error(
            "certificate-not-yet-valid",
            f"the certificate of {one.signer!r} begins in {(one.not_before - now) / DAY:.1f} days",
            where,
            "compare this machine's clock with the certificate",
        )
    elif days < 0:
        yield error(
            "certificate-expired",
            f"the certificate of {one.signer!r} ended {-days:.1f} days ago: calls go out unsigned",
            where,
            "renew it",
        )
    elif days < (soon := min(30.0, (one.not_after - one.not_before) / DAY / 3)):
        # one that is made for days is renewed within days
        make = error if days < min(1.0, soon / 2) else warning
        yield make(
            "certificate-expires",
            f"the certificate of {one.signer!r} ends in {days:.1f} days",
            where,
            "renew it before",
        )


def _trusted(loaded: Loaded, where: str, one: Credential, now: float) -> Iterator[Finding]:
    """Whether we would verify our own calls: the usual way to find a chain that is not whole."""
    trust = loaded.values.verification.trust
    if not trust or not one.valid_at(now):
        # the time has its own finding
        return
    try:
        anchors = configured.anchors(loaded, "verification.trust", trust).current()
    except ConfigurationError:
        # has its own finding
        return
    try:
        certificate.find_path(certificate.parse_chain(one.chain), anchors, now)
    except PbxStirError as wrong:
        yield warning(
            "certificate-untrusted-here",
            f"our own anchors do not vouch for {one.signer!r}: {wrong.message}",
            where,
            "put the issuing authority's certificate behind ours in the certificate file, "
            "or its root among the anchors",
        )


def check_coverage(loaded: Loaded, index: int, now: float) -> Iterator[Finding]:
    """Give whether we can sign for the numbers of one ``[[trunk]]``."""
    section = loaded.values.trunk[index]
    where = place(loaded, f"trunk[{index}].numbers")
    credentials = usable(loaded)
    if not loaded.values.credential:
        return
    if not section.numbers:
        yield warning(
            "trunk-without-numbers",
            "no call can be signed on this trunk",
            where,
            'numbers = ["+12125551200-+12125551299"]',
        )
        return
    try:
        numbers = NumberSet.parse(section.numbers, max_digits=section.max_digits)
    except PbxStirError:
        return
    if not credentials or not numbers:
        return
    covered = NumberSet.parse(one for each in credentials for one in _covered(each, numbers))
    missing = _missing(section.numbers, numbers, covered, credentials)
    if not missing:
        return
    hint = "compare the numbers with those of the certificate"
    named = ", ".join(missing)[:_MOST_SHOWN]
    if not any(_covered(one, numbers) for one in credentials):
        yield error("numbers-not-covered", f"no certificate covers any of {named}", where, hint)
    else:
        what = f"no certificate covers all of {named}: calls as those go unsigned"
        yield warning("numbers-partly-covered", what, where, hint)


def _covered(one: Credential, numbers: NumberSet) -> tuple[str, ...]:
    """What of ``numbers`` a credential is for; a provider's code is for those that it has."""
    named = nameable(numbers, one.tn_auth_list)
    for upper in one.above:
        named = nameable(NumberSet.parse(named), upper)
    return named


def _missing(
    listed: Sequence[str], numbers: NumberSet, covered: NumberSet, credentials: Sequence[Credential]
) -> list[str]:
    """Those of ``listed`` that are not covered as a whole.

    A prefix names numbers of no certain length: any that is covered is enough.
    """
    by_code = any(not one.tn_auth_list.has_numbers and not one.above for one in credentials)
    found = []
    for item in listed:
        if item.endswith("*"):
            prefix = NumberSet.parse([item])
            if not (by_code or any(_covered(one, prefix) for one in credentials)):
                found.append(item)
            continue
        whole = NumberSet.parse([item]).ranges
        if any(not _within(spans, covered.ranges.get(n, ())) for n, spans in whole.items()):
            found.append(item)
    return found


def _within(spans: Sequence[tuple[int, int]], covered: Sequence[tuple[int, int]]) -> bool:
    return all(any(low <= a and b <= high for low, high in covered) for a, b in spans)


def check_published(loaded: Loaded) -> Iterator[Finding]:
    """Give whether our own records can be signed, and where they go."""
    publish = loaded.values.publish
    if publish.numbers and publish.bare_cps and not publish.cps:
        return
    if not publish.numbers or not publish.cps:
        yield warning(
            "not-published",
            "no keys are published: nobody can store a PASSporT for our numbers",
            place(loaded, "publish"),
            'numbers = ["+1…"] and cps = ["https://…"]',
        )
        return
    credentials = usable(loaded)
    if not credentials:
        # what is wrong with them has its own finding
        return
    try:
        published = configured.published(loaded, credentials)
        configured_retrieval.subscriptions(loaded, published)
    except ConfigurationError as wrong:
        yield from findings_of("publish-wrong", loaded.path, wrong)
