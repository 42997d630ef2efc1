"""Configuration: a TOML file becomes frozen values.

The only reader of configuration, of secrets and of the environment. Each mistake is named with
file, key and remedy; paths are relative to the file that names them.
"""

from __future__ import annotations

import glob
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from pbx_stir.errors import ConfigurationError

LARGEST_FILE: Final = 1 << 20
LONGEST_SECRET: Final = 500

Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,40}\Z")]
Digits = Annotated[str, Meta(pattern=r"\A[0-9]{0,15}\Z")]
Host = Annotated[str, Meta(pattern=r"\A[!-~]{1,255}\Z")]
HostName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")]
DisplayName = Annotated[str, Meta(max_length=64)]
CallReason = Annotated[str, Meta(max_length=96)]
Url = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,2000}\Z")]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AsteriskSection(_Strict, frozen=True):
    """``[[asterisk]]``: a PBX's manager interface."""

    secret_file: str
    username: Annotated[str, Meta(pattern=r"\A[ -~]{1,80}\Z")] = "pbx-stir"
    host: Host = "127.0.0.1"
    port: Port = 5038
    name: Name | None = None
    tls: bool = False
    tls_ca: str | None = None


class FreeSwitchSection(_Strict, frozen=True):
    """``[[freeswitch]]``: a PBX's event socket."""

    password_file: str
    host: Host = "127.0.0.1"
    port: Port = 8021
    name: Name | None = None


class CredentialSection(_Strict, frozen=True):
    """``[[credential]]``: a STIR certificate with its chain, its key, where it is published."""

    certificate: str
    key: str
    x5u: Url
    ppt: Literal["", "shaken"] | None = None


class TrunkSection(_Strict, frozen=True):
    """``[[trunk]]``: how a trunk writes numbers, and which ones its calls may claim."""

    name: Name
    country_code: Digits = ""
    national_prefix: Digits = ""
    international_prefixes: tuple[Digits, ...] = ()
    strip: Digits = ""
    max_digits: Annotated[int, Meta(ge=7, le=24)] = 15
    numbers: tuple[str, ...] = ()
    present: str = "from"
    attest: Literal["A", "B", "C"] = "A"
    called: Mapping[str, tuple[str, ...] | str] = {}
    wait_for_passport_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    in_band: bool = False


