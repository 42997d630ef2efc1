"""Tests of pbx_stir.clients: which way each kind of request goes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.companies import Authority, Company
from pbx_stir import config, configured
from pbx_stir.clients import Clients, clients_of, proxy_of, wallet_of
from pbx_stir.config import Loaded
from pbx_stir.errors import ConfigurationError
from pbx_stir.services.call import Reason

CPS = "https://cps.example.net:8443"


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A company with a credential and two routes to one CPS."""
    made = Company("alice", "12125551200", 100, tmp_path / "alice")
    authority = Authority.new(tmp_path, "Lab Authority")
    made.configure(
        authority=authority,
        trust=authority.anchor,
        cps=CPS,
        cps_ca=authority.anchor,
        routes=["1310", "1415"],
        pbxs=[],
    )
    return made


def loaded(company: Company, outgoing: str = "", more: str = "") -> Loaded:
    """Its configuration, with more lines."""
    text = company.config.read_text().replace("[outgoing]", f"[outgoing]\n{outgoing}")
    company.config.write_text(f"{text}\n{more}")
    return config.load(company.config)


def made(one: Loaded) -> Clients:
    """Its clients."""
    return clients_of(one, configured.credentials(one))


async def test_nothing_is_shared(company: Company) -> None:
    """Stores, retrievals, key lists and requests for tokens have exchanges and TLS contexts of
    their own; by default no proxy."""
    clients = made(loaded(company))
    assert clients.supply is not None
    obtaining = clients.supply.refill._obtaining
    exchanges = [
        clients.storing._exchange,
        clients.retrieving._exchange,
        obtaining._unnamed,
        obtaining._named,
    ]
    assert len({id(one) for one in exchanges}) == 4
    assert len({id(one._tls) for one in exchanges}) == 4
    assert all(one._proxy is None for one in exchanges)
    assert clients.storing._placing._tokens is clients.supply
    assert clients.retrieving._placing._tokens is None
    assert clients.stores is clients.retrievals
    assert list(clients.supply._accounts) == [CPS]
    await clients.close()


async def test_proxies_go_where_they_are_configured(company: Company) -> None:
    """``store_proxy`` for stores and key lists, ``retrieve_proxy`` for retrievals, none ever for
    requests for tokens; each way has a breaker of its own then."""
    secret = company.folder / "proxy.secret"
    secret.touch(mode=0o600)
    secret.write_text("alice:correct horse\n")
    clients = made(
        loaded(
            company,
            'store_proxy = "socks5://127.0.0.1:1"\n'
            'store_proxy_password_file = "proxy.secret"\n'
            'retrieve_proxy = "http://127.0.0.1:2"',
        )
    )
    assert clients.supply is not None
    stores = clients.storing._exchange._proxy
    assert stores is not None
    assert (stores.is_socks, stores.port, stores.user, stores.password) == (
        True,
        1,
        "alice",
        "correct horse",
    )
    assert clients.supply.refill._obtaining._unnamed._proxy == stores
    assert clients.supply.refill._obtaining._named._proxy is None
    retrievals = clients.retrieving._exchange._proxy
    assert retrievals is not None
    assert (retrievals.is_socks, retrievals.port) == (False, 2)
    assert clients.stores is not clients.retrievals
    await clients.close()


@pytest.mark.parametrize(
    ("outgoing", "said"),
    [
        ('store_proxy = "ftp://x:1"', "outgoing.store_proxy: 'ftp://x:1' is no URL"),
        ('retrieve_proxy = "http://x"', "outgoing.retrieve_proxy: 'http://x' is no URL"),
        ('store_proxy = "http://a:b@x:1"', "outgoing.store_proxy: a proxy's URL names no user"),
        ('store_proxy_password_file = "none"', "there is no store_proxy"),
        (
            'store_proxy = "http://x:1"\nstore_proxy_password_file = "none"',
            "outgoing.store_proxy_password_file: cannot read",
        ),
    ],
)
def test_wrong_proxies_are_named(company: Company, outgoing: str, said: str) -> None:
    """File and key of what is wrong."""
    one = loaded(company, outgoing)
    name = "retrieve_proxy" if outgoing.startswith("retrieve") else "store_proxy"
    with pytest.raises(ConfigurationError) as refused:
        proxy_of(one, name)
    assert refused.value.message.startswith(str(company.config))
    assert said in refused.value.message


async def test_marks_are_those_of_the_configuration(company: Company) -> None:
    """The wallet's section is used, and its contradiction named."""
    clients = made(loaded(company, more="[wallet]\nlow = 5\nhigh = 7\ncalls_per_token = 3"))
    assert clients.supply is not None
    assert (clients.supply.refill._low, clients.supply.refill._high) == (5, 7)
    assert clients.supply._wallet._calls_per_token == 3
    await clients.close()
    company.config.write_text(company.config.read_text().replace("high = 7", "high = 4"))
    with pytest.raises(ConfigurationError, match=r"pbx-stir.toml:\d+: wallet: the low mark"):
        made(config.load(company.config))


async def test_without_a_credential_there_is_no_wallet(company: Company) -> None:
    """Nothing can be stored, so nothing is obtained and no folder made."""
    one = loaded(company)
    clients = clients_of(one, [])
    assert clients.supply is None
    assert clients.tasks == ()
    await clients.close()
    assert not (company.folder / "state" / "wallet").exists()


async def test_an_open_wallet_is_refused(company: Company) -> None:
    """Before anything is started."""
    one = loaded(company)
    wallet_of(one)
    (company.folder / "state" / "wallet").chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 755"):
        made(one)


async def test_unsealed_routes_need_no_tokens(company: Company) -> None:
    """A CPS of PASSporTs as they are is not asked for token keys."""
    bare = '[[route]]\nprefix = "+44"\nsealing = "none"\ncps = ["https://bare.example.net"]'
    clients = made(loaded(company, more=bare))
    assert clients.supply is not None
    assert list(clients.supply._accounts) == [CPS]
    await clients.close()


async def test_a_dead_proxy_is_no_way(company: Company) -> None:
    """Stores end at the proxy, and so does the breaker's look at the CPS's health."""
    clients = made(loaded(company, 'store_proxy = "http://127.0.0.1:1"'))
    [result] = await clients.stores.store([CPS], "13105552000", [b"x"], time.monotonic() + 5)
    assert result.reason is Reason.CPS_UNAVAILABLE
    assert "127.0.0.1" in result.detail
    await clients.close()
