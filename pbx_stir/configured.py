"""A configuration's sections as the values that the rooms take.

Takes a ``config.Loaded``, gives trunks, credentials, routes and the like; names file and key of
what is wrong. Starts nothing and connects to nothing.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.certificates.fetch import X5uFetcher
from pbx_stir.certificates.revocation import RevocationWatch
from pbx_stir.certificates.watching import is_url, watching
from pbx_stir.config import CredentialSection, Loaded, RedisSection, RouteSection
from pbx_stir.directory.advertisements import MEDIA_TYPE as ADVERTISEMENT_TYPE
from pbx_stir.directory.advertisements import Advertisements, AdvertisementSource, SignedBy
from pbx_stir.directory.enum import EnumDirectory, EnumSettings
from pbx_stir.directory.publisher import Publication, publications
from pbx_stir.directory.routes import Route, Routes, Sealing, Served
from pbx_stir.errors import (
    ConfigurationError,
    Malformed,
    MalformedNumber,
    Mistakes,
    UrlRefused,
    UsageError,
)
from pbx_stir.redis_backend.settings import RedisSettings
from pbx_stir.redis_backend.settings import check_extra as check_redis_extra
from pbx_stir.redis_backend.settings import settings as redis_settings
from pbx_stir.services.authentication import NeverSigned
from pbx_stir.stir import credential
from pbx_stir.stir.advertisement import MAX_OCTETS as ADVERTISEMENT_OCTETS
from pbx_stir.stir.advertisement import check_cps_url
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberSet
from pbx_stir.stir.x5u import EgressRule


def number_set(loaded: Loaded, key: str, items: Iterable[str], digits: int = 15) -> NumberSet:
    """``items`` as a set of canonical numbers."""
    try:
        return NumberSet.parse(items, max_digits=digits)
    except MalformedNumber as error:
        hint = 'such as "+12125551234", "+12125551200-+12125551299" or "+1212555*"'
        raise loaded.wrong(key, error.message, hint) from error


def credentials(loaded: Loaded) -> tuple[Credential, ...]:
    """Every credential, its key read from a file that not everyone may read."""
    found = []
    mistakes = Mistakes()
    for index, section in enumerate(loaded.values.credential):
        with mistakes.gathered():
            found.append(_credential(loaded, f"credential[{index}]", section))
    mistakes.settle()
    return tuple(found)


def _credential(loaded: Loaded, key: str, section: CredentialSection) -> Credential:
    certificate = loaded.read(f"{key}.certificate", section.certificate)
    private = loaded.read_private(f"{key}.key", section.key)
    try:
        return credential.load(certificate, private, x5u=section.x5u, ppt=section.ppt)
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def anchors(loaded: Loaded, key: str, patterns: tuple[str, ...]) -> AnchorFiles:
    """The trust anchors that ``patterns`` name, relative to the configuration file."""
    mistakes = Mistakes()
    for pattern in patterns:
        with mistakes.gathered():
            loaded.matching(key, (pattern,))
    mistakes.settle()
    try:
        return AnchorFiles([loaded.pattern(pattern) for pattern in patterns])
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


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
    found: list[Route] = []
    mistakes = Mistakes()
    for index, section in enumerate(loaded.values.route):
        with mistakes.gathered():
            found.append(_route(loaded, f"route[{index}]", section))
    served: list[Served] = []
    with mistakes.gathered():
        served += _served(loaded)
    mistakes.settle()
    try:
        return Routes(found, served)
    except ConfigurationError as error:
        raise loaded.wrong("route", error.message, error.hint) from error


def _route(loaded: Loaded, key: str, section: RouteSection) -> Route:
    _check_plain(loaded, f"{key}.cps", section.cps)
    pinned = tuple(_public_key(loaded, f"{key}.keys", text) for text in section.keys)
    try:
        return Route(
            section.prefix.removeprefix("+"),
            section.cps,
            Sealing(section.sealing),
            pinned,
            signed=section.submission == "signed",
            hidden_digits=section.hidden_digits,
        )
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error


def _served(loaded: Loaded) -> Iterator[Served]:
    """Where our own numbers are, if that is said."""
    publish = loaded.values.publish
    _check_plain(loaded, "publish.cps", publish.cps)
    _check_plain(loaded, "publish.bare_cps", publish.bare_cps)
    if (publish.cps or publish.bare_cps) and publish.numbers:
        numbers = number_set(loaded, "publish.numbers", publish.numbers)
        try:
            yield Served(numbers, publish.cps, publish.bare_cps)
        except ConfigurationError as error:
            raise loaded.wrong("publish.cps", error.message, error.hint) from error


def egress(where: Routes) -> EgressRule:
    """Where we connect to for a stranger: wherever the configuration names, and public hosts."""
    return EgressRule(origins=frozenset(map(_origin, where.sealed_cps | where.bare_cps)))


def _origin(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def advertisements(
    loaded: Loaded, trusted: Callable[[], Anchors]
) -> tuple[Advertisements | None, Callable[[], Awaitable[None]] | None]:
    """What others advertise, and what closes it; None where no source is named."""
    sources: list[AdvertisementSource] = []
    contexts: dict[tuple[str, int], ssl.SSLContext] = {}
    origins: set[tuple[str, int]] = set()
    for index, section in enumerate(loaded.values.advertisement):
        key = f"advertisement[{index}]"
        place = _place(loaded, key, section.source)
        try:
            signed_by = _signer(loaded, f"{key}.signed_by", section.signed_by)
            sources.append(AdvertisementSource(place, signed_by, section.refresh_minutes * 60))
        except ConfigurationError as error:
            raise loaded.wrong(f"{key}.signed_by", error.message, error.hint) from error
        if isinstance(place, str):
            origins.add(_origin(place))
            context = tls_of(loaded, f"{key}.tls_ca", section.tls_ca)
            if context is not None:
                contexts[_origin(place)] = context
    if not sources:
        return None, None
    fetcher = X5uFetcher(
        rule=EgressRule(origins=frozenset(origins)),
        origin_tls=contexts,
        accept=ADVERTISEMENT_TYPE,
        max_octets=ADVERTISEMENT_OCTETS,
    )
    found = Advertisements(sources, fetcher=fetcher, anchors=trusted, spc_policy=spc_policy(loaded))
    return found, fetcher.close


def _place(loaded: Loaded, key: str, source: str) -> Path | str:
    if "://" not in source:
        return loaded.resolve(source)
    try:
        check_cps_url(source)
    except Malformed as error:
        hint = "a file, or an https URL without user, query and fragment"
        raise loaded.wrong(f"{key}.source", f"{source[:200]!r} is neither", hint) from error
    return source


def _signer(loaded: Loaded, key: str, text: str) -> SignedBy | EllipticCurvePublicKey:
    if text in {"stir", "nobody"}:
        return SignedBy(text)
    try:
        public = load_pem_public_key(loaded.read(key, text))
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, EllipticCurvePublicKey):
        hint = '"stir", "nobody", or a PEM file with a P-256 public key'
        raise ConfigurationError(f"{text!r} has no public key that signs", hint=hint)
    return public


def enum(loaded: Loaded) -> EnumDirectory | None:
    """The tree in DNS that is asked, None where none is named."""
    section = loaded.values.enum
    if section.suffix is None:
        return None
    try:
        return EnumDirectory(EnumSettings(section.suffix, section.service, section.nameservers))
    except ConfigurationError as error:
        raise loaded.wrong("enum", error.message, error.hint) from error


def bare_tls(loaded: Loaded) -> ssl.SSLContext | None:
    """TLS to CPSs of unsealed PASSporTs, with our certificate for those that ask for one."""
    section = loaded.values.outgoing
    if (section.bare_certificate is None) != (section.bare_key is None):
        raise loaded.wrong("outgoing", "bare_certificate and bare_key go together")
    context = tls_of(loaded, "outgoing.tls_ca", section.tls_ca)
    if section.bare_certificate is None or section.bare_key is None:
        return context
    context = context or ssl.create_default_context()
    loaded.read_private("outgoing.bare_key", section.bare_key)
    try:
        context.load_cert_chain(
            loaded.resolve(section.bare_certificate),
            loaded.resolve(section.bare_key),
            # an encrypted one would be asked for on a terminal
            password=lambda: "",
        )
    except (OSError, ValueError) as error:
        hint = "PEM files of a certificate and its unencrypted key"
        raise loaded.wrong("outgoing.bare_certificate", f"cannot be used: {error}", hint) from error
    return context


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
    if not section.numbers or (section.bare_cps and not section.cps):
        return ()
    numbers = number_set(loaded, "publish.numbers", section.numbers)
    try:
        return publications(signers, numbers, section.cps)
    except ConfigurationError as error:
        raise loaded.wrong("publish", error.message, error.hint) from error


def redis(loaded: Loaded, key: str, section: RedisSection) -> RedisSettings:
    """Where Redis is, with its password; ``key`` is the table's name."""
    try:
        check_redis_extra()
    except ConfigurationError as error:
        raise loaded.wrong(key, error.message, error.hint) from error
    password = ""
    if section.password_file is not None:
        password = loaded.secret(f"{key}.password_file", section.password_file)
    tls_ca = ""
    if section.tls_ca is not None:
        tls_of(loaded, f"{key}.tls_ca", section.tls_ca)
        tls_ca = str(loaded.resolve(section.tls_ca))
    try:
        return redis_settings(
            section.url,
            username=section.username,
            password=password,
            tls_ca=tls_ca,
            replicas=section.replicas,
        )
    except ConfigurationError as error:
        raise loaded.wrong(f"{key}.url", error.message, error.hint) from error


def used_redis(loaded: Loaded) -> RedisSettings:
    """The Redis where it is remembered which PASSporTs were used."""
    key, section = "verification.redis", loaded.values.verification.redis
    if section is None:
        key, section = "cps.redis", loaded.values.cps.redis
    if section is None:
        hint = "add a table [verification.redis] with a url"
        raise loaded.wrong("verification.single_use", "no redis is named", hint)
    return redis(loaded, key, section)


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
