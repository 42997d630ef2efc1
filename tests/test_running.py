"""A service that runs takes up a new configuration while calls go on, or refuses it whole."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.companies import Authority
from lab.event_socket import PASSWORD, EventSocketDouble
from pbx_stir import config
from pbx_stir import running as running_module
from pbx_stir.config import lines
from pbx_stir.errors import ConfigurationError
from pbx_stir.parts import Part
from pbx_stir.running import Service, running
from tests.cli.run_scene import Scene, acting, service
from tests.notifying import Notified, said
from tests.pbx_room.fake_asterisk import SECRET, FakeAsterisk

SECOND = """
[[asterisk]]
name = "second"
host = "127.0.0.1"
port = {port}
secret_file = "pbx.secret"
"""


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


async def test_pbxs_come_and_go(scene: Scene) -> None:
    """One that is added is served, one that is taken away learns that nobody listens."""
    scene.cps.let.set()
    async with FakeAsterisk() as second, running(config.load(scene.company.config)) as made:
        await made.daemon.pbxs[0].connected.wait()
        only = scene.company.config.read_text()
        add(scene, SECOND.format(port=second.port))
        assert await made.reload()
        await second.until(lambda: ":" in second.variables.get("STIR_HEARTBEAT", ""))
        assert len(scene.pbx.connections) == 1
        scene.company.config.write_text(only)
        assert await made.reload()
        await second.until(lambda: second.variables["STIR_HEARTBEAT"] == "")
        await second.until(lambda: any(one["Action"] == "Logoff" for one in second.connections[0]))
        assert [pbx.name for pbx in made.daemon.pbxs] == ["pbx"]
        assert ":" in scene.pbx.variables["STIR_HEARTBEAT"]


async def test_a_pbx_with_new_settings_is_never_without_a_listener(scene: Scene) -> None:
    """The new connection stands before the old one falls silent."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        await made.daemon.pbxs[0].connected.wait()
        change(scene, 'username = "pbx-stir"', 'username = "other"')
        assert await made.reload()
        await scene.pbx.until(lambda: len(scene.pbx.connections) == 2)
        first = scene.pbx.connections[0]
        await scene.pbx.until(lambda: any(one["Action"] == "Logoff" for one in first))
        beats = [value for _, name, value in scene.pbx.writes if name == "STIR_HEARTBEAT"]
        assert "" not in beats
        await scene.announce()
        await answered(scene)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come about is said at once."""
    monkeypatch.setattr(running_module, "REPLACED_SECONDS", 0.01)


def beats(scene: Scene) -> list[str]:
    """Every heartbeat that was written, the last one last."""
    return [value for _, name, value in scene.pbx.writes if name == "STIR_HEARTBEAT"]


def logged_off(scene: Scene, connection: int) -> bool:
    """Whether a connection has ended of itself."""
    return any(one["Action"] == "Logoff" for one in scene.pbx.connections[connection])


async def standing_in(
    scene: Scene, made: Service, caplog: pytest.LogCaptureFixture, secret: str = "mistyped"
) -> None:
    """Mistype the secret, and reload: the old connection stands in for the new one."""
    await made.daemon.pbxs[0].connected.wait()
    (scene.company.folder / "pbx.secret").write_text(f"{secret}\n")
    assert await made.reload()
    async with asyncio.timeout(10):
        while "the old connection goes on" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_mistyped_secret_ends_no_login_that_works(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The old connection serves, by what is new, until one with the right secret is logged in."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        await standing_in(scene, made, caplog)
        await scene.announce()
        await answered(scene)
        add(scene, '\n[[trunk]]\nname = "new"\ncountry_code = "1"\n')
        assert await made.reload()
        await scene.announce("B" * 16, trunk="new")
        assert "cps-unavailable" in (await answered(scene, 2))[1]
        assert not logged_off(scene, 0)
        said = (
            "serving 1 PBX; not logged in with the new settings at pbx: the old connection serves"
        )
        assert made.status().startswith(said)
        assert made.is_alive()
        (scene.company.folder / "pbx.secret").write_text(f"{SECRET}\n")
        assert await made.reload()
        await scene.pbx.until(lambda: logged_off(scene, 0))
        assert "not logged in" not in made.status()
        assert "" not in beats(scene)
        await scene.announce("C" * 16)
        await answered(scene, 3)


@pytest.mark.usefixtures("impatient")
async def test_the_old_connection_is_not_made_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Once it is lost only the new settings count; and they are tried on and on."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        await standing_in(scene, made, caplog)
        before = len(scene.pbx.connections)
        scene.pbx.drop()
        await scene.pbx.until(lambda: len(scene.pbx.connections) > before + 1)
        tried = [one[0]["Secret"] for one in scene.pbx.connections[before:] if one]
        assert set(tried) == {"mistyped"}
        assert made.status() == "serving 1 PBX; not logged in at pbx"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["the service ends", "the PBX is taken away"])
async def test_a_connection_that_stands_in_ends_with_its_pbx(
    scene: Scene, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The PBX learns at once that nobody listens."""
    scene.cps.let.set()
    async with running(config.load(scene.company.config)) as made:
        await standing_in(scene, made, caplog)
        if how == "the PBX is taken away":
            change(scene, 'name = "pbx"', 'name = "another"')
            assert await made.reload()
            await scene.pbx.until(lambda: logged_off(scene, 0))
    assert logged_off(scene, 0)
    assert scene.pbx.variables["STIR_HEARTBEAT"] == ""


@pytest.mark.usefixtures("impatient")
async def test_the_same_at_an_event_socket(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A FreeSWITCH keeps the listener it has, too."""
    scene.cps.let.set()
    async with EventSocketDouble() as double:
        secret = scene.company.folder / "fs.password"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        add(scene, f'\n[[freeswitch]]\nname = "fs"\nport = {double.port}\n')
        add(scene, 'password_file = "fs.password"\n')
        async with running(config.load(scene.company.config)) as made, asyncio.timeout(30):
            old = made.daemon.pbxs[1]
            await old.connected.wait()
            secret.write_text("mistyped")
            assert await made.reload()
            while "fs: not logged in with the new settings" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert double.globals["stir_heartbeat"].startswith(f"{old.listener}:")
            assert "with the new settings at fs" in made.status()
            secret.write_text(PASSWORD)
            assert await made.reload()
            await old.away.wait()
            heir = made.daemon.pbxs[1]
            assert heir is not old
            await double.until(
                lambda: double.globals["stir_heartbeat"].startswith(f"{heir.listener}:")
            )


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
