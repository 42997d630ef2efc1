"""A service that runs takes up a new configuration while calls go on, or refuses it whole."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from lab.companies import Authority
from pbx_stir import config
from pbx_stir.config import lines
from pbx_stir.daemon import UNSURE_SECONDS
from pbx_stir.errors import ConfigurationError, Unavailable
from pbx_stir.parts import Part
from pbx_stir.running import Service, running
from pbx_stir.services.known_since import KnownSince
from pbx_stir.services.used import Claim, Use
from tests.cli.run_scene import Scene, acting, service
from tests.notifying import Notified, said
from tests.pbx_room.fake_asterisk import SECRET


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A company, its PBX and its CPS."""
    async with acting(Authority.new(tmp_path, "Lab"), tmp_path) as made:
        yield made


def change(scene: Scene, old: str, new: str) -> None:
    """Edit the configuration file."""
    text = scene.company.config.read_text()
    assert old in text
    scene.company.config.write_text(text.replace(old, new, 1))


def add(scene: Scene, text: str) -> None:
    """Append to the configuration file."""
    scene.company.config.write_text(scene.company.config.read_text() + text)


def part(made: Service, name: str) -> Part:
    """The part of that name that is in force."""
    return made.daemon.parts.by_name[name]


async def answered(scene: Scene, count: int = 1) -> list[str]:
    """What calls were answered, once there are so many answers."""
    await scene.pbx.until(lambda: len(scene.answers()) >= count)
    return scene.answers()