class OriginatorSection(_Strict, frozen=True):
    """``[[originator]]``: what one endpoint or account may claim, and what is said of it."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    numbers: tuple[str, ...] | None = None
    display_name: DisplayName = ""
    call_reason: CallReason = ""


class CallerSection(_Strict, frozen=True):
    """``[[caller]]``: what is said of whoever calls as one of these numbers."""

    numbers: tuple[str, ...]
    display_name: DisplayName = ""
    call_reason: CallReason = ""


class RedisSection(_Strict, frozen=True):
    """``[cps.redis]``, ``[verification.redis]``: a Redis server, or (a list) nodes of a cluster."""

    url: str | Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    username: str = ""
    password_file: str | None = None
    tls_ca: str | None = None
    replicas: Annotated[int, Meta(ge=0, le=16)] = 0


class VerificationSection(_Strict, frozen=True):
    """``[verification]``: what a verdict may rest on."""

    trust: tuple[str, ...] = ()
    spc: Literal["accept", "refuse"] = "accept"
    spc_table: Mapping[Digits, tuple[str, ...]] = {}
    passed_attest: tuple[Literal["A", "B", "C"], ...] = ("A",)
    x5u_hosts: Literal["any"] | tuple[HostName, ...] = ()
    x5u_allow: tuple[str, ...] = ()
    x5u_tls_ca: str | None = None
    revocation: Literal["off", "soft", "hard"] = "soft"
    single_use: Literal["file", "redis"] = "file"
    redis: RedisSection | None = None
    crls: tuple[str, ...] = ()
    crl_signers: tuple[str, ...] = ()


class RouteSection(_Strict, frozen=True):
    """``[[route]]``: where the CPSs of the numbers with a prefix are, and maybe their keys."""

    prefix: Annotated[str, Meta(pattern=r"\A\+?[0-9]{0,15}\Z")]
    cps: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=4)]
    keys: tuple[str, ...] = ()
    sealing: Literal["required", "none"] = "required"
    submission: Literal["signed", "open"] = "signed"
    hidden_digits: Annotated[int, Meta(ge=0, le=8)] = 0


class AdvertisementSection(_Strict, frozen=True):
    """``[[advertisement]]``: where others say at which CPS their numbers are (RFC 9888)."""

    source: str
    signed_by: str = "stir"
    refresh_minutes: Annotated[float, Meta(ge=1, le=1440)] = 60.0
    tls_ca: str | None = None


class EnumSection(_Strict, frozen=True):
    """``[enum]``: the tree in DNS that says it; without a suffix none is asked."""

    suffix: str | None = None
    service: str = "E2U+pbx-stir-cps"
    nameservers: Annotated[tuple[str, ...], Meta(max_length=4)] = ()


class PublishSection(_Strict, frozen=True):
    """``[publish]``: the records of our own numbers."""

    numbers: tuple[str, ...] = ()
    cps: tuple[Url, ...] = ()
    bare_cps: tuple[Url, ...] = ()
    record_days: Annotated[float, Meta(gt=0, le=7)] = 1.0
    key_days: Annotated[float, Meta(gt=0, le=90)] = 7.0
    retrieve: Literal["open", "signed", "subscribed"] = "open"


class CoverSection(_Strict, frozen=True):
    """``[cover]``: stores and retrievals that belong to no call."""

    stores_per_hour: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    retrievals_per_hour: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    numbers: tuple[str, ...] = ()


class OutgoingSection(_Strict, frozen=True):
    """``[outgoing]``: the connections to CPSs."""

    tls_ca: str | None = None
    plain_loopback: bool = False
    bare_certificate: str | None = None
    bare_key: str | None = None
    store_proxy: str | None = None
    store_proxy_password_file: str | None = None
    retrieve_proxy: str | None = None
    retrieve_proxy_password_file: str | None = None


class WalletSection(_Strict, frozen=True):
    """``[wallet]``: the storage tokens that are kept for stores to come."""

    low: Annotated[int, Meta(ge=1, le=20_000)] = 200
    high: Annotated[int, Meta(ge=1, le=20_000)] = 1_000
    calls_per_token: Annotated[int, Meta(ge=1, le=16)] = 1


class NumbersSection(_Strict, frozen=True):
    """``[numbers]``: what is neither held, signed nor looked up."""

    emergency: tuple[Digits, ...] | None = None
    excluded: tuple[str, ...] = ()


class CallLogSection(_Strict, frozen=True):
    """``[call_log]``: where its lines go ("-" is standard output), and how numbers stand in it."""

    file: str = "-"
    numbers: Literal["full", "short"] = "full"


class BareSection(_Strict, frozen=True):
    """``[cps.bare]``: the listener for unsealed PASSporTs (RFC 9888); without ``listen`` none."""

    listen: str | None = None
    certificate: str | None = None
    key: str | None = None
    tls: bool = True
    names: tuple[Host, ...] = ()
    submitters: Literal["signed", "any"] = "signed"
    retrieval: Literal["signed", "any"] = "signed"
    client_certificates: bool = True
    submissions_per_second: Annotated[int, Meta(ge=1)] = 1_000
    submissions_per_second_of_a_signer: Annotated[int, Meta(ge=1)] = 100


class CpsSection(_Strict, frozen=True):
    """``[cps]``: the call placement service of ``pbx-stir cps``."""

    listen: str = "127.0.0.1:8443"
    certificate: str | None = None
    key: str | None = None
    tls: bool = True
    tokens: bool = True
    stores_per_token: Annotated[int, Meta(ge=1, le=1_000_000)] = 16
    stores_per_token_and_number: Annotated[int, Meta(ge=1, le=1_000_000)] = 16
    tokens_per_leaf: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 20_000
    tokens_per_issuer: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    tokens_per_spc: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100_000
    trust: tuple[str, ...] = ()
    crls: tuple[str, ...] = ()
    crl_signers: tuple[str, ...] = ()
    lifetime_seconds: Annotated[int, Meta(ge=5, le=60)] = 30
    most_per_number: Annotated[int, Meta(ge=1, le=61)] = 61
    most_mebibytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    retrievals_per_second: Annotated[int, Meta(ge=1)] = 10_000
    most_connections: Annotated[int, Meta(ge=16, le=100_000)] = 4096
    most_connections_of_a_peer: Annotated[int, Meta(ge=1, le=100_000)] = 256
    most_handshakes_of_a_peer: Annotated[int, Meta(ge=1, le=100_000)] = 20
    metrics: str = ""
    names: tuple[Host, ...] = ()
    retrieval: Literal["open", "holders"] = "open"
    client_certificates: bool = False
    push_subscribers: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    push_subscribers_of_a_leaf: Annotated[int, Meta(ge=1, le=100_000)] = 64
    push_heartbeat_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 15.0
    workers: Annotated[int, Meta(ge=1, le=128)] = 1
    redis: RedisSection | None = None
    bare: BareSection = BareSection()


class Configuration(_Strict, frozen=True):
    """The whole file. ``path`` is set by ``load``, never by the file."""

    state_dir: str = "/var/lib/pbx-stir"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    asterisk: tuple[AsteriskSection, ...] = ()
    freeswitch: tuple[FreeSwitchSection, ...] = ()
    credential: tuple[CredentialSection, ...] = ()
    trunk: tuple[TrunkSection, ...] = ()
    originator: tuple[OriginatorSection, ...] = ()
    caller: tuple[CallerSection, ...] = ()
    verification: VerificationSection = VerificationSection()
    route: tuple[RouteSection, ...] = ()
    advertisement: Annotated[tuple[AdvertisementSection, ...], Meta(max_length=16)] = ()
    enum: EnumSection = EnumSection()
    publish: PublishSection = PublishSection()
    cover: CoverSection = CoverSection()
    outgoing: OutgoingSection = OutgoingSection()
    wallet: WalletSection = WalletSection()
    numbers: NumbersSection = NumbersSection()
    call_log: CallLogSection = CallLogSection()
    cps: CpsSection = CpsSection()


class Loaded(Struct, frozen=True):
    """A configuration with the file it came from, which its paths are relative to."""

    path: Path
    values: Configuration

    def resolve(self, name: str) -> Path:
        """``name`` as a path, relative to the configuration file's folder."""
        return self.path.parent / _expanded(name)

    def pattern(self, name: str) -> str:
        """``name`` as a glob pattern; what the folder's own name has of ``[`` or ``*`` is plain."""
        return str(Path(glob.escape(str(self.path.parent))) / _expanded(name))

    def wrong(self, key: str, message: str, hint: str = "") -> ConfigurationError:
        """The error for ``key`` of this file."""
        return ConfigurationError(f"{self.path}: {key}: {message}", hint=hint)

    def read(self, key: str, name: str) -> bytes:
        """The octets of the file that ``key`` names."""
        path = self.resolve(name)
        try:
            octets = _bounded(path)
        except (OSError, ValueError) as error:
            hint = "check the path, and that the service's user may read it"
            raise self.wrong(key, f"cannot read {path}: {_why(error)}", hint) from error
        if octets is None:
            raise self.wrong(key, f"{path} is larger than {LARGEST_FILE} octets")
        return octets

    def read_private(self, key: str, name: str) -> bytes:
        """As ``read``, for a secret: refused where others than owner and group may read it."""
        path = self.resolve(name)
        octets = self.read(key, name)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise self.wrong(key, f"cannot read {path}: {_why(error)}") from error
        if mode & stat.S_IRWXO:
            raise self.wrong(key, f"{path} is open to everyone", f"chmod o= {path}")
        return octets

    def secret(self, key: str, name: str) -> str:
        """A one-line secret, without the line's end."""
        octets = self.read_private(key, name)
        try:
            text = octets.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError:
            # not its cause, which quotes the secret
            text = ""
        if not text or len(text) > LONGEST_SECRET or not text.isprintable():
            where = self.resolve(name)
            hint = "put the secret alone on one line, in ASCII"
            raise self.wrong(key, f"{where} is not one line of text", hint)
        return text

    def matching(self, key: str, patterns: tuple[str, ...]) -> tuple[Path, ...]:
        """The files that ``patterns`` match; one that matches none is an error."""
        found: dict[Path, None] = {}
        for pattern in patterns:
            names = sorted(glob.glob(self.pattern(pattern)))
            if not names:
                raise self.wrong(key, f"no file matches {pattern}", "check the path")
            found.update((Path(name), None) for name in names)
        return tuple(found)


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        # "~nobody": no such home, so it is a file's name like any other
        return Path(name)


