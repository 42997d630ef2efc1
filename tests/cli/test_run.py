"""``pbx-stir run``: calls in hand are finished, and what is wrong is said."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest

from lab.companies import Company
from pbx_stir import config, configured_pbxs, daemon, parts, running
from pbx_stir.cli.main import main
from pbx_stir.errors import ConfigurationError
from pbx_stir.log_levels import LogLevels
from pbx_stir.service_manager import ServiceManager
from tests.cli.conftest import Office
from tests.cli.run_scene import Manager, Scene, acting, service
from tests.pbx_room.fake_asterisk import SECRET


@pytest.fixture
async def scene(office: Office, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene."""
    async with acting(office.authority, tmp_path) as made:
        yield made


async def drains(scene: Scene, stop: Callable[[], None], ended: Awaitable[object]) -> None:
    """SIGTERM while a call is held: the heartbeat goes first, then the call has its answer."""
    await scene.announce()
    async with asyncio.timeout(10):
        await scene.cps.asked.wait()
    assert scene.answers() == []
    stop()
    await scene.pbx.until(lambda: scene.pbx.variables["STIR_HEARTBEAT"] == "")
    assert scene.answers() == []
    scene.cps.let.set()
    async with asyncio.timeout(10):
        await ended
    (answer,) = scene.answers()
    assert answer.startswith("A" * 16 + "||No-TN-Validation|cps-unavailable|")
    names = [name for _, name, _ in scene.pbx.writes]
    last_beat = max(n for n, (_, name, value) in enumerate(scene.pbx.writes) if value == "")
    assert last_beat < names.index("STIR_ANSWER")
    (line,) = (scene.company.folder / "calls.jsonl").read_text().splitlines()
    logged = json.loads(line)
    assert (logged["reason"], logged["released"]) == ("cps-unavailable", True)


async def test_sigterm_drains_the_held_calls(scene: Scene) -> None:
    """As a process: the answer still comes, and the exit status is 0."""
    async with service(scene.company) as process:
        await drains(scene, process.terminate, process.wait())
        assert process.returncode == 0
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    assert "stopping: finishing the calls in hand" in said
    assert "Traceback" not in said
    assert SECRET not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_daemon_drains(scene: Scene, number: signal.Signals) -> None:
    """The same in this process."""
    served = running.serve(config.load(scene.company.config), LogLevels("info"), ServiceManager())
    task = asyncio.ensure_future(served)
    try:
        await drains(scene, lambda: os.kill(os.getpid(), number), asyncio.shield(task))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            asyncio.get_running_loop().remove_signal_handler(one)


async def test_a_refused_login_is_said(scene: Scene) -> None:
    """With its reason and what to compare, never with the secret; the service goes on."""
    (scene.company.folder / "pbx.secret").write_text("hunter2hunter2")
    async with service(scene.company) as process:
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(10):
            while "refused" not in said:
                line = await process.stderr.readline()
                assert line, f"it ended: {said}"
                said += line.decode()
        assert process.returncode is None
        process.terminate()
        rest, (out, err) = await asyncio.gather(process.wait(), process.communicate())
    said += err.decode() + out.decode()
    assert rest == 0
    assert "login of 'pbx-stir' at 127.0.0.1" in said
    assert "Authentication failed" in said
    assert "manager.conf" in said
    assert "hunter2" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('state_dir = "state"', "state_dir = 3", "state_dir: expected `str`, got `int`"),
        ('state_dir = "state"', 'state_dir = "pbx-stir.toml"', "state_dir: "),
        ('secret_file = "pbx.secret"', 'secret_file = "none"', "asterisk[0].secret_file: cannot"),
        ("[[trunk]]", '[[trunk]]\nname = "carrier"\n[[trunk]]', "trunk[1].name: a second trunk"),
        ('key = "acme.key"', 'key = "none.key"', "credential[0].key: cannot read"),
        ('trust = ["', 'trust = ["/none', "verification.trust: no file matches"),
        ('tls_ca = "', 'tls_ca = "/none', "outgoing.tls_ca: no CA certificates in"),
        (
            "[verification]",
            '[verification]\nx5u_allow = ["a"]',
            "verification.x5u_allow: 'a' is not HOST:PORT",
        ),
        ('cps = ["https', 'cps = ["http', "publish.cps: "),
        ("[[asterisk]]", "[[asterisk", "not TOML"),
        ('prefix = "+1"', 'prefix = "+1"\nkeys = ["x"]', "route[0].keys: "),
    ],
)
def test_a_broken_configuration_is_1(
    office: Office,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    said: str,
) -> None:
    """File, line and key, a line each, exit status 1, nothing started."""
    company = Company("acme", "12125551200", 100, tmp_path / "acme")
    company.configure(
        authority=office.authority,
        trust=office.authority.anchor,
        cps="https://127.0.0.1:1",
        cps_ca=office.authority.anchor,
        routes=["1"],
        pbxs=[Manager(1)],
    )
    text = company.config.read_text()
    company.config.write_text(text.replace(old, new, 1))
    assert main(["run", "--config", str(company.config)]) == 1
    err = capsys.readouterr().err
    for line in err.splitlines():
        assert re.match(rf"pbx-stir run: {re.escape(str(company.config))}(:[0-9]+)?: ", line)
    assert said in err
    assert "Traceback" not in err


