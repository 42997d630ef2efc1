"""Configuration files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pbx_stir import config
from pbx_stir.errors import ConfigurationError

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-config-")
_FILE = Path(_FOLDER.name, "pbx-stir.toml")
SEEDS = (
    b"",
    b"""state_dir = "/var/lib/pbx-stir"
[[asterisk]]
host = "127.0.0.1"
port = 5038
username = "pbx-stir"
secret_file = "ami.secret"
[[credential]]
certificate = "company.pem"
key = "company.key"
x5u = "https://cert.example.com/company.pem"
[[trunk]]
name = "carrier-1"
country_code = "1"
numbers = ["+12125551200-+12125551299"]
[verification]
trust = ["anchors/*.pem"]
spc_table = {"1900" = ["1234"]}
[[route]]
prefix = "+1646"
cps = ["https://cps.example.net"]
[cps]
listen = "0.0.0.0:8443"
""",
    b'[[trunk]]\nname = "a"\ncalled = {"2000" = ["+13105552000"]}\n',
)


def one(octets: bytes) -> None:
    """Load it: values, or what is wrong in words that name the file."""
    _FILE.write_bytes(octets)
    try:
        config.load(_FILE)
    except ConfigurationError as error:
        named = str(_FILE) in str(error)
    else:
        named = True
    assert named