def logged(scene: Scene) -> list[dict[str, object]]:
    """The lines of the call log."""
    text = (scene.company.folder / "calls.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


async def test_a_call_in_hand_finishes_on_the_old_parts(scene: Scene) -> None:
    """Held while everything it is judged with is made anew: answered once, logged once, and the
    connection to the PBX never closed. The old parts are closed only then."""
    async with running(config.load(scene.company.config)) as made:
        before = part(made, "CPSs, keys and trust")
        await scene.announce()
        async with asyncio.timeout(10):
            await scene.cps.asked.wait()
        change(scene, "[verification]\n", '[verification]\npassed_attest = ["A", "B"]\n')
        assert await made.reload()
        assert part(made, "CPSs, keys and trust") is not before
        assert scene.answers() == []
        assert not any(task.cancelled() for task in before.running)
        scene.cps.let.set()
        (answer,) = await answered(scene)
        assert answer.startswith("A" * 16 + "||No-TN-Validation|cps-unavailable|")
        async with asyncio.timeout(10):
            await asyncio.wait(before.running)
        await scene.announce("B" * 16)
        assert (await answered(scene, 2))[1].startswith("B" * 16)
        assert len(scene.pbx.connections) == 1
    assert len(logged(scene)) == 2


async def test_what_has_not_changed_stays(scene: Scene) -> None:
    """A new trunk touches neither CPSs nor PBXs, nor what must not be forgotten; and it serves."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        before = dict(made.daemon.parts.by_name)
        await scene.announce()
        await answered(scene)
        add(scene, '\n[[trunk]]\nname = "new"\ncountry_code = "1"\n')
        assert await made.reload()
        assert made.daemon.parts.by_name == before
        await scene.announce("B" * 16, trunk="new")
        assert "cps-unavailable" in (await answered(scene, 2))[1]
        assert made.daemon.parts.new == []


@pytest.mark.parametrize(
    ("old", "new", "anew"),
    [
        ("[publish]\n", "[publish]\nkey_days = 3.0\n", {"CPSs, keys and trust"}),
        ('file = "calls.jsonl"', 'file = "other.jsonl"', {"call log"}),
        ('username = "pbx-stir"', 'username = "other"', {"PBX pbx"}),
        ("state_dir", "# state_dir", None),
    ],
)
async def test_only_what_has_changed_is_made_anew(
    scene: Scene, old: str, new: str, anew: set[str] | None
) -> None:
    """Each part goes by its own sections; one that cannot be made changes nothing."""
    scene.cps.let.set()
    (scene.company.folder / "blocked").write_text("")
    async with running(config.load(scene.company.config)) as made:
        before = dict(made.daemon.parts.by_name)
        if anew is None:
            change(scene, old, 'state_dir = "blocked"\n# state_dir')
            assert not await made.reload()
        else:
            change(scene, old, new)
            assert await made.reload()
        after = made.daemon.parts.by_name
        assert {name for name, one in after.items() if before.get(name) is not one} == (
            anew or set()
        )


async def test_renewed_files_are_taken_up(scene: Scene) -> None:
    """The configuration names the same files, and what is in them has changed."""
    scene.cps.let.set()
    authority = Authority.new(scene.company.folder, "Another")
    async with running(config.load(scene.company.config)) as made:
        before = part(made, "CPSs, keys and trust")
        assert await made.reload()
        assert part(made, "CPSs, keys and trust") is before
        authority.issue(scene.company.folder, "acme", scene.company.numbers)
        assert await made.reload()
        assert part(made, "CPSs, keys and trust") is not before


async def test_a_broken_configuration_is_refused_whole(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Every mistake is said with its line, nothing is taken up, and calls go on."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        before = made.daemon
        change(scene, 'trust = ["', 'trust = ["/none')
        change(scene, 'name = "carrier"', 'name = "carrier"\npresent = "x"')
        add(scene, '\n[[trunk]]\nname = "carrier"\n')
        assert not await made.reload()
        assert made.daemon is before
        lines = scene.company.config.read_text().splitlines()
        for key, text in (
            ("trunk[0].present: ", 'present = "x"'),
            ("trunk[1].name: a second trunk 'carrier'", lines[-1]),
            ("verification.trust: no file matches", next(x for x in lines if "/none" in x)),
        ):
            at = len(lines) if text == lines[-1] else lines.index(text) + 1
            assert f"{scene.company.config}:{at}: {key}" in caplog.text
        assert "refused" in caplog.text
        assert "mistakes" in made.status()
        assert made.daemon.last_reload.is_refused
        add(scene, "nonsense = 1\nmore = 2\n")
        assert not await made.reload()
        assert "trunk[1].nonsense: unknown field" in caplog.text
        assert "trunk[1].more: unknown field" in caplog.text
        await scene.announce()
        await answered(scene)


async def test_another_memory_of_single_use_gives_nothing_twice(scene: Scene) -> None:
    """What may have been used by the word of the one before has no verdict; what comes then has."""
    scene.cps.let.set()
    one, other = (Claim("pbx", name, name, "carrier", "1", "2", name) for name in "ab")
    async with running(config.load(scene.company.config)) as made:
        now = time.time()
        used = part(made, "single use").value
        assert isinstance(used, KnownSince)
        assert (await used.reserve("key", one, now + 60, now, now)).use is Use.FRESH
        await used.confirm("key", one, now)
        assert (await used.reserve("key", other, now + 60, now, now)).use is Use.TAKEN
        text = scene.company.config.read_text()
        change(scene, 'state_dir = "state"', 'state_dir = "state2"')
        for _ in range(2):
            assert await made.reload()
            used = part(made, "single use").value
            assert isinstance(used, KnownSince)
            with pytest.raises(Unavailable):
                await used.reserve("key", other, now + 60, now, now)
        then = time.time() + UNSURE_SECONDS + 20
        assert (await used.reserve("then", one, then + 60, then, then)).use is Use.FRESH
        scene.company.config.write_text(text)
        assert await made.reload()
        used = part(made, "single use").value
        assert isinstance(used, KnownSince)
        with pytest.raises(Unavailable):
            await used.reserve("then", other, now + 60, now, now)


async def test_the_loop_goes_on_while_a_long_configuration_is_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of routes, changed or not, are another thread's work; no line is looked for."""
    monkeypatch.setattr(lines, "lines_of", None)
    scene.cps.let.set()
    turns: list[float] = []

    async def turn() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - began)

    route = '\n[[route]]\nprefix = "+44{}"\ncps = ["https://127.0.0.2:{}"]\n'
    add(scene, "".join(route.format(f"{n:06}", 20_000 + n % 3) for n in range(4_000)))
    only = scene.company.config.read_text()
    async with running(config.load(scene.company.config)) as made:
        for text in (only, only.replace("+44", "+49"), only.replace("+44", "+49")):
            scene.company.config.write_text(text)
            turning = asyncio.create_task(turn())
            assert await made.reload()
            turning.cancel()
    # read in the loop it takes ten times as much
    assert max(turns) < 0.1


async def test_the_status_tells_who_is_away(scene: Scene) -> None:
    """For people who ask ``systemctl status``."""
    await scene.pbx.close()
    async with running(config.load(scene.company.config)) as made:
        assert made.status() == "serving 1 PBX; not logged in at pbx"
        assert made.is_alive()
        await scene.pbx.listen()
        async with asyncio.timeout(10):
            await made.daemon.pbxs[0].connected.wait()
        assert made.status() == "serving 1 PBX"
        assert made.is_alive()
        part(made, "PBX pbx").running[0].cancel()
        await asyncio.wait(part(made, "PBX pbx").running)
        assert not made.is_alive()


