"""Storage tokens over HTTP: keys, nonces, blind signatures, and what is refused."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from pbx_stir.cps import issuing
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import ConfigurationError
from pbx_stir.tokens import exchange
from pbx_stir.tokens.epochs import parse_key_list
from pbx_stir.tokens.exchange import BlindedBatch
from pbx_stir.tokens.key_files import SecretKey
from pbx_stir.tokens.ledger import MemoryLedger
from pbx_stir.tokens.wallet import signed, want
from tests.tokens.spending import EPOCH, NAME, NOW, FixedKeys, Purse, batch, purse, token_request

from .conftest import sealed
from .desk import COMPANY, HOST, dated, desk, detail


async def test_tokens_are_obtained_and_spent() -> None:
    """The whole way: keys, nonce, blind signatures, unblinding, a store."""
    async with desk() as (_, sender):
        status, _, body = await sender.ask("GET", exchange.KEYS_PATH)
        listed = parse_key_list(body)
        assert (status, listed.issuer) == (200, NAME)
        key = listed.of(EPOCH)
        assert key is not None
        wanted = [want(listed.issuer, key) for _ in range(3)]
        blinded = BlindedBatch(EPOCH, tuple(each.blinded.blinded for each in wanted))
        said = await sender.issue(blinded)
        assert (said[0], said[1]["Content-Type"]) == (201, "application/json")
        signatures = exchange.parse_signatures(said[2], 3)
        for each, signature in zip(wanted, signatures, strict=True):
            record = signed(each, key, signature)
            template = purse()
            token = Purse(template.token, each.private).changed(
                key=_public(each.private), randomizer=record[32:64], signature=record[64:]
            )
            assert (await sender.store(token))[0] == 201


def _public(private: object) -> bytes:
    from pbx_stir.tokens.storage_token import key_octets

    return key_octets(private.public_key())  # type: ignore[attr-defined]


async def test_a_request_for_tokens_is_refused_with_its_reason() -> None:
    """401 with a challenge, 400, 409, 413, 415 and 429."""
    async with desk(tokens_per_leaf=3) as (_, sender):
        wanted = batch(1)
        said = await sender.issue(wanted, audience="other.example")
        assert (said[0], said[1]["WWW-Authenticate"]) == (401, "StirCredential")
        assert "another service" in detail(said)
        assert dated(said)
        assert (await sender.issue(wanted, now=NOW - 31))[0] == 401
        assert (await sender.issue(batch(1, EPOCH + 5)))[0] == 409
        beyond = BlindedBatch(EPOCH, (b"\xff" * 256,))
        assert "range" in detail(await sender.issue(beyond))
        assert (await sender.issue(batch(3)))[0] == 201
        said = await sender.issue(wanted)
        assert (said[0], said[1]["Retry-After"].isdigit()) == (429, True)
        for headers, status in (
            ({}, 401),
            ({"Authorization": "StirCredential x"}, 401),
            ({"Authorization": "Bearer x"}, 401),
        ):
            asked = await sender.ask("POST", exchange.TOKENS_PATH, b"{}", **headers)
            assert asked[0] == status
        value = token_request(COMPANY, await sender.nonce(), b"{}", audience=HOST)
        for kind, body, status in (
            ("text/plain", b"{}", 415),
            ("application/json", b" " * 100_000, 413),
            ("application/json", b"{}", 400),
        ):
            headers = {"Authorization": value, "Content_Type": kind}
            assert (await sender.ask("POST", exchange.TOKENS_PATH, body, **headers))[0] == status


async def test_without_anchors_nothing_is_issued() -> None:
    """503 for tokens, whatever is sent; keys and nonces are there."""
    async with desk(anchors=None) as (_, sender):
        said = await sender.issue(batch())
        assert said[0] == 503
        assert "anchors" in detail(said)
        assert (await sender.ask("POST", exchange.TOKENS_PATH, b""))[0] == 503
        assert (await sender.ask("GET", exchange.KEYS_PATH))[0] == 200


async def test_without_tokens_there_are_none() -> None:
    """404, by which a sender knows that it needs none."""
    async with desk(tokens=False) as (_, sender):
        for method in ("GET", "POST"):
            assert (await sender.ask(method, exchange.TOKENS_PATH))[0] == 404
        assert (await sender.ask("GET", exchange.KEYS_PATH))[0] == 404
        assert (await sender.send(sealed()))[0] == 201


async def test_other_methods_are_405() -> None:
    """With what is allowed."""
    async with desk() as (_, sender):
        for path, allowed in (
            (exchange.KEYS_PATH, "GET, HEAD"),
            (exchange.TOKENS_PATH, "GET, HEAD, POST"),
        ):
            status, pairs, _ = await sender.ask("PUT", path, b"")
            assert (status, dict(pairs)["Allow"]) == (405, allowed)
        assert (await sender.ask("POST", exchange.KEYS_PATH, b""))[0] == 405
        assert (await sender.ask("HEAD", exchange.KEYS_PATH))[0] == 200


async def test_issuing_has_a_rate() -> None:
    """429 with Retry-After, before any check of a signature."""
    async with desk(issue_rate=2.0) as (_, sender):
        found = [await sender.ask("POST", exchange.TOKENS_PATH, b"") for _ in range(3)]
        assert [status for status, _, _ in found] == [401, 401, 429]
        assert dict(found[2][1])["Retry-After"] == "1"


async def test_counts_and_keys_outlive_the_process(tmp_path: Path) -> None:
    """With a state_dir a restart gives neither new keys nor the same stores again."""
    settings = {"token_keys": None, "state_dir": str(tmp_path), "stores_per_token": 2}
    async with desk(**settings) as (_, sender):
        before = await sender.ask("GET", exchange.KEYS_PATH)
        key = parse_key_list(before[2]).of(EPOCH)
        assert key is not None
        wanted = want(NAME, key)
        said = await sender.issue(BlindedBatch(EPOCH, (wanted.blinded.blinded,)))
        record = signed(wanted, key, exchange.parse_signatures(said[2], 1)[0])
        token = Purse(purse().token, wanted.private).changed(
            key=_public(wanted.private), randomizer=record[32:64], signature=record[64:]
        )
        wire = sealed()
        value = token.authorization(wire, host=HOST)
        assert (await sender.send(wire, Authorization=value))[0] == 201
        with pytest.raises(ConfigurationError, match="another process"):
            async with desk(**settings):
                pass
    async with desk(**settings) as (_, sender):
        assert (await sender.ask("GET", exchange.KEYS_PATH))[2] == before[2]
        assert (await sender.send(wire, Authorization=value))[0] == 409
        assert (await sender.store(token))[0] == 201
        assert (await sender.store(token))[0] == 429


async def test_a_directory_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """A CPS whose keys others may read does not run."""
    folder = tmp_path / "token-keys"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 755"):
        async with desk(token_keys=None, state_dir=str(tmp_path)):
            pass


class Failing(FixedKeys):
    """A source that fails after the first time."""

    def prepare(self, now: float) -> tuple[SecretKey, ...]:
        """Fail."""
        if self.asked:
            self.asked += 1
            raise ConfigurationError("the disk is gone")
        return super().prepare(now)


@pytest.mark.parametrize("source", [FixedKeys, Failing])
async def test_keys_are_looked_after(
    source: Callable[[], FixedKeys], caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute and at midnight; a disk that fails is logged, and what is there stays."""
    keys, now = source(), [NOW]
    made = issuing.Issuing.of(
        CpsSettings(tls=False, token_keys=keys, ledger=MemoryLedger(lambda: now[0])),
        lambda: now[0],
    )
    assert made is not None
    await made.begin()
    with caplog.at_level(logging.ERROR):
        for moment, asked in ((1, 1), (59, 1), (60, 2), (61, 2), (86_400, 3), (86_401, 3)):
            now[0] = NOW + moment
            await made.refresh()
            assert keys.asked == asked
    assert ("the disk is gone" in caplog.text) is (source is Failing)
    made.end()


