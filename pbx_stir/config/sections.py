"""The sections and keys of a configuration file, with the values that each takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

# a file whose contents belong to the configuration: it is read when the section is carried out
FileName = Annotated[str, Meta(extra={"names": "file"})]
Port = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_.-]{1,40}\Z",
        description="a name of 1 to 40 letters, digits and . _ -",
    ),
]
Digits = Annotated[str, Meta(pattern=r"\A[0-9]{0,15}\Z", description="up to 15 digits")]
Host = Annotated[
    str, Meta(pattern=r"\A[!-~]{1,255}\Z", description="the name or address of a host")
]
HostName = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z", description="the name of a host"),
]
DisplayName = Annotated[str, Meta(max_length=64)]
CallReason = Annotated[str, Meta(max_length=96)]
Url = Annotated[
    str, Meta(pattern=r"\Ahttps?://[!-~]{1,2000}\Z", description="an http or https URL")
]


# what a value is, where a type alone does not say it; docs/configuration.md is made of these words
Path = Annotated[str, Meta(description="path")]
Numbers = Annotated[tuple[str, ...], Meta(description="set of numbers")]
Endpoints = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=160)], ...],
    Meta(description="list of endpoint names"),
]
Patterns = Annotated[tuple[str, ...], Meta(description="list of paths or patterns")]
Hosts = Annotated[tuple[Host, ...], Meta(description="list of hosts")]
HostNames = Annotated[tuple[HostName, ...], Meta(description="list of host names")]
DigitsList = Annotated[tuple[Digits, ...], Meta(description="list of digits")]
Urls = Annotated[tuple[Url, ...], Meta(description="list of URLs")]
Listen = Annotated[str, Meta(description='`"HOST:PORT"`')]
ProxyUrl = Annotated[
    str, Meta(description='`"http://HOST:PORT"` (CONNECT) or `"socks5://HOST:PORT"`')
]
RedisUrl = Annotated[str, Meta(description='`"redis://HOST:PORT"` or `"rediss://HOST:PORT"`')]


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class AsteriskSection(_Strict, frozen=True):
    """``[[asterisk]]``: a PBX's manager interface."""

    secret_file: FileName
    username: Annotated[
        str, Meta(pattern=r"\A[ -~]{1,80}\Z", description="up to 80 characters of ASCII")
    ] = "pbx-stir"
    host: Host = "127.0.0.1"
    port: Port = 5038
    name: Name | None = None
    tls: bool = False
    tls_ca: FileName | None = None


class FreeSwitchSection(_Strict, frozen=True):
    """``[[freeswitch]]``: a PBX's event socket."""

    password_file: FileName
    host: Host = "127.0.0.1"
    port: Port = 8021
    name: Name | None = None


class CredentialSection(_Strict, frozen=True):
    """``[[credential]]``: a STIR certificate with its chain, its key, where it is published."""

    certificate: FileName
    key: FileName
    x5u: Url
    ppt: Literal["", "shaken"] | None = None


class TrunkSection(_Strict, frozen=True):
    """``[[trunk]]``: how a trunk writes numbers, and which ones its calls may claim."""

    name: Name
    country_code: Digits = ""
    national_prefix: Digits = ""
    international_prefixes: DigitsList = ()
    strip: Digits = ""
    max_digits: Annotated[int, Meta(ge=7, le=24)] = 15
    numbers: Numbers = ()
    present: Annotated[str, Meta(description='`"from"` or a number')] = "from"
    attest: Literal["A", "B", "C"] = "A"
    called: Annotated[
        Mapping[str, tuple[str, ...] | str],
        Meta(description="table of DIDs to one number or a list"),
    ] = {}
    wait_for_passport_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    in_band: bool = False
    endpoints: Endpoints | None = None