async def test_who_has_logged_out_of_the_board_stays_out(scene: Scene) -> None:
    """Also when the board has new settings."""
    scene.cps.let.set()
    token = scene.company.folder / "board.token"
    token.touch(mode=0o600)
    token.write_text("t" * 32)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    add(scene, f'\n[board]\nlisten = "{url[7:]}"\ntoken_file = "board.token"\n')
    async with (
        running(config.load(scene.company.config)) as made,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as thief,
    ):
        assert (await browser.post(f"{url}/login", data={"token": "t" * 32})).status == 200
        copied = {"Cookie": "; ".join(f"{x.key}={x.value}" for x in browser.cookie_jar)}
        assert (await thief.get(f"{url}/words.json", headers=copied)).status == 200
        await browser.post(f"{url}/logout")
        change(scene, "[board]\n", "[board]\nsession_hours = 20.0\n")
        before = part(made, "board")
        assert await made.reload()
        assert part(made, "board") is not before
        assert (await thief.get(f"{url}/words.json", headers=copied)).status == 401


async def test_a_failing_reload_ends_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be begun (a port that is taken) is refused like what is written wrong."""

    async def fails(_: Part) -> None:
        raise ConfigurationError("board.listen: taken")

    async with running(config.load(scene.company.config)) as made:
        before = made.daemon
        monkeypatch.setattr(Part, "begin", fails)
        change(scene, "[publish]\n", "[publish]\nkey_days = 3.0\n")
        assert not await made.reload()
        assert made.daemon is before
    assert "board.listen: taken" in caplog.text


async def test_an_end_during_a_reload_leaves_nothing_running(scene: Scene) -> None:
    """Whichever comes first: what was made anew is ended with the rest."""
    scene.cps.let.set()
    made = Service(config.load(scene.company.config))
    await made.start()
    change(scene, "[publish]\n", "[publish]\nkey_days = 3.0\n")
    before = list(made.daemon.parts)
    reloading = asyncio.create_task(made.reload())
    await asyncio.sleep(0)
    await made.stop()
    assert await reloading
    assert not await made.reload()
    for one in [*before, *made.daemon.parts]:
        assert all(task.done() for task in one.running), one.name


async def test_the_service_manager_is_told(scene: Scene, tmp_path: Path) -> None:
    """As a process: ready, reloading with its moment, ready, refused, stopping; and alive."""
    scene.cps.let.set()
    with Notified(str(tmp_path / "notify")) as manager:
        environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
        async with service(scene.company, **environment) as process:
            await manager.until(said("READY=1\nSTATUS=serving 1 PBX"))
            await manager.until(lambda got: got.count("WATCHDOG=1") >= 2)
            process.send_signal(signal.SIGHUP)
            await manager.until(lambda got: sum("READY=1" in one for one in got) == 2)
            (told,) = (one for one in manager.received if one.startswith("RELOADING=1"))
            assert int(told.split("MONOTONIC_USEC=")[1].split()[0]) > 0
            change(scene, "[[trunk]]", "[[trunk]]\nnam = 1")
            process.send_signal(signal.SIGHUP)
            await manager.until(said("has mistakes"))
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0
            assert any(one.startswith("STOPPING=1") for one in manager.read())


async def test_the_log_level_changes_while_it_runs(scene: Scene) -> None:
    """SIGUSR1 raises it and takes it back, SIGHUP applies the file's; no secret is said."""
    scene.cps.let.set()
    async with service(scene.company) as process:
        assert process.stderr is not None
        heard = ""

        async def until(text: str) -> None:
            nonlocal heard
            assert process.stderr is not None
            async with asyncio.timeout(20):
                while text not in heard:
                    line = (await process.stderr.readline()).decode()
                    assert line, heard
                    heard += line

        await until("logged in")
        process.send_signal(signal.SIGUSR1)
        await until("log level: debug")
        process.send_signal(signal.SIGUSR1)
        await until("log level: info")
        text = scene.company.config.read_text()
        scene.company.config.write_text(f'log_level = "debug"\n{text}')
        process.send_signal(signal.SIGHUP)
        await until("configuration read again")
        await scene.announce()
        await answered(scene)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGUSR1)
        await until("log level: debug")
        process.terminate()
        _, rest = await process.communicate()
    heard += rest.decode()
    assert SECRET not in heard
    assert "PRIVATE KEY" not in heard
    assert "12125551234" not in heard


async def test_debug_says_nothing_of_libraries(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Only this package's own lines can be at debug: asyncio and aiohttp write what they see."""
    scene.cps.let.set()
    logging.getLogger("pbx_stir").setLevel(logging.DEBUG)
    async with running(config.load(scene.company.config)):
        await scene.announce()
        await answered(scene)
    assert SECRET not in caplog.text
