"""Connections to PBXs through a reload: one ends only when another has taken its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.companies import Authority
from lab.event_socket import PASSWORD, EventSocketDouble
from pbx_stir import config
from pbx_stir import running as running_module
from pbx_stir.running import Service, running
from tests.cli.run_scene import Scene, acting
from tests.pbx_room.fake_asterisk import SECRET, FakeAsterisk
from tests.test_running import add, answered, change

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