class OriginatorSection(_Strict, frozen=True):
    """``[[originator]]``: what one endpoint or account may claim, and what is said of it."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    numbers: Numbers | None = None
    display_name: DisplayName = ""
    call_reason: CallReason = ""


class CallerSection(_Strict, frozen=True):
    """``[[caller]]``: what is said of whoever calls as one of these numbers."""

    numbers: Numbers
    display_name: DisplayName = ""
    call_reason: CallReason = ""


class RedisSection(_Strict, frozen=True):
    """``[cps.redis]``, ``[verification.redis]``: a Redis server, or (a list) nodes of a cluster."""

    url: (
        RedisUrl
        | Annotated[tuple[str, ...], Meta(min_length=1, max_length=64, description="list of such")]
    )
    username: str = ""
    password_file: FileName | None = None
    tls_ca: FileName | None = None
    replicas: Annotated[int, Meta(ge=0, le=16)] = 0


class VerificationSection(_Strict, frozen=True):
    """``[verification]``: what a verdict may rest on."""

    trust: Patterns = ()
    spc: Literal["accept", "refuse"] = "accept"
    spc_table: Annotated[
        Mapping[Digits, tuple[str, ...]], Meta(description="table of digits to a list of codes")
    ] = {}
    passed_attest: Annotated[
        tuple[Literal["A", "B", "C"], ...], Meta(description='list of `"A"`, `"B"`, `"C"`')
    ] = ("A",)
    x5u_hosts: Literal["any"] | HostNames = ()
    x5u_allow: Annotated[tuple[str, ...], Meta(description='list of `"HOST:PORT"`')] = ()
    x5u_tls_ca: FileName | None = None
    revocation: Literal["off", "soft", "hard"] = "soft"
    single_use: Literal["file", "redis"] = "file"
    redis: RedisSection | None = None
    crls: Annotated[
        tuple[str, ...], Meta(description="list of paths, patterns, and http or https URLs")
    ] = ()
    crl_signers: Patterns = ()


class RouteSection(_Strict, frozen=True, gc=False):
    """``[[route]]``: where the CPSs of the numbers with a prefix are, and maybe their keys."""

    prefix: Annotated[
        str,
        Meta(pattern=r"\A\+?[0-9]{0,15}\Z", description='the first digits, such as "+1212"'),
    ]
    cps: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=4, description="list of URLs")]
    keys: Annotated[tuple[str, ...], Meta(description="list of keys")] = ()
    sealing: Literal["required", "none"] = "required"
    submission: Literal["signed", "open"] = "signed"
    hidden_digits: Annotated[int, Meta(ge=0, le=8)] = 0


class AdvertisementSection(_Strict, frozen=True):
    """``[[advertisement]]``: where others say at which CPS their numbers are (RFC 9888)."""

    source: Annotated[str, Meta(description="path or https URL")]
    signed_by: Annotated[
        FileName, Meta(description='`"stir"`, `"nobody"` or path', extra={"names": "file"})
    ] = "stir"
    refresh_minutes: Annotated[float, Meta(ge=1, le=1440)] = 60.0
    tls_ca: FileName | None = None


class EnumSection(_Strict, frozen=True):
    """``[enum]``: the tree in DNS that says it; without a suffix none is asked."""

    suffix: Annotated[str, Meta(description="domain name")] | None = None
    service: Annotated[str, Meta(description="service field")] = "E2U+pbx-stir-cps"
    nameservers: Annotated[
        tuple[str, ...], Meta(max_length=4, description="list of addresses")
    ] = ()


class PublishSection(_Strict, frozen=True):
    """``[publish]``: the records of our own numbers."""

    numbers: Numbers = ()
    cps: Urls = ()
    bare_cps: Urls = ()
    record_days: Annotated[float, Meta(gt=0, le=7)] = 1.0
    key_days: Annotated[float, Meta(gt=0, le=90)] = 7.0
    retrieve: Literal["open", "signed", "subscribed"] = "open"


class CoverSection(_Strict, frozen=True):
    """``[cover]``: stores and retrievals that belong to no call."""

    stores_per_hour: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    retrievals_per_hour: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    numbers: Numbers = ()


class OutgoingSection(_Strict, frozen=True):
    """``[outgoing]``: the connections to CPSs."""

    tls_ca: FileName | None = None
    plain_loopback: bool = False
    bare_certificate: FileName | None = None
    bare_key: FileName | None = None
    store_proxy: ProxyUrl | None = None
    store_proxy_password_file: FileName | None = None
    retrieve_proxy: ProxyUrl | None = None
    retrieve_proxy_password_file: FileName | None = None


class WalletSection(_Strict, frozen=True):
    """``[wallet]``: the storage tokens that are kept for stores to come."""

    low: Annotated[int, Meta(ge=1, le=20_000)] = 200
    high: Annotated[int, Meta(ge=1, le=20_000)] = 1_000
    calls_per_token: Annotated[int, Meta(ge=1, le=16)] = 1


class NumbersSection(_Strict, frozen=True):
    """``[numbers]``: what is neither held, signed nor looked up."""

    emergency: DigitsList | None = None
    excluded: Numbers = ()


class CallLogSection(_Strict, frozen=True):
    """``[call_log]``: where its lines go, and how numbers stand in it.

    ``file`` is a path, "-" for standard output, "journal" or "syslog".
    """

    file: Annotated[str, Meta(description='path, `"-"`, `"journal"` or `"syslog"`')] = "-"
    numbers: Literal["full", "short", "hash"] = "full"
    keep_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    most_mebibytes: Annotated[int, Meta(ge=1, le=100_000)] = 100


class MetricsSection(_Strict, frozen=True):
    """``[metrics]``: where ``pbx-stir run`` gives metrics; without ``listen`` nowhere."""

    listen: Listen = ""


class BoardSection(_Strict, frozen=True):
    """``[board]``: the web page on which calls appear; without ``listen`` there is none."""

    listen: Listen = ""
    token_file: FileName | None = None
    names: Hosts = ()
    certificate: FileName | None = None
    key: FileName | None = None
    behind_proxy: bool = False
    session_hours: Annotated[float, Meta(gt=0, le=720)] = 12.0
    calls: Annotated[int, Meta(ge=10, le=10_000)] = 1_000


class BareSection(_Strict, frozen=True):
    """``[cps.bare]``: the listener for unsealed PASSporTs (RFC 9888); without ``listen`` none."""

    listen: Listen | None = None
    certificate: FileName | None = None
    key: FileName | None = None
    tls: bool = True
    names: Hosts = ()
    submitters: Literal["signed", "any"] = "signed"
    retrieval: Literal["signed", "any"] = "signed"
    client_certificates: bool = True
    submissions_per_second: Annotated[int, Meta(ge=1)] = 1_000
    submissions_per_second_of_a_signer: Annotated[int, Meta(ge=1)] = 100


class CpsSection(_Strict, frozen=True):
    """``[cps]``: the call placement service of ``pbx-stir cps``."""

    listen: Listen = "127.0.0.1:8443"
    certificate: FileName | None = None
    key: FileName | None = None
    tls: bool = True
    tokens: bool = True
    stores_per_token: Annotated[int, Meta(ge=1, le=1_000_000)] = 16
    stores_per_token_and_number: Annotated[int, Meta(ge=1, le=1_000_000)] = 16
    tokens_per_leaf: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 20_000
    tokens_per_issuer: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    tokens_per_spc: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100_000
    trust: Patterns = ()
    crls: Patterns = ()
    crl_signers: Patterns = ()
    lifetime_seconds: Annotated[int, Meta(ge=5, le=60)] = 30
    most_per_number: Annotated[int, Meta(ge=1, le=61)] = 61
    most_mebibytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    retrievals_per_second: Annotated[int, Meta(ge=1)] = 10_000
    most_connections: Annotated[int, Meta(ge=16, le=100_000)] = 4096
    most_connections_of_a_peer: Annotated[int, Meta(ge=1, le=100_000)] = 256
    most_handshakes_of_a_peer: Annotated[int, Meta(ge=1, le=100_000)] = 20
    metrics: Listen = ""
    names: Hosts = ()
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

    state_dir: Path = "/var/lib/pbx-stir"
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
    metrics: MetricsSection = MetricsSection()
    board: BoardSection = BoardSection()
    cps: CpsSection = CpsSection()
