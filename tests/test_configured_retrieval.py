"""What ``[publish] retrieve`` and ``[cover]`` become, and what is wrong is named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir import config, configured, configured_retrieval
from pbx_stir.certificates import issuing
from pbx_stir.config import Loaded
from pbx_stir.cps.origin import parse_cps_url
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir import credential as credentials
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cps.conftest import private_pem

CPS = "https://cps.example.com:8443"
PUBLISH = f"""
[publish]
numbers = ["+12125551200-+12125551299", "+12125559000"]
cps = ["{CPS}", "https://second.example.com"]
"""


def load(folder: Path, text: str) -> Loaded:
    file = folder / "pbx-stir.toml"
    file.write_text(text)
    return config.load(file)


@pytest.fixture(scope="module")
def company() -> Credential:
    """A company with a range and a number."""
    root, root_key = issuing.new_root("Lab", time.time() - 1000, 30)
    key = issuing.new_key()
    numbers = TnAuthList(numbers=("12125559000",), ranges=(("12125551200", 100),))
    leaf = issuing.issue_leaf(
        root, root_key, key.public_key(), "Company", numbers, time.time() - 1000, 20
    )
    pem = leaf.public_bytes(Encoding.PEM)
    return credentials.load(pem, private_pem(key), x5u="https://cert.example.com/c.pem")


def test_open_by_default(tmp_path: Path, company: Credential) -> None:
    """Nobody signs, and nothing is subscribed to, unless that is said."""
    loaded = load(tmp_path, PUBLISH)
    published = configured.published(loaded, [company])
    assert configured_retrieval.holder(loaded, [company]) is None
    assert configured_retrieval.subscriptions(loaded, published) == ()


@pytest.mark.parametrize("way", ["signed", "subscribed"])
def test_signed_at_our_own_cps(tmp_path: Path, company: Credential, way: str) -> None:
    """Retrievals from ``publish.cps`` are signed, also those beside a subscription."""
    holder = configured_retrieval.holder(
        load(tmp_path, f'{PUBLISH}retrieve = "{way}"\n'), [company]
    )
    assert holder is not None
    for url, signed in ((CPS, True), ("https://other.example.com", False)):
        origin = parse_cps_url(url)
        value = holder.authorization(origin, "/x", "12125551234", time.time())
        assert bool(value) is signed


def test_one_subscription_a_cps_and_credential(tmp_path: Path, company: Credential) -> None:
    """All numbers that a credential covers come in one stream from each CPS."""
    loaded = load(tmp_path, f'{PUBLISH}retrieve = "subscribed"\n')
    published = configured.published(loaded, [company])
    wanted = configured_retrieval.subscriptions(loaded, [*published, *published])
    assert [(one.cps, one.name) for one in wanted] == [
        (CPS, "1212555*"),
        ("https://second.example.com", "1212555*"),
    ]
    assert all(one.credential is company for one in wanted)
    assert "12125551250" in wanted[0].numbers
    assert "12125559000" in wanted[0].numbers
    assert "12125551300" not in wanted[0].numbers


def test_a_subscription_needs_numbers(tmp_path: Path) -> None:
    """Nothing to subscribe to is said before anything starts."""
    loaded = load(tmp_path, '[publish]\nretrieve = "subscribed"\n')
    with pytest.raises(ConfigurationError, match=r"publish\.retrieve: there is nothing"):
        configured_retrieval.subscriptions(loaded, ())


def test_no_cover_by_default(tmp_path: Path) -> None:
    """Without a ``[cover]`` there is none."""
    plan = configured_retrieval.cover(load(tmp_path, PUBLISH))
    assert (plan.stores, plan.retrievals) == (0, 0)


def test_cover(tmp_path: Path) -> None:
    """An hour's rates are a second's, own numbers are those published."""
    text = f"""{PUBLISH}
[cover]
stores_per_hour = 7.2
retrievals_per_hour = 3600
numbers = ["+16465550100-+16465550199"]
"""
    plan = configured_retrieval.cover(load(tmp_path, text))
    assert (plan.stores, plan.retrievals) == (0.002, 1.0)
    assert "12125551234" in plan.own
    assert "16465550150" in plan.others


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("stores_per_hour = 1.0", "there is no number to store dummies for"),
        ("retrievals_per_hour = 1.0", "there is no number to retrieve for"),
        ('stores_per_hour = 1.0\nnumbers = ["+1646*"]', "a prefix does not say"),
        ('numbers = ["nobody"]', "not a telephone number"),
        ("stores_per_hour = 3601", r"cover\.stores_per_hour"),
        ("retrievals_per_hour = -1", r"cover\.retrievals_per_hour"),
    ],
)
def test_what_cover_lacks_is_named(tmp_path: Path, lines: str, said: str) -> None:
    """A rate without numbers, or numbers that say nothing, do not start."""
    with pytest.raises(ConfigurationError, match=said) as raised:
        configured_retrieval.cover(load(tmp_path, f"[cover]\n{lines}\n"))
    assert "cover." in raised.value.message
