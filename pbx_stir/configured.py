"""A configuration's sections as the values that the rooms take.

Takes a ``config.Loaded``, gives trunks, credentials, routes and the like; names file and key of
what is wrong. Starts nothing and connects to nothing.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.certificates.revocation import RevocationWatch
from pbx_stir.certificates.watching import is_url, watching
from pbx_stir.config import Loaded, TrunkSection
from pbx_stir.directory.publisher import Publication, publications
from pbx_stir.directory.routes import Route, Routes, Served
from pbx_stir.errors import ConfigurationError, MalformedNumber, UrlRefused, UsageError
from pbx_stir.services.authentication import NeverSigned
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.stir import credential, number
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberRules, NumberSet


def number_set(loaded: Loaded, key: str, items: Iterable[str], digits: int = 15) -> NumberSet:
    """``items`` as a set of canonical numbers."""
    try:
        return NumberSet.parse(items, max_digits=digits)
    except MalformedNumber as error:
        hint = 'such as "+12125551234", "+12125551200-+12125551299" or "+1212555*"'
        raise loaded.wrong(key, error.message, hint) from error


def callers(loaded: Loaded) -> Callers:
    """The trunks, and who may claim which number on them."""
    trunks: dict[str, Trunk] = {}
    for index, section in enumerate(loaded.values.trunk):
        if section.name in trunks:
            raise loaded.wrong(f"trunk[{index}].name", f"a second trunk {section.name!r}")
        trunks[section.name] = _trunk(loaded, f"trunk[{index}]", section)
    originators: dict[str, NumberSet] = {}
    for index, one in enumerate(loaded.values.originator):
        if one.name in originators:
            raise loaded.wrong(f"originator[{index}].name", f"a second originator {one.name!r}")
        originators[one.name] = number_set(loaded, f"originator[{index}].numbers", one.numbers)
    return Callers(trunks, originators)


def _trunk(loaded: Loaded, key: str, section: TrunkSection) -> Trunk:
    try:
        rules = NumberRules(
            country_code=section.country_code,
            national_prefix=section.national_prefix,
            international_prefixes=section.international_prefixes,
            strip=section.strip,
            max_digits=section.max_digits,
        )
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error
    presents = ""
    if section.present != "from":
        presents = _number(loaded, f"{key}.present", section.present, section.max_digits)
    aliases: dict[str, tuple[str, ...]] = {}
    for did, listed in section.called.items():
        meant = (listed,) if isinstance(listed, str) else listed
        at = f"{key}.called.{did}"
        if not 1 <= len(meant) <= number.MOST_ALIASES:
            raise loaded.wrong(at, f"not 1 to {number.MOST_ALIASES} numbers")
        aliases[did] = tuple(_number(loaded, at, one, section.max_digits) for one in meant)
    return Trunk(
        name=section.name,
        rules=rules,
        numbers=number_set(loaded, f"{key}.numbers", section.numbers, section.max_digits),
        presents=presents,
        attest=section.attest,
        aliases=aliases,
    )


def _number(loaded: Loaded, key: str, text: str, max_digits: int) -> str:
    try:
        return number.canonical(text, max_digits=max_digits)
    except MalformedNumber as error:
        hint = 'digits with the country code, "+12125551234"'
        raise loaded.wrong(key, error.message, hint) from error


def credentials(loaded: Loaded) -> tuple[Credential, ...]:
    """Every credential, its key read from a file that not everyone may read."""
    found = []
    for index, section in enumerate(loaded.values.credential):
        key = f"credential[{index}]"
        certificate = loaded.read(f"{key}.certificate", section.certificate)
        private = loaded.read_private(f"{key}.key", section.key)
        try:
            found.append(credential.load(certificate, private, x5u=section.x5u, ppt=section.ppt))
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{loaded.path}: {key}: {error.message}", hint=error.hint
            ) from error
    return tuple(found)


def anchors(loaded: Loaded, key: str, patterns: tuple[str, ...]) -> AnchorFiles:
    """The trust anchors that ``patterns`` name, relative to the configuration file."""
    for pattern in patterns:
        loaded.matching(key, (pattern,))
    try:
        return AnchorFiles([loaded.pattern(pattern) for pattern in patterns])
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{loaded.path}: {key}: {error.message}", hint=error.hint
        ) from error


def revocation(
    loaded: Loaded, trusted: AnchorFiles
) -> tuple[RevocationWatch, Callable[[], Awaitable[None]]]:
    """Who knows what is revoked, and what closes it."""
    section = loaded.values.verification
    crls = [one if is_url(one) else loaded.pattern(one) for one in section.crls]
    signers = [loaded.pattern(one) for one in section.crl_signers]
    key = "verification.crls and crl_signers" if signers else "verification.crls"
    try:
        return watching(
            anchors=trusted.current,
            policy=section.revocation,
            crls=crls,
            signers=signers,
            allow=section.x5u_allow,
            tls_ca=None if section.x5u_tls_ca is None else loaded.resolve(section.x5u_tls_ca),
        )
    except (ConfigurationError, UsageError, UrlRefused) as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def spc_policy(loaded: Loaded) -> SpcPolicy:
    """What an SPC is good for."""
    section = loaded.values.verification
    table: Mapping[str, frozenset[str]] = {
        prefix: frozenset(spcs) for prefix, spcs in section.spc_table.items()
    }
    return SpcPolicy(accept=section.spc == "accept", table=table)


def routes(loaded: Loaded) -> Routes:
    """Where the CPSs of which numbers are, our own among them."""
    found = []
    for index, section in enumerate(loaded.values.route):
        key = f"route[{index}]"
        _check_plain(loaded, f"{key}.cps", section.cps)
        pinned = tuple(_public_key(loaded, f"{key}.keys", text) for text in section.keys)
        try:
            found.append(Route(section.prefix.removeprefix("+"), section.cps, keys=pinned))
        except ConfigurationError as error:
            raise loaded.wrong(key, error.message, error.hint) from error
    publish = loaded.values.publish
    _check_plain(loaded, "publish.cps", publish.cps)
    served = []
    if publish.cps and publish.numbers:
        numbers = number_set(loaded, "publish.numbers", publish.numbers)
        try:
            served.append(Served(numbers, publish.cps))
        except ConfigurationError as error:
            raise loaded.wrong("publish.cps", error.message, error.hint) from error
    try:
        return Routes(found, served)
    except ConfigurationError as error:
        raise loaded.wrong("route", error.message, error.hint) from error


def _check_plain(loaded: Loaded, key: str, urls: Iterable[str]) -> None:
    """A CPS without TLS is used only where that is said."""
    for url in urls:
        if url.startswith("http:") and not loaded.values.outgoing.plain_loopback:
            hint = "https, or [outgoing] plain_loopback = true for one on this machine"
            raise loaded.wrong(key, f"{url[:200]!r} is not https", hint)


def _public_key(loaded: Loaded, key: str, text: str) -> bytes:
    try:
        padded = text + "=" * (-len(text) % 4)
        octets = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        octets = b""
    if len(octets) != 32:
        raise loaded.wrong(key, f"{text!r} is no X25519 key", "pbx-stir keys list shows yours")
    return octets


def never_signed(loaded: Loaded) -> NeverSigned:
    """The emergency and the excluded numbers."""
    section = loaded.values.numbers
    excluded = number_set(loaded, "numbers.excluded", section.excluded)
    if section.emergency is None:
        return NeverSigned(excluded=excluded)
    return NeverSigned(frozenset(section.emergency), excluded)


def tls_of(loaded: Loaded, key: str, name: str | None) -> ssl.SSLContext | None:
    """A client's TLS settings with the CAs of the file ``name``; None: the system's."""
    if name is None:
        return None
    path = loaded.resolve(name)
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        hint = "a file of PEM certificates that the service's user may read"
        raise loaded.wrong(key, f"no CA certificates in {path}: {error}", hint) from error


def published(loaded: Loaded, signers: Sequence[Credential]) -> tuple[Publication, ...]:
    """What is to be published of our own numbers, and where; nothing where none are named."""
    section = loaded.values.publish
    if not section.numbers:
        return ()
    numbers = number_set(loaded, "publish.numbers", section.numbers)
    try:
        return publications(signers, numbers, section.cps)
    except ConfigurationError as error:
        raise loaded.wrong("publish", error.message, error.hint) from error


def state_dir(loaded: Loaded) -> Path:
    """The folder that outlives the process, made if it is missing."""
    path = loaded.resolve(loaded.values.state_dir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        hint = "create it for the service's user"
        why = getattr(error, "strerror", None) or error
        raise loaded.wrong("state_dir", f"{path}: {why}", hint) from error
    return path
