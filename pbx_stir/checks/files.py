"""Checks of the configuration and of the files that it names. Nothing is connected to."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from pbx_stir import configured, configured_callers, configured_pbxs, configured_retrieval
from pbx_stir.certificates.allowed import origin_of
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.wallet import check_wallet
from pbx_stir.config import Loaded
from pbx_stir.directory.holdings import nameable
from pbx_stir.directory.key_files import KeyFiles, OwnKey
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from pbx_stir.stir import certificate
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberSet

_DAY = 86_400.0
_LEAST_FREE_OCTETS = 8 << 20
_CREDENTIAL_CODES = (
    ("not that of the certificate", "key-mismatch"),
    ("is open to everyone", "key-readable-by-all"),
    ("cannot read", "file-unreadable"),
)


def check_files(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with the configuration's files at ``now`` (epoch seconds)."""
    yield from _parts(loaded)
    credentials, found = _credentials(loaded)
    yield from found
    for index, one in enumerate(credentials):
        yield from _expiry(loaded, f"credential[{index}]", one, now)
        yield from _trusted(loaded, f"credential[{index}]", one, now)
    yield from _coverage(loaded, credentials)
    yield from _published(loaded, credentials)
    yield from _state(loaded)
    yield from check_wallet(loaded, now)
    yield from _choices(loaded)


def _parts(loaded: Loaded) -> Iterator[Finding]:
    """Each part that is made of one section alone."""
    parts: tuple[tuple[str, Callable[[Loaded], object]], ...] = (
        ("trunk", configured_callers.callers),
        ("route", configured.routes),
        ("numbers", configured.never_signed),
        ("cover", configured_retrieval.cover),
        ("pbx", configured_pbxs.asterisks),
        ("pbx", configured_pbxs.freeswitches),
        ("tls-ca", _outgoing),
        ("tls-certificate", _bare_certificate),
        ("advertisement", _advertisements),
        ("enum", configured.enum),
        ("x5u", _x5u),
        ("call-log", _call_log),
    )
    broken = set()
    for name, make in parts:
        try:
            make(loaded)
        except (ConfigurationError, UsageError) as wrong:
            broken.add(name)
            yield error(f"{name}-wrong", wrong.message, str(loaded.path), wrong.hint)
    trust = loaded.values.verification.trust
    if not trust:
        yield error(
            "no-anchors",
            "no trust anchor is configured: no call can be verified",
            f"{loaded.path}: verification.trust",
            "name the PEM files of the authorities you trust",
        )
        return
    try:
        anchors = configured.anchors(loaded, "verification.trust", trust)
    except ConfigurationError as wrong:
        yield error("anchors-wrong", wrong.message, str(loaded.path), wrong.hint)
        return
    if "x5u" in broken:
        # the lists are fetched by the same settings
        return
    try:
        configured.revocation(loaded, anchors)
    except ConfigurationError as wrong:
        yield error("revocation-wrong", wrong.message, str(loaded.path), wrong.hint)


def _outgoing(loaded: Loaded) -> None:
    configured.tls_of(loaded, "outgoing.tls_ca", loaded.values.outgoing.tls_ca)


def _bare_certificate(loaded: Loaded) -> None:
    if loaded.values.outgoing.bare_certificate or loaded.values.outgoing.bare_key:
        configured.bare_tls(loaded)


def _advertisements(loaded: Loaded) -> None:
    configured.advertisements(loaded, lambda: Anchors.of([]))


def _x5u(loaded: Loaded) -> None:
    """What names the servers of certificates."""
    section = loaded.values.verification
    try:
        for one in section.x5u_allow:
            origin_of(one)
    except UsageError as wrong:
        raise loaded.wrong("verification.x5u_allow", wrong.message, wrong.hint) from wrong
    configured.tls_of(loaded, "verification.x5u_tls_ca", section.x5u_tls_ca)


def _call_log(loaded: Loaded) -> None:
    name = loaded.values.call_log.file
    path = loaded.resolve(name)
    if name == "-" or (path.is_file() and os.access(path, os.W_OK)):
        return
    if path.exists() or not os.access(path.parent, os.W_OK | os.X_OK):
        hint = "a file in a folder that the service's user may write"
        raise loaded.wrong("call_log.file", f"{path} cannot be written", hint)


def _credentials(loaded: Loaded) -> tuple[tuple[Credential, ...], list[Finding]]:
    if not loaded.values.credential:
        where = f"{loaded.path}: credential"
        hint = "without one, calls are verified but none is signed"
        return (), [note("no-credential", "no credential is configured", where, hint)]
    try:
        return configured.credentials(loaded), []
    except ConfigurationError as wrong:
        code = next((code for part, code in _CREDENTIAL_CODES if part in wrong.message), "")
        code = code or "credential-wrong"
        return (), [error(code, wrong.message, str(loaded.path), wrong.hint)]


