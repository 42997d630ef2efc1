"""Checks of ``[cps]``: the files, names and trust of a call placement service of our own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pbx_stir import configured
from pbx_stir.certificates.watching import is_url, watching
from pbx_stir.checks.anchors import check_each_anchor
from pbx_stir.checks.finding import Finding, error, warning
from pbx_stir.checks.hosts import is_loopback
from pbx_stir.checks.places import findings_of, place
from pbx_stir.checks.state import can_be_filled
from pbx_stir.checks.unit import start_hint, unit_of
from pbx_stir.config import Loaded
from pbx_stir.cps.names import cps_names
from pbx_stir.cps.server_tls import tls_context
from pbx_stir.errors import ConfigurationError, PbxStirError, UsageError
from pbx_stir.listen_address import parse_listen

SECONDS: Final = 3.0
DAY: Final = 86_400.0
_SOON_DAYS: Final = 14.0
# who listens on every address is asked on loopback
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def check_cps_listeners(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with addresses, TLS and names of ``[cps]`` and ``[cps.bare]``."""
    section = loaded.values.cps
    certificate, key = section.certificate, section.key
    tls = section.tls
    yield from _listener(loaded, "cps", section.listen, tls, certificate, key, section.names, now)
    bare = section.bare
    if bare.listen is not None:
        files = (bare.certificate or certificate, bare.key or key)
        yield from _listener(loaded, "cps.bare", bare.listen, bare.tls, *files, bare.names, now)


def _listener(
    loaded: Loaded,
    table: str,
    listen: str,
    tls: bool,
    certificate: str | None,
    key: str | None,
    names: tuple[str, ...],
    now: float,
) -> Iterator[Finding]:
    where = place(loaded, table)
    try:
        host, _ = parse_listen(listen)
    except UsageError as wrong:
        yield error("cps-wrong", wrong.message, place(loaded, f"{table}.listen"), wrong.hint)
        return
    if not tls:
        if not is_loopback(host):
            hint = "certificate and key, or listen on 127.0.0.1 behind a proxy that has them"
            what = f"{table} cannot listen on {host} without TLS"
            yield error("cps-tls-missing", what, where, hint)
        return
    if not (certificate and key):
        hint = "certificate and key, or tls = false on loopback"
        yield error("cps-tls-missing", f"{table} needs a certificate and its key", where, hint)
        return
    path = str(loaded.resolve(certificate))
    try:
        tls_context(path, str(loaded.resolve(key)))
        leaf = x509.load_pem_x509_certificates(Path(path).read_bytes())[0]
    except (ConfigurationError, OSError, ValueError, IndexError) as wrong:
        what = wrong.message if isinstance(wrong, PbxStirError) else f"{path}: {wrong}"
        yield error("cps-tls-wrong", what, where, getattr(wrong, "hint", ""))
        return
    try:
        cps_names(names, certificate=path)
    except ConfigurationError as wrong:
        yield error("cps-wrong", wrong.message, where, wrong.hint)
        return
    yield from _certificate(leaf, path, names, where, now)


def _certificate(
    leaf: x509.Certificate, path: str, names: tuple[str, ...], where: str, now: float
) -> Iterator[Finding]:
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    days = (ends - now) / DAY
    hint = "renew it, then send SIGHUP to the CPS"
    if days < 0:
        what = f"{path} ended {-days:.1f} days ago: nobody connects"
        yield error("cps-certificate-expired", what, where, hint)
    elif days < min(_SOON_DAYS, (ends - begins) / DAY / 3):
        yield warning("cps-certificate-expires", f"{path} ends in {days:.1f} days", where, hint)
    missing = [one for one in names if not _names(leaf, one)]
    if missing:
        what = f"{path} is not for {', '.join(missing)[:120]}: who connects there refuses it"
        yield error("cps-name-missing", what, where, "a certificate with every name of names")


