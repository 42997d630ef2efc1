"""Every mistake of a configuration is found before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.companies import Authority, Company
from pbx_stir import config
from pbx_stir.configured_mistakes import check
from pbx_stir.errors import ConfigurationError
from tests.cli.run_scene import Manager

BROKEN = """
[[asterisk]]
name = "one"
secret_file = "none.secret"
[[asterisk]]
name = "two"
secret_file = "open.secret"
[[freeswitch]]
name = "three"
password_file = "none.password"
[[credential]]
certificate = "none.pem"
key = "none.key"
x5u = "https://a/a.pem"
[[trunk]]
name = "a"
numbers = ["x"]
[[trunk]]
name = "a"
[[originator]]
name = "o"
numbers = ["y"]
[[caller]]
numbers = ["z"]
[[route]]
prefix = "1"
cps = ["http://a"]
[[route]]
prefix = "2"
cps = ["https://a"]
keys = ["x"]
[[advertisement]]
source = "ftp://a"
[verification]
trust = ["none/*.pem", "neither.pem"]
x5u_allow = ["nowhere"]
single_use = "redis"
[outgoing]
tls_ca = "none.pem"
store_proxy = "x"
bare_key = "x"
[numbers]
excluded = ["w"]
[cover]
stores_per_hour = 1.0
[call_log]
file = "none/calls.jsonl"
"""
KEYS = [
    "asterisk[0].secret_file",
    "asterisk[1].secret_file",
    "freeswitch[0].password_file",
    "credential[0].certificate",
    "trunk[0].numbers",
    "trunk[1].name",
    "originator[0].numbers",
    "caller[0].numbers",
    "route[0].cps",
    "route[1].keys",
    "advertisement[0].source",
    "verification.trust",
    "verification.x5u_allow",
    "verification.single_use",
    "outgoing.tls_ca",
    "outgoing.store_proxy",
    "outgoing",
    "numbers.excluded",
    "cover.numbers",
    "call_log.file",
]


def found(path: Path) -> list[str]:
    """Each mistake, as it is printed."""
    with pytest.raises(ConfigurationError) as caught:
        check(config.load(path))
    return [str(one) for one in caught.value.each]


def test_all_at_once(tmp_path: Path) -> None:
    """One in each part, and several in lists: each is said once, with file, line and key."""
    path = tmp_path / "pbx-stir.toml"
    path.write_text(BROKEN)
    (tmp_path / "open.secret").write_text("secret")
    said = found(path)
    assert len(set(said)) == len(said)
    for key in KEYS:
        assert [one for one in said if f": {key}: " in one], key
    assert len([one for one in said if ": verification.trust: " in one]) == 2
    keys = {one.split(": ")[1] for one in said}
    assert keys == set(KEYS)
    lines = BROKEN.splitlines()
    for one in said:
        place, key, _ = one.split(": ", 2)
        line = lines[int(place.removeprefix(f"{path}:")) - 1]
        last = key.rpartition(".")[2]
        assert line.startswith((last, f"[{last}]", "[cover]"))


def test_what_is_right_passes(tmp_path: Path) -> None:
    """And nothing is connected to."""
    authority = Authority.new(tmp_path, "Lab")
    company = Company("acme", "12125551200", 100, tmp_path / "acme")
    company.configure(
        authority=authority,
        trust=authority.anchor,
        cps="https://127.0.0.1:1",
        cps_ca=authority.anchor,
        routes=["1"],
        pbxs=[Manager(1)],
    )
    check(config.load(company.config))
    text = company.config.read_text()
    company.config.write_text(text.replace('"+1212555', '"+1999555'))
    assert any("publish" in one for one in found(company.config))