def _expiry(loaded: Loaded, key: str, one: Credential, now: float) -> Iterator[Finding]:
    where = f"{loaded.path}: {key}"
    days = (one.not_after - now) / _DAY
    if now < one.not_before:
        yield error(
            "certificate-not-yet-valid",
            f"the certificate of {one.signer!r} begins in {(one.not_before - now) / _DAY:.1f} days",
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
    elif days < (soon := min(30.0, (one.not_after - one.not_before) / _DAY / 3)):
        # one that is made for days is renewed within days
        make = error if days < min(1.0, soon / 2) else warning
        yield make(
            "certificate-expires",
            f"the certificate of {one.signer!r} ends in {days:.1f} days",
            where,
            "renew it before",
        )


def _trusted(loaded: Loaded, key: str, one: Credential, now: float) -> Iterator[Finding]:
    """Whether we would verify our own calls: the usual way to find a chain that is not whole."""
    trust = loaded.values.verification.trust
    try:
        if not trust:
            return
        anchors = configured.anchors(loaded, "verification.trust", trust).current()
        chain = certificate.parse_chain(one.chain)
        certificate.find_path(chain, anchors, now)
    except PbxStirError as wrong:
        yield warning(
            "certificate-untrusted-here",
            f"our own anchors do not vouch for {one.signer!r}: {wrong.message}",
            f"{loaded.path}: {key}",
            "put the issuing authority's certificate behind ours in the certificate file, "
            "or its root among the anchors",
        )


def _coverage(loaded: Loaded, credentials: tuple[Credential, ...]) -> Iterator[Finding]:
    """Whether each trunk's numbers are ones that we can sign for."""
    if not credentials:
        return
    for index, section in enumerate(loaded.values.trunk):
        where = f"{loaded.path}: trunk[{index}] {section.name}"
        if not section.numbers:
            yield warning(
                "trunk-without-numbers",
                "no call can be signed on this trunk",
                where,
                'numbers = ["+12125551200-+12125551299"]',
            )
            continue
        try:
            numbers = NumberSet.parse(section.numbers, max_digits=section.max_digits)
        except PbxStirError:
            continue
        if not any(_signs(one, numbers) for one in credentials):
            yield error(
                "numbers-not-covered",
                f"no certificate covers any of {', '.join(section.numbers)[:120]}",
                where,
                "compare the numbers with those of the certificate",
            )


def _signs(one: Credential, numbers: NumberSet) -> bool:
    """Whether a credential is for any of ``numbers``; a provider's code is for those it has."""
    lists = [listed for listed in (one.tn_auth_list, *one.above) if listed.has_numbers]
    for listed in lists:
        numbers = NumberSet.parse(nameable(numbers, listed))
    return not lists or bool(numbers.ranges)


def _published(loaded: Loaded, credentials: tuple[Credential, ...]) -> Iterator[Finding]:
    """Whether our own records can be signed, and where they go."""
    publish = loaded.values.publish
    if publish.numbers and publish.bare_cps and not publish.cps:
        return
    if not publish.numbers or not publish.cps:
        yield warning(
            "not-published",
            "no keys are published: nobody can store a PASSporT for our numbers",
            f"{loaded.path}: publish",
            'numbers = ["+1…"] and cps = ["https://…"]',
        )
        return
    if not credentials:
        # what is wrong with them has its own finding
        return
    try:
        published = configured.published(loaded, credentials)
        configured_retrieval.subscriptions(loaded, published)
    except ConfigurationError as wrong:
        yield error("publish-wrong", wrong.message, str(loaded.path), wrong.hint)


def _memory(state: Path, where: str) -> Iterator[Finding]:
    """The memory of used PASSporTs: without it, or without room for it, no call passes."""
    path = state / "used.sqlite"
    if not path.exists():
        return
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(database):
            database.execute("SELECT count(*) FROM used").fetchone()
        free = shutil.disk_usage(state).free
    except (sqlite3.Error, OSError) as wrong:
        hint = "stop the service, move the file away, start it again"
        yield error("used-wrong", f"{path}: {wrong}: no call can pass", where, hint)
        return
    if free < _LEAST_FREE_OCTETS:
        yield error(
            "disk-full",
            f"{free // 1024} KiB are free at {state}: soon no call can pass",
            where,
            "make room",
        )


def _state(loaded: Loaded) -> Iterator[Finding]:
    """The state folder, which is the service's to make: root would make it root's."""
    where = f"{loaded.path}: state_dir"
    state = loaded.resolve(loaded.values.state_dir)
    keys: tuple[OwnKey, ...] = ()
    try:
        if (state / "keys").exists():
            keys = KeyFiles(state / "keys").load()
        elif not _can_be_filled(state):
            hint = "create it for the service's user"
            yield error("state-dir", f"{state} is no folder that can be written", where, hint)
            return
    except (PbxStirError, OSError, ValueError) as wrong:
        yield error("state-dir", str(wrong), where)
        return
    yield from _memory(state, where)
    if not keys and loaded.values.publish.numbers:
        yield note(
            "no-encryption-key",
            "no encryption key yet: it is made when the service starts",
            str(state / "keys"),
        )


def _can_be_filled(folder: Path) -> bool:
    """Whether files can be made in ``folder``, or it in the nearest folder that there is."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _choices(loaded: Loaded) -> Iterator[Finding]:
    """Settings that work, and that an administrator may not have meant."""
    values = loaded.values
    if not (values.route or values.advertisement or values.enum.suffix):
        yield warning(
            "no-route",
            "no route to any CPS: no call can be signed",
            f"{loaded.path}: route",
            "one [[route]] a prefix, with the CPSs of its numbers",
        )
    if not values.verification.x5u_hosts and not values.verification.x5u_allow:
        yield note(
            "x5u-not-fetched",
            "certificates are not fetched: an Identity header in a call, or a PASSporT without "
            "its certificates inside, cannot be verified",
            f"{loaded.path}: verification.x5u_hosts",
            "name the hosts you trust not to learn of your calls",
        )
    if not values.asterisk and not values.freeswitch:
        yield error("no-pbx", "no PBX is configured", f"{loaded.path}: asterisk")
    if not values.trunk:
        yield error("no-trunk", "no trunk is configured", f"{loaded.path}: trunk")