def _names(leaf: x509.Certificate, name: str) -> bool:
    """Whether a certificate is for a host name or address."""
    try:
        listed = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    wanted = name.strip("[]").lower()
    addresses = {str(one) for one in listed.get_values_for_type(x509.IPAddress)}
    hosts = {one.lower() for one in listed.get_values_for_type(x509.DNSName)}
    return bool({wanted} & (addresses | hosts)) or f"*.{wanted.partition('.')[2]}" in hosts


def check_cps_trust(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what is wrong with whom the CPS trusts, and with its revocation lists."""
    section = loaded.values.cps
    where = place(loaded, "cps.trust")
    if not section.trust:
        needed = section.tokens or section.retrieval == "holders"
        make = error if needed else warning
        hint = "the PEM files of the authorities whose holders may store here"
        yield make("cps-trust-missing", "the CPS trusts no authority", where, hint)
        return
    found = list(check_each_anchor(loaded, "cps.trust", section.trust, now))
    yield from found
    if any(one.code == "anchor-not-authority" for one in found):
        return
    try:
        anchors = configured.anchors(loaded, "cps.trust", section.trust)
        for one in section.crls:
            if is_url(one):
                hint = "a CPS fetches nothing: have a timer fetch it, and send SIGHUP"
                raise loaded.wrong("cps.crls", f"{one[:200]!r} is not a file", hint)
        watching(
            anchors=anchors.current,
            policy=loaded.values.verification.revocation,
            crls=[loaded.pattern(one) for one in section.crls],
            signers=[loaded.pattern(one) for one in section.crl_signers],
            fetch=False,
        )
    except ConfigurationError as wrong:
        yield from findings_of("cps-trust-wrong", loaded.path, wrong)


def check_cps_state(loaded: Loaded) -> Iterator[Finding]:
    """Give whether the CPS can keep its token keys, its counts and its records."""
    state = loaded.resolve(loaded.values.state_dir)
    unit = unit_of(loaded.path)
    if unit is not None and unit.makes_room_for(state) and not state.exists():
        return
    if not can_be_filled(state):
        what = f"{state} is no folder that can be written: token keys and records go there"
        hint = "create it for the CPS's user"
        yield error("cps-state-dir", what, place(loaded, "state_dir"), hint)


async def check_cps_running(loaded: Loaded) -> AsyncIterator[Finding]:
    """Give whether a CPS answers where it should, with the certificate that is configured."""
    section = loaded.values.cps
    try:
        host, port = parse_listen(section.listen)
    except UsageError:
        # has its own finding
        return
    if not port:
        return
    host = _ANY.get(host, host)
    tls = None
    if section.tls:
        tls = ssl.create_default_context()
        # only whether it is there, and what it shows: who it is the configuration says
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    where = f"{place(loaded, 'cps.listen')} = {section.listen}"
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except (OSError, TimeoutError) as wrong:
        said = str(wrong) or "no answer in time"
        hint = start_hint(loaded.path, "start pbx-stir cps")
        yield warning("cps-not-running", f"nobody answers: {said}", where, hint)
        return
    shown = writer.get_extra_info("ssl_object")
    served = shown.getpeercert(binary_form=True) if shown is not None else None
    writer.close()
    if served is not None and not await asyncio.to_thread(_is_file, loaded, served):
        yield warning(
            "cps-certificate-stale",
            "the CPS that runs shows another certificate than the file has",
            where,
            "send SIGHUP to the CPS: it reads its certificate again",
        )


def _is_file(loaded: Loaded, served: bytes) -> bool:
    """Whether the configured certificate is the one served; a file that is wrong has a finding."""
    name = loaded.values.cps.certificate
    try:
        leaf = x509.load_pem_x509_certificates(loaded.read("cps.certificate", name or ""))[0]
    except (ConfigurationError, ValueError, IndexError):
        return True
    return bool(leaf.public_bytes(serialization.Encoding.DER) == served)
