"""Configuration: a TOML file becomes frozen values.

The only reader of configuration, of secrets and of the environment. Each mistake is named with
file, line, key and remedy, all of them at once; paths are relative to the file that names them.
"""

from pbx_stir.config.files import with_files
from pbx_stir.config.loading import LARGEST_FILE, LONGEST_SECRET, Loaded, load
from pbx_stir.config.sections import (
    AdvertisementSection,
    AsteriskSection,
    BareSection,
    CallerSection,
    CallLogSection,
    Configuration,
    CoverSection,
    CpsSection,
    CredentialSection,
    EnumSection,
    FreeSwitchSection,
    MetricsSection,
    NumbersSection,
    OriginatorSection,
    OutgoingSection,
    PublishSection,
    RedisSection,
    RouteSection,
    TrunkSection,
    VerificationSection,
    WalletSection,
)

__all__ = [
    "LARGEST_FILE",
    "LONGEST_SECRET",
    "AdvertisementSection",
    "AsteriskSection",
    "BareSection",
    "CallLogSection",
    "CallerSection",
    "Configuration",
    "CoverSection",
    "CpsSection",
    "CredentialSection",
    "EnumSection",
    "FreeSwitchSection",
    "Loaded",
    "MetricsSection",
    "NumbersSection",
    "OriginatorSection",
    "OutgoingSection",
    "PublishSection",
    "RedisSection",
    "RouteSection",
    "TrunkSection",
    "VerificationSection",
    "WalletSection",
    "load",
    "with_files",
]
