"""What the configuration's sections say, and do not say."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from pbx_stir import configured_mistakes
from pbx_stir.checks import configuration
from pbx_stir.checks.configuration import serves_calls, serves_cps
from pbx_stir.errors import ConfigurationError
from tests.checks.setups import Setup, files_of


def test_a_healthy_setup_has_no_findings(setup: Setup) -> None:
    """Not even a note."""
    assert setup.offline() == []


FILES: dict[str, tuple[str, str]] = {
    "trunk-wrong": ('country_code = "1"', 'country_code = "1"\npresent = "x"'),
    "route-wrong": ('prefix = "+1"\n', 'prefix = "+1"\nkeys = ["AAAA"]\n'),
    "numbers-wrong": ("[outgoing]", '[numbers]\nexcluded = ["x"]\n[outgoing]'),
    "pbx-wrong": ('secret_file = "pbx.secret"', 'secret_file = "none"'),
    "x5u-wrong": ("x5u_allow = [", 'x5u_allow = ["nowhere", '),
    "tls-ca-wrong": ('\ntls_ca = "', '\ntls_ca = "/none'),
    "tls-certificate-wrong": ("[outgoing]", '[outgoing]\nbare_key = "acme.key"'),
    "call-log-wrong": ('file = "calls.jsonl"', 'file = "none/calls.jsonl"'),
    "cover-wrong": ("[outgoing]", "[cover]\nstores_per_hour = 1.0\n[outgoing]"),
    "advertisement-wrong": (
        "[outgoing]",
        '[[advertisement]]\nsource = "http://a.example"\n[outgoing]',
    ),
    "enum-wrong": ("[outgoing]", '[enum]\nsuffix = "a b"\n[outgoing]'),
    "board-wrong": ("[outgoing]", '[board]\nlisten = "127.0.0.1:1"\n[outgoing]'),
    "metrics-wrong": ("[outgoing]", '[metrics]\nlisten = "nowhere"\n[outgoing]'),
    "country-code-wrong": ('country_code = "1"', 'country_code = "44"'),
}


@pytest.mark.parametrize("code", FILES)
def test_each_mistake_has_its_code(setup: Setup, code: str) -> None:
    """And no other; where it is, is said with its line."""
    setup.change(*FILES[code])
    [found] = files_of(setup.loaded)
    assert found.code == code
    assert found.where.startswith(str(setup.company.config))
    assert found.hint


EXTRAS = {
    "metrics": ("metrics-wrong", "prometheus_client", '[metrics]\nlisten = "127.0.0.1:1"\n'),
    "dns": (
        "enum-wrong",
        "dns.asyncresolver",
        '[enum]\nsuffix = "e164.example"\nnameservers = ["127.0.0.1"]\n',
    ),
    "proxy": ("proxy-wrong", "python_socks", ""),
    "redis": (
        "redis-wrong",
        "redis",
        '[verification.redis]\nurl = "redis://127.0.0.1:1"\n',
    ),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_package_that_is_missing(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    """What the configuration needs is said, and how it is installed; else there is no finding."""
    code, package, tables = EXTRAS[extra]
    setup.append(f"\n{tables}")
    if extra == "proxy":
        setup.change("[outgoing]", '[outgoing]\nstore_proxy = "socks5://127.0.0.1:1"')
    if extra == "redis":
        setup.change("[verification]", '[verification]\nsingle_use = "redis"')
    assert setup.offline() == []
    monkeypatch.setitem(sys.modules, package, None)
    [found] = files_of(setup.loaded)
    assert (found.code, found.hint) == (code, f"pip install 'pbx-stir[{extra}]'")
    with pytest.raises(ConfigurationError) as refused:
        configured_mistakes.check(setup.loaded)
    assert [one.hint for one in refused.value.each] == [found.hint]


def test_every_extra_is_known() -> None:
    """What else a configuration may need has a row above."""
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    needless = {"speed", "board", "test", "fuzz", "docs"}
    assert set(setup["options.extras_require"]) - needless == set(EXTRAS)


def test_every_mistake_of_a_section_is_said(setup: Setup) -> None:
    """Not only the first one, each at its line."""
    setup.append('\n[[trunk]]\nname = "b"\npresent = "x"\n[[trunk]]\nname = "c"\npresent = "y"\n')
    wrong = [one for one in files_of(setup.loaded) if one.code == "trunk-wrong"]
    assert [one.where.rpartition(": ")[2] for one in wrong] == [
        "trunk[1].present",
        "trunk[2].present",
    ]
    lines = setup.company.config.read_text().splitlines()
    for one, text in zip(wrong, ('present = "x"', 'present = "y"'), strict=True):
        assert f":{lines.index(text) + 1}: " in one.where


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        ("[[asterisk]]", ["no-pbx"]),
        ("[[trunk]]", ["no-trunk"]),
        ("[[route]]", ["no-route"]),
        ("[publish]", ["not-published"]),
        ("[[credential]]", ["no-credential"]),
    ],
)
def test_each_section_that_is_missing(setup: Setup, section: str, codes: list[str]) -> None:
    """What does not work without it is said."""
    setup.drop(section)
    assert setup.offline() == codes


def test_identity_headers_without_certificates(setup: Setup) -> None:
    """Where none are fetched, that is good to know."""
    text = setup.company.config.read_text().splitlines()
    setup.company.config.write_text("\n".join(one for one in text if "x5u_allow" not in one))
    assert setup.offline() == ["x5u-not-fetched"]


def test_a_file_for_a_cps_alone(setup: Setup) -> None:
    """Nobody misses a trunk there; an empty file is one for calls."""
    assert serves_calls(setup.loaded)
    assert not serves_cps(setup.loaded)
    setup.append("\n[cps]\nlifetime_seconds = 20\n")
    assert serves_calls(setup.loaded)
    assert serves_cps(setup.loaded)
    setup.company.config.write_text("[cps]\nlifetime_seconds = 20\n")
    assert not serves_calls(setup.loaded)
    setup.company.config.write_text("")
    assert serves_calls(setup.loaded)


def test_nothing_is_left_out_that_keeps_the_service_from_starting() -> None:
    """What it looks at before it starts, each thing is looked at here too."""
    source = "".join(path.read_text() for path in Path(configuration.__file__).parent.glob("*.py"))
    # under other names: what they look at is taken apart further
    elsewhere = {
        "check_credentials": "check_credential",
        "check_kept": "never_signed",
        "check_trust": "check_anchors",
        "check_proxies": "proxy_of",
        "check_single_use": "check_redis",
        "state_dir": "check_state",
    }
    for part in configured_mistakes.PARTS:
        assert elsewhere.get(part.__name__, part.__name__) in source


def test_the_check_leaves_nothing_behind(setup: Setup) -> None:
    """Run by root, it must not make root's folders for the service."""
    setup.change('state_dir = "state"', 'state_dir = "other/state"')
    setup.offline()
    assert not (setup.folder / "other").exists()
    assert not (setup.folder / "calls.jsonl").exists()