async def test_two_pbxs_have_two_names(office: Office, tmp_path: Path) -> None:
    """The call log must tell them apart."""
    company = Company("acme", "12125551200", 100, tmp_path / "acme")
    company.configure(
        authority=office.authority,
        trust=office.authority.anchor,
        cps="https://127.0.0.1:1",
        cps_ca=office.authority.anchor,
        routes=["1"],
        pbxs=[Manager(1), Manager(2)],
    )
    with pytest.raises(ConfigurationError, match=r"asterisk\[1\]\.name: a second PBX 'pbx'"):
        daemon.build(config.load(company.config))
    text = company.config.read_text().replace('name = "pbx"\n', "")
    company.config.write_text(
        text.replace("port = 1\n", f'port = 1\ntls = true\ntls_ca = "{office.trust}"\n')
    )
    found = configured_pbxs.asterisks(config.load(company.config))
    assert [one.name for one in found] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert isinstance(found[0].tls, ssl.SSLContext)
    assert found[1].tls is None


async def test_what_is_known_of_trunks_outlives_a_reload(office: Office, tmp_path: Path) -> None:
    """From where calls came in, and what they brought along: another trunk changes nothing."""
    company = Company("acme", "12125551200", 100, tmp_path / "acme")
    company.configure(
        authority=office.authority,
        trust=office.authority.anchor,
        cps="https://127.0.0.1:1",
        cps_ca=office.authority.anchor,
        routes=["1"],
        pbxs=[Manager(1)],
    )
    before = daemon.build(config.load(company.config))
    company.config.write_text(company.config.read_text() + '[[trunk]]\nname = "new"\n')
    after = daemon.build(config.load(company.config), before)
    for of in (before, after):
        services = of.reception, of.reception._authentication
        assert {one._outside for one in services} == {before.reception._outside}
        assert {one._brought for one in services} == {before.reception._brought}
    assert "new" in after.reception._authentication._callers.trunks
    await after.parts.discard()
    await before.parts.discard()


async def test_background_work_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails off the call path is logged and tried again."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    attempts: list[int] = []

    async def work() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("oops")

    await parts.kept_up(work)
    assert (len(attempts), slept) == (3, [5, 5])


@pytest.mark.parametrize("quick", [True, False])
def test_it_serves_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    """On uvloop where that is installed, on asyncio's own loop where it is not."""
    served: list[Path] = []

    async def serve(loaded: config.Loaded, levels: LogLevels, manager: ServiceManager) -> None:
        served.append(loaded.path)

    monkeypatch.setattr(running, "serve", serve)
    fake = ModuleType("uvloop")
    fake.run = asyncio.run  # type: ignore[attr-defined]
    # None in its place makes the import fail
    monkeypatch.setitem(sys.modules, "uvloop", fake if quick else None)  # type: ignore[arg-type]
    path = tmp_path / "pbx-stir.toml"
    path.write_text("")
    assert main(["run", "--config", str(path)]) == 0
    assert served == [path]