async def test_nothing_of_a_token_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a key nor a number, of stores that pass and of those that do not."""
    token = purse()
    with caplog.at_level(logging.DEBUG):
        async with desk() as (_, sender):
            await sender.store(token)
            await sender.store(token, number="12125551235")
            await sender.issue(batch())
    for secret in (base64.urlsafe_b64encode(token.token.key)[:40].decode(), "1212555"):
        ours = [record for record in caplog.records if record.name.startswith("pbx_stir")]
        assert all(secret not in record.getMessage() for record in ours)


@pytest.mark.parametrize(
    ("configured", "names", "name"),
    [
        (("CPS.example.net", "a.example.net"), (), "cps.example.net"),
        (("[::1]",), (), "::1"),
        ((), ("b.example.net", "a.example.net", "192.0.2.1", "::1"), "a.example.net"),
        ((), ("192.0.2.1", "::1"), "192.0.2.1"),
        ((), ("localhost", "127.0.0.1", "::1"), "localhost"),
    ],
)
def test_tokens_bear_one_name(
    configured: tuple[str, ...], names: tuple[str, ...], name: str
) -> None:
    """The first that is configured, else a host name of the certificate before its addresses."""
    assert issuing._issuer_name(CpsSettings(names=configured), names) == name


async def test_one_peer_leaves_issuing_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for nothing useful runs out of requests by itself."""
    monkeypatch.setattr("pbx_stir.cps.serving._peer_name", lambda _: "192.0.2.1")
    async with desk(issue_rate_of_a_peer=1.0) as (_, sender):
        found = [await sender.ask("POST", exchange.TOKENS_PATH, b"") for _ in range(3)]
        assert [status for status, _, _ in found] == [401, 401, 429]
        assert (await sender.ask("GET", exchange.TOKENS_PATH))[0] == 200
