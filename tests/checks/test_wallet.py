"""What ``pbx-stir check`` says of proxies and storage tokens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.companies import Authority, Company
from pbx_stir import config
from pbx_stir.checks.finding import Finding, Severity
from pbx_stir.checks.wallet import check_wallet
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet import Wallet
from tests.tokens.minting import Mint

CPS = "https://cps.example.net"


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A company's configuration."""
    made = Company("alice", "12125551200", 100, tmp_path / "alice")
    authority = Authority.new(tmp_path, "Lab Authority")
    anchor = authority.anchor
    made.configure(authority=authority, trust=anchor, cps=CPS, cps_ca=anchor, routes=["1"], pbxs=[])
    return made


def found(company: Company) -> list[Finding]:
    """The findings of now."""
    return list(check_wallet(config.load(company.config), time.time()))


def test_a_wallet_that_is_not_there_is_no_finding(company: Company) -> None:
    """The service makes it; a look at it does not."""
    assert found(company) == []
    assert not (company.folder / "state").exists()


def test_what_is_left_is_counted(company: Company) -> None:
    """Few for a CPS, or none, are a note; as many as there should be are nothing."""
    (company.folder / "state").mkdir(mode=0o700)
    now = time.time()
    mint = Mint(epoch_of(now))
    wallet = Wallet(company.folder / "state" / "wallet")
    wallet.pin(CPS, mint.listed, now)
    [none] = found(company)
    assert (none.code, none.severity, none.where) == ("tokens-none", Severity.NOTE, CPS)
    wallet.put(CPS, mint.epoch, mint.records(3), 10)
    [some] = found(company)
    assert (some.code, some.severity, some.where) == ("tokens-few", Severity.NOTE, CPS)
    assert some.what == "3 storage tokens for today"
    company.config.write_text(company.config.read_text() + "\n[wallet]\nlow = 60\n")
    assert found(company) == []


def test_what_is_wrong_is_named(company: Company) -> None:
    """Marks, proxies, an open folder and a damaged file."""
    text = company.config.read_text()
    company.config.write_text(
        text.replace("[outgoing]", '[outgoing]\nstore_proxy = "nonsense"')
        + "\n[wallet]\nlow = 9\nhigh = 3\n"
    )
    assert [one.code for one in found(company)] == ["proxy-wrong", "wallet-wrong"]
    company.config.write_text(text)
    folder = company.folder / "state" / "wallet"
    wallet = Wallet(folder)
    wallet.pin(CPS, Mint(epoch_of(time.time())).listed, time.time())
    [keys] = folder.glob("*/keys")
    keys.write_bytes(b"junk")
    assert [one.code for one in found(company)] == ["wallet-wrong"]
    # which has its own finding
    folder.chmod(0o755)
    assert found(company) == []
