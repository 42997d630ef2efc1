"""What ``[board]`` says, what it must not say, and the board through a reload."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from bench.manager import Manager
from lab.companies import Authority, Company, tls_certificate
from lab.redis_servers import free_ports
from pbx_stir import config, configured_board, running
from pbx_stir.board.settings import BoardSettings
from pbx_stir.errors import ConfigurationError
from tests.board.scene import TOKEN, Browser

LISTEN = 'listen = "127.0.0.1:8490"\n'


def told(folder: Path, text: str, *, token: str = TOKEN, mode: int = 0o600) -> BoardSettings | None:
    """What ``[board]`` with these keys comes to."""
    file = folder / "board.token"
    file.write_text(f"{token}\n")
    file.chmod(mode)
    path = folder / "pbx-stir.toml"
    path.write_text(f"[board]\n{text}")
    return configured_board.settings(config.load(path))


def test_without_listen_there_is_no_board(tmp_path: Path) -> None:
    """Nobody gets a page that he did not ask for."""
    assert told(tmp_path, "") is None
    assert told(tmp_path, 'token_file = "missing"\n') is None


def test_what_it_says(tmp_path: Path) -> None:
    """Host, port, token, names and hours."""
    text = LISTEN + 'token_file = "board.token"\nnames = ["b.example"]\nsession_hours = 0.5\n'
    made = told(tmp_path, text)
    assert made is not None
    assert (made.host, made.port, made.token) == ("127.0.0.1", 8490, TOKEN)
    assert "b.example" in made.hosts
    assert made.session_seconds == 1_800
    assert not made.is_secure


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('listen = "8490"\ntoken_file = "board.token"\n', "board.listen"),
        ('listen = "0.0.0.0:8490"\ntoken_file = "board.token"\n', "board.listen"),
        (LISTEN, "board.token_file"),
        (LISTEN + 'token_file = "missing"\n', "board.token_file"),
        (LISTEN + 'token_file = "board.token"\ncertificate = "c.pem"\n', "board.key"),
        (LISTEN + 'token_file = "board.token"\nkey = "c.key"\n', "board.certificate"),
        (
            LISTEN + 'token_file = "board.token"\ncertificate = "c.pem"\nkey = "board.token"\n',
            "board.certificate",
        ),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, text: str, key: str) -> None:
    """And say what to do; the token stands in none of them."""
    with pytest.raises(ConfigurationError, match=key.replace(".", r"\.")) as error:
        told(tmp_path, text)
    assert error.value.hint
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize(("token", "mode"), [("short", 0o600), (TOKEN, 0o644), ("", 0o600)])
def test_a_token_is_secret(tmp_path: Path, token: str, mode: int) -> None:
    """One that can be guessed or that everybody may read is refused."""
    with pytest.raises(ConfigurationError, match=r"board\.token_file"):
        told(tmp_path, LISTEN + 'token_file = "board.token"\n', token=token, mode=mode)


def test_off_loopback_with_tls(tmp_path: Path) -> None:
    """Its own certificate, or a proxy's."""
    text = 'listen = "0.0.0.0:8490"\ntoken_file = "board.token"\n'
    certificate, key, _ = tls_certificate(tmp_path, "board", ["127.0.0.1"])
    made = told(tmp_path, f'{text}certificate = "{certificate}"\nkey = "{key}"\n')
    assert made is not None
    assert made.tls is not None
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"board\.key"):
        told(tmp_path, f'{text}certificate = "{certificate}"\nkey = "{key}"\n')
    made = told(tmp_path, text + "behind_proxy = true\n")
    assert made is not None
    assert made.is_secure


def company(folder: Path, pbx: Manager, port: int) -> Company:
    """A company with a board at that port."""
    token = folder / "board.token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    authority = Authority.new(folder, "Lab")
    made = Company("company", "12125550000", 10, folder / "company")
    made.configure(
        authority=authority,
        trust=authority.anchor,
        cps="https://127.0.0.1:9",
        cps_ca=authority.anchor,
        routes=[],
        pbxs=[pbx],
        tables=f'[board]\nlisten = "127.0.0.1:{port}"\ntoken_file = "{token}"\n',
    )
    return made


async def test_a_board_goes_on_through_a_reload(tmp_path: Path) -> None:
    """A new trunk does not touch it; a new token ends its sessions, and calls are still there."""
    (port,) = free_ports(1)
    jar = aiohttp.CookieJar(unsafe=True)
    async with asyncio.timeout(60), Manager("pbx") as pbx:
        made = company(tmp_path, pbx, port)
        async with (
            running.running(config.load(made.config)) as service,
            aiohttp.ClientSession(cookie_jar=jar) as client,
        ):
            browser = Browser(f"http://127.0.0.1:{port}", client)
            assert (await browser.log_in()).status == 303
            async with browser.stream() as stream:
                first = await stream.next()
                assert first is not None
                await pbx.heard.wait()
                await pbx.announce("in", "carrier", "+12125550001", "12125550002")
                text = made.config.read_text()
                made.config.write_text(f'{text}\n[[trunk]]\nname = "new"\ncountry_code = "1"\n')
                assert await service.reload()
                await pbx.announce("in", "new", "+12125550001", "12125550002")
                trunks = []
                while len(trunks) < 2:
                    event = await stream.next()
                    assert event is not None
                    if event.kind == "calls":
                        trunks += [one["line"]["trunk"] for one in event.sent]
                assert trunks == ["carrier", "new"]
                (tmp_path / "board.token").write_text("another-token-entirely")
                assert await service.reload()
                while await stream.next() is not None:
                    pass
            # the board before has ended, on the same socket
            await refused(browser)
            assert (await browser.log_in()).status == 401
            assert (await browser.log_in("another-token-entirely")).status == 303
            async with browser.stream() as stream:
                event = await stream.next()
                assert event is not None
                kept = [one["line"]["trunk"] for one in event.sent["calls"]]
                assert kept == ["carrier", "new"]


async def refused(browser: Browser) -> None:
    """Return once the session holds no more."""
    while True:
        if (await browser.ask("/words.json"))[0].status == 401:
            return
        await asyncio.sleep(0.05)