def _why(error: OSError | ValueError) -> str:
    """What the system says, or (a name with a zero octet) what Python does."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _bounded(path: Path) -> bytes | None:
    with path.open("rb") as stream:
        octets = stream.read(LARGEST_FILE + 1)
    return octets if len(octets) <= LARGEST_FILE else None


def load(path: Path) -> Loaded:
    """Read ``path``.

    Raises:
        ConfigurationError: naming file, key and remedy
    """
    try:
        octets = _bounded(path)
    except (OSError, ValueError) as error:
        hint = "name it with --config"
        raise ConfigurationError(f"cannot read {path}: {_why(error)}", hint=hint) from error
    if octets is None:
        raise ConfigurationError(f"{path} is larger than {LARGEST_FILE} octets")
    try:
        values = msgspec.toml.decode(octets, type=Configuration)
    except msgspec.ValidationError as error:
        message, key = _where(str(error))
        hint = "docs/configuration.md lists every key"
        raise ConfigurationError(f"{path}: {key}: {message}", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    return Loaded(path.absolute(), values)


def _where(message: str) -> tuple[str, str]:
    """Split msgspec's sentence into what is wrong and the key it is wrong at."""
    what, _, where = message.rpartition(" - at `")
    if not what:
        what, where = message, ""
    # a key of a table that is itself wrong: "at `key` in `$.table`"
    key = where.removeprefix("key` in `").removeprefix("$").rstrip("`").lstrip(".")
    return what[:1].lower() + what[1:], key or "top level"
