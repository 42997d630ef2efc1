"""Storage tokens over HTTP: stores with and without one, keys, nonces, blind signatures."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from tests.tokens.signers import Authority
from tests.tokens.spending import EPOCH, NAME, NOW, FixedKeys, Purse, batch, purse, token_request

from .conftest import Running, _run, sealed
from .test_server import COLLECTION, Peer, raw

ROOT = Authority()
COMPANY = ROOT.credential()
HOST = "127.0.0.1"
Said = tuple[int, dict[str, str], bytes]


class Sender(Peer):
    """A client that knows of tokens."""

    async def store(  # type: ignore[override]
        self, token: Purse, body: bytes | None = None, **how: object
    ) -> Said:
        """Store one with a token."""
        wire = sealed() if body is None else body
        value = token.authorization(wire, **({"host": HOST} | how))  # type: ignore[arg-type]
        return await self.send(wire, Authorization=value)

    async def send(self, body: bytes, **headers: str) -> Said:
        """Send a store as it is."""
        typed = {"Content_Type": "application/passport"} | headers
        status, pairs, answered = await self.ask("POST", COLLECTION, body, **typed)
        return status, dict(pairs), answered

    async def nonce(self) -> str:
        """Ask for one."""
        status, _, body = await self.ask("GET", exchange.TOKENS_PATH)
        assert status == 200
        return exchange.parse_nonce(body)

    async def issue(self, wanted: BlindedBatch, **how: object) -> Said:
        """Ask for tokens."""
        body = exchange.format_request(wanted)
        nonce = await self.nonce()
        value = token_request(COMPANY, nonce, body, **({"audience": HOST} | how))  # type: ignore[arg-type]
        headers = {"Content_Type": "application/json", "Authorization": value}
        status, pairs, answered = await self.ask("POST", exchange.TOKENS_PATH, body, **headers)
        return status, dict(pairs), answered


@asynccontextmanager
async def desk(**settings: object) -> AsyncIterator[tuple[Running, Sender]]:
    """A CPS with tokens on, whose keys are those of the tests, and a sender."""
    chosen = {
        "tokens": True,
        "token_keys": FixedKeys(),
        "names": (NAME, HOST),
        "anchors": lambda: ROOT.anchors,
    }
    async with _run(**(chosen | settings)) as cps, Sender(cps) as sender:
        yield cps, sender


def detail(said: Said) -> str:
    """What a problem says."""
    problem = json.loads(said[2])
    assert said[1]["Content-Type"] == "application/problem+json"
    assert problem["status"] == said[0]
    return str(problem["detail"])


def dated(said: Said) -> bool:
    """Whether an answer says the time: a client compares clocks by it."""
    return email.utils.parsedate_to_datetime(said[1]["Date"]) is not None


async def test_a_store_with_a_token_is_201() -> None:
    """Sixteen stores, and the seventeenth is 429; what was stored is listed."""
    token = purse()
    async with desk() as (cps, sender):
        said = await sender.store(token)
        assert said[0] == 201
        assert said[1]["Location"] in await sender.hrefs()
        for _ in range(15):
            assert (await sender.store(token))[0] == 201
        said = await sender.store(token)
        assert (said[0], said[1]["Retry-After"]) == (429, "1")
        assert "another token" in detail(said)
        assert len(cps.store) == 16


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"\xff" * 6000, b"A" * 5462, b"A" * 900_000, sealed()],
    ids=["empty", "json", "octets", "letters", "huge", "sealed"],
)
async def test_a_store_without_a_token_is_401_whatever_its_body(body: bytes) -> None:
    """A problem document, a challenge and the time; nothing is kept."""
    async with desk() as (cps, sender):
        said = await sender.send(body)
        assert (said[0], said[1]["WWW-Authenticate"]) == (401, "StorageToken")
        assert "storage token" in detail(said)
        assert dated(said)
        assert len(cps.store) == 0


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\n",
        b"Content-Length: 99999999\r\nExpect: 100-continue\r\n",
        b"Content-Length: 5526\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5526\r\nAuthorization: StorageToken epoch=1\r\n",
        b"Content-Length: 5526\r\nAuthorization: \xff\xfe\r\n",
        b"",
    ],
)
async def test_401_waits_for_no_body(head: bytes) -> None:
    """Headers are enough: no body is asked for, waited for or read, whatever they announce."""
    async with desk() as (cps, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(f"POST {COLLECTION} HTTP/1.1\r\nHost: a\r\n".encode() + head + b"\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.close()


async def test_a_client_that_sends_it_all_first_reads_its_401() -> None:
    """Millions of octets on the way are no reason to hang up before the answer is read."""
    async with desk() as (cps, _):
        head = f"POST {COLLECTION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        body = b"A" * 8_000_000
        said = await raw(cps, (head + f"Content-Length: {len(body)}\r\n\r\n").encode(), body)
        assert said.startswith(b"HTTP/1.1 401 ")


async def test_a_store_is_refused_with_its_reason() -> None:
    """Wrong CPS, epoch and time, replay and signature: status, words, challenge and Date."""
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    async with desk() as (cps, sender):
        assert (await sender.send(wire, Authorization=value))[0] == 201
        for status, words, said in (
            (409, "used before", await sender.send(wire, Authorization=value)),
            (401, "time", await sender.store(token, now=NOW - 31)),
            (401, "time", await sender.store(token, now=NOW + 31)),
            (401, "epoch", await sender.store(purse(EPOCH + 1))),
            (401, "proof", await sender.store(token, host="other.example")),
            (401, "proof", await sender.store(token, number="12125551235")),
            (401, "proof", await sender.store(token, content_type="text/plain")),
            (401, "signed", await sender.store(purse(which=1))),
            (401, "signed", await sender.store(token.changed(randomizer=bytes(32)))),
            (401, "host", await sender.send(wire, Authorization=value, Host="other.example")),
            (401, "parameters", await sender.send(wire, Authorization="StorageToken epoch=1")),
        ):
            assert said[0] == status
            assert words in detail(said)
            assert dated(said)
            assert ("WWW-Authenticate" in said[1]) is (status == 401)
        assert len(cps.store) == 1


async def test_the_token_comes_before_type_and_size_and_form_after_it() -> None:
    """With a good token: 415, 413 and 400, in this order; a body of garbage is paid for."""
    async with desk(stores_per_token=1) as (cps, sender):
        token = purse()
        value = token.authorization(b"x", host=HOST)
        said = await sender.send(b"x", Authorization=value, Content_Type="text/plain")
        assert said[0] == 415
        said = await sender.send(b"x" * 100_000, Authorization=value)
        assert said[0] == 413
        assert (await sender.store(token, b"?"))[0] == 400
        assert (await sender.store(token))[0] == 429
        assert len(cps.store) == 0


async def test_names_and_ports_are_told_apart() -> None:
    """The host that is signed has no port and is in lower case, whichever of our names it is."""
    async with desk() as (cps, sender):
        token = purse()
        for host in (f"{NAME}:{cps.port}", NAME.upper(), NAME):
            wire = sealed()
            value = token.authorization(wire, host=NAME)
            assert (await sender.send(wire, Authorization=value, Host=host))[0] == 201


async def test_a_greedy_token_drops_its_own_entries_first() -> None:
    """Entries are counted under their token: a flood pushes out no entry of another one."""
    async with desk(max_entries_of_a_number=4) as (_, sender):
        honest = (await sender.store(purse()))[1]["Location"]
        greedy = purse()
        for _ in range(10):
            assert (await sender.store(greedy))[0] == 201
        assert honest in await sender.hrefs()


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
