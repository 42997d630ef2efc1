"""``pbx-stir check``: what an administrator gets wrong has a code of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.companies import Authority, Company
from pbx_stir import config
from pbx_stir.checks import connections, files
from pbx_stir.cli.main import main
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cli.conftest import Cps, Office
from tests.pbx_room.fake_asterisk import SECRET, FakeAsterisk

DAY = 86_400.0
NOW = time.time()


_numbers = itertools.count(10_000)


@dataclass
class Manager:
    """A PBX, as a configuration names it."""

    ami_port: int = 1
    ami_secret: str = SECRET
    ami_user: str = "pbx-stir"
    host: str = "127.0.0.1"
    name: str = "pbx"


class Setup:
    """A company whose configuration is healthy, until a test breaks it."""

    def __init__(self, office: Office, folder: Path, cps: Cps, manager: Manager) -> None:
        self.office = office
        # records stay at the CPS: each set-up has numbers of its own
        first = f"1212{next(_numbers):05d}00"
        self.company = Company("acme", first, 100, folder / "acme")
        self.company.configure(
            authority=office.authority,
            trust=office.authority.anchor,
            cps=cps[1],
            cps_ca=Path(cps[3]),
            routes=["1"],
            pbxs=[manager],
        )
        self.change("[verification]", '[verification]\nx5u_hosts = ["certificates.example.com"]')
        assert main(["keys", "new", "--config", str(self.company.config)]) == 0

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.company.folder

    def change(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.company.config.read_text()
        assert text.count(old) == 1, old
        self.company.config.write_text(text.replace(old, new))

    def offline(self, now: float = NOW) -> list[str]:
        """What the files' check finds."""
        loaded = config.load(self.company.config)
        return [one.code for one in files.check_files(loaded, now)]

    async def online(self) -> list[str]:
        """What the connections' check finds."""
        loaded = config.load(self.company.config)
        return [one.code async for one in connections.check_connections(loaded)]

    def drop(self, section: str) -> None:
        """Leave a section out."""
        head, _, rest = self.company.config.read_text().partition(f"{section}\n")
        self.company.config.write_text(
            head + rest[rest.find("\n[") + 1 :] if "\n[" in rest else head
        )

    def certify(self, numbers: TnAuthList, authority: Authority | None = None) -> None:
        """Another certificate and key."""
        (authority or self.office.authority).issue(self.folder, "acme", numbers)


@pytest.fixture
def setup(office: Office, tmp_path: Path, secure: Cps, capsys: pytest.CaptureFixture[str]) -> Setup:
    """A healthy set-up without its PBX."""
    made = Setup(office, tmp_path, secure, Manager())
    capsys.readouterr()
    return made


@pytest.fixture
async def pbx() -> AsyncIterator[FakeAsterisk]:
    """A PBX that has our dialplan, switched on."""
    async with FakeAsterisk() as fake:
        for context in ("pbx-stir-outbound", "pbx-stir-inbound"):
            fake.variables[f"DIALPLAN_EXISTS({context},s,1)"] = "1"
        fake.variables |= {"GLOBAL(STIR_OUT_carrier)": "on", "GLOBAL(STIR_IN_carrier)": "monitor"}
        yield fake


@pytest.fixture
def online(office: Office, tmp_path: Path, secure: Cps, pbx: FakeAsterisk) -> Setup:
    """A healthy set-up with its PBX and CPS."""
    return Setup(office, tmp_path, secure, Manager(ami_port=pbx.port))


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and the one JSON object."""
    capsys.readouterr()
    status = main(["check", "--json", *arguments])
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert set(found) == {"healthy", "findings"}
    for one in found["findings"]:
        assert set(one) == {"code", "severity", "what", "where", "hint"}
        assert one["what"]
        assert "\n" not in one["what"]
    assert status == (0 if found["healthy"] else 1)
    return status, found


def test_a_healthy_setup_has_no_findings(setup: Setup) -> None:
    """Not even a note."""
    assert setup.offline() == []


FILES: dict[str, tuple[str, str]] = {
    "trunk-wrong": ('country_code = "1"', 'country_code = "1"\npresent = "x"'),
    "route-wrong": ('prefix = "+1"\n', 'prefix = "+1"\nkeys = ["AAAA"]\n'),
    "numbers-wrong": ("[outgoing]", '[numbers]\nexcluded = ["x"]\n[outgoing]'),
    "pbx-wrong": ('secret_file = "pbx.secret"', 'secret_file = "none"'),
    "x5u-wrong": ("[verification]", '[verification]\nx5u_allow = ["nowhere"]'),
    "tls-ca-wrong": ('tls_ca = "', 'tls_ca = "/none'),
    "call-log-wrong": ('file = "calls.jsonl"', 'file = "none/calls.jsonl"'),
    "anchors-wrong": ('trust = ["', 'trust = ["/none'),
    "file-unreadable": ('key = "acme.key"', 'key = "none.key"'),
    "credential-wrong": ('x5u = "https:', 'x5u = "http:'),
    "state-dir": ('state_dir = "state"', 'state_dir = "pbx-stir.toml/state"'),
    "no-encryption-key": ('state_dir = "state"', 'state_dir = "other"'),
    "x5u-not-fetched": ('x5u_hosts = ["certificates.example.com"]', ""),
}


@pytest.mark.parametrize("code", FILES)
def test_each_mistake_has_its_code(setup: Setup, code: str) -> None:
    """And no other."""
    setup.change(*FILES[code])
    consequences = {"anchors-wrong": ["certificate-untrusted-here"]}
    assert setup.offline() == [code, *consequences.get(code, [])]


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        ("[[asterisk]]", ["no-pbx"]),
        ("[[trunk]]", ["no-trunk"]),
        ("[[route]]", ["no-route"]),
        ("[publish]", ["not-published"]),
        ("[[credential]]", ["no-credential"]),
    ],
)
def test_each_section_that_is_missing(setup: Setup, section: str, codes: list[str]) -> None:
    """What does not work without it is said."""
    setup.drop(section)
    assert setup.offline() == codes


def test_no_anchor(setup: Setup) -> None:
    """Nothing can be verified then."""
    text = setup.company.config.read_text().splitlines()
    kept = [line for line in text if not line.startswith("trust = ")]
    setup.company.config.write_text("\n".join(kept))
    assert setup.offline() == ["no-anchors"]


def test_keys(setup: Setup) -> None:
    """One that everybody may read, one of another certificate, secrets."""
    key = setup.folder / "acme.key"
    key.chmod(0o644)
    assert setup.offline() == ["key-readable-by-all"]
    key.chmod(0o600)
    key.write_bytes(Path(setup.office.file("alice.key")).read_bytes())
    assert setup.offline() == ["key-mismatch"]
    setup.certify(setup.company.numbers)
    secret = setup.folder / "pbx.secret"
    secret.chmod(0o644)
    assert setup.offline() == ["pbx-wrong"]
    secret.chmod(0o600)
    (setup.folder / "state/keys").chmod(0o755)
    assert setup.offline() == ["state-dir"]


def test_times(setup: Setup) -> None:
    """A certificate for seven days, looked at from before to after."""
    late = ["certificate-untrusted-here"]
    assert setup.offline(NOW - 2 * DAY) == ["certificate-not-yet-valid", *late]
    assert setup.offline(NOW + 8 * DAY) == ["certificate-expired", *late]
    loaded = config.load(setup.company.config)
    for days, severity in ((6.5, "error"), (5, "warning")):
        (found,) = files.check_files(loaded, NOW + days * DAY)
        assert (found.code, found.severity.value) == ("certificate-expires", severity)
    # a certificate that is made for a week is renewed within the week
    assert setup.offline(NOW + 4 * DAY) == []


def test_coverage(setup: Setup, tmp_path: Path) -> None:
    """Numbers that the certificate has not, a foreign authority, a provider's code."""
    setup.certify(TnAuthList(ranges=(("13105552000", 100),)))
    assert setup.offline() == ["numbers-not-covered", "publish-wrong"]
    setup.certify(setup.company.numbers, Authority.new(tmp_path, "Foreign"))
    assert setup.offline() == ["certificate-untrusted-here"]
    setup.certify(TnAuthList(spcs=("1234",)))
    assert setup.offline() == []
    setup.change("[[trunk]]", '[[trunk]]\nname = "other"\n[[trunk]]')
    assert setup.offline() == ["trunk-without-numbers"]


def test_the_check_leaves_nothing_behind(setup: Setup) -> None:
    """Run by root, it must not make root's folders for the service."""
    setup.change('state_dir = "state"', 'state_dir = "other/state"')
    setup.offline()
    assert not (setup.folder / "other").exists()
    assert not (setup.folder / "calls.jsonl").exists()


async def test_a_healthy_setup_online(online: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    """PBX, dialplan, CPS and records: healthy, with exit status 0."""
    published = ["keys", "publish", "--config", str(online.company.config)]
    assert await asyncio.to_thread(main, published) == 0
    arguments = ("--config", str(online.company.config))
    status, found = await asyncio.to_thread(check, capsys, *arguments)
    assert (status, found) == (0, {"healthy": True, "findings": []})
    assert await asyncio.to_thread(main, ["check", *arguments]) == 0
    assert capsys.readouterr().out == "healthy\n"


async def test_a_refused_login(
    online: Setup, pbx: FakeAsterisk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said with its reason, and never with the secret."""
    (online.folder / "pbx.secret").write_text("hunter2")
    assert "ami-login-refused" in await online.online()
    await asyncio.to_thread(main, ["check", "--config", str(online.company.config)])
    out = capsys.readouterr().out
    assert "Authentication failed" in out
    assert out.endswith("calls suffer from what is wrong here\n")
    assert "hunter2" not in out


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DIALPLAN_EXISTS(pbx-stir-inbound,s,1)", "0", "dialplan-missing"),
        ("GLOBAL(STIR_OUT_carrier)", "yes", "switch-unknown"),
    ],
)
async def test_a_pbx_that_lacks_something(
    online: Setup, pbx: FakeAsterisk, name: str, value: str, code: str
) -> None:
    """The dialplan's include, or a switch that is misspelt."""
    pbx.variables[name] = value
    assert await online.online() == [code, "record-missing"]


async def test_a_trunk_that_is_off(online: Setup, pbx: FakeAsterisk) -> None:
    """Works, and is good to know."""
    pbx.variables |= {"GLOBAL(STIR_OUT_carrier)": "", "GLOBAL(STIR_IN_carrier)": "off"}
    assert await online.online() == ["trunk-off", "record-missing"]


async def test_a_user_without_rights(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asterisk says so only when it is asked."""
    answer = pbx._answer

    def denied(writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
        if action["Action"] != "Getvar":
            answer(writer, action)
            return
        said = f"Response: Error\r\nMessage: Permission denied\r\nActionID: {action['ActionID']}"
        writer.write(f"{said}\r\n\r\n".encode())

    monkeypatch.setattr(pbx, "_answer", denied)
    assert await online.online() == ["ami-rights", "record-missing"]


async def test_a_user_that_does_not_hear(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialplan's events do not come through, or the user may raise none."""
    monkeypatch.setattr(connections, "ECHO_SECONDS", 0.2)
    pbx.deaf = True
    assert await online.online() == ["ami-deaf", "record-missing"]
    pbx.denied = {"UserEvent"}
    assert await online.online() == ["ami-rights", "record-missing"]


async def test_a_pbx_that_goes_silent(
    online: Setup, pbx: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logged in, but no answer; or nothing at all."""
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    pbx.silent = {"Getvar"}
    assert (await online.online())[0] == "ami-broken"
    pbx.silent = {"Login"}
    assert (await online.online())[0] == "ami-unreachable"
    online.change('host = "127.0.0.1"', 'host = "192.0.2.1"')
    assert (await online.online())[:2] == ["ami-cleartext", "ami-unreachable"]
    online.change('host = "192.0.2.1"', 'host = "localhost"')
    assert (await online.online())[0] == "ami-unreachable"


async def test_a_cps_that_is_not_there(online: Setup, secure: Cps) -> None:
    """It is unreachable, and that is all there is to say."""
    text = online.company.config.read_text()
    online.company.config.write_text(text.replace(secure[1], "https://127.0.0.1:1"))
    assert await online.online() == ["cps-unreachable"]


@pytest.mark.parametrize(("offset", "severity"), [(3.0, ""), (-9.0, "warning"), (99.0, "error")])
async def test_a_clock_that_is_wrong(
    online: Setup, monkeypatch: pytest.MonkeyPatch, offset: float, severity: str
) -> None:
    """Measured against the CPS's: PASSporTs live for a minute."""
    from pbx_stir.cps.client import CpsClient

    async def clock_offset(*_: object) -> float:
        return offset

    monkeypatch.setattr(CpsClient, "clock_offset", clock_offset)
    loaded = config.load(online.company.config)
    found = [one async for one in connections.check_connections(loaded) if one.code == "clock"]
    assert [one.severity.value for one in found] == ([severity] if severity else [])


async def test_records_that_nobody_would_believe(
    online: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CPS has under our numbers is judged as others would."""
    from pbx_stir.cps.client import CpsClient

    async def junk(*_: object) -> tuple[str, ...]:
        return ("junk",)

    monkeypatch.setattr(CpsClient, "get_records", junk)
    assert await online.online() == ["record-missing"]
    online.change('[publish]\nnumbers = ["', '[publish]\nnumbers = ["+1212*", "')
    assert await online.online() == ["record-missing"]


async def test_what_files_say_is_not_said_again(online: Setup) -> None:
    """A wrong secret or CA has one finding, whichever check meets it."""
    os.remove(online.folder / "pbx.secret")
    online.change('tls_ca = "', 'tls_ca = "/none')
    assert await online.online() == []
    assert online.offline() == ["pbx-wrong", "tls-ca-wrong"]


@pytest.mark.parametrize("octets", [None, b"", b"\xff", b"x = 1", b"[[asterisk]]", b"\x00" * 100])
def test_json_is_one_object_whatever_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], octets: bytes | None
) -> None:
    """A missing, broken or empty configuration as well."""
    path = tmp_path / "pbx-stir.toml"
    if octets is not None:
        path.write_bytes(octets)
    status, found = check(capsys, "--config", str(path), "--offline")
    assert status == 1
    codes = [one["code"] for one in found["findings"]]
    assert codes == ["configuration"] if octets != b"" else "no-pbx" in codes


def test_a_check_that_fails_itself_is_a_finding(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitoring reads one object even then."""

    def broken(*_: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(files, "_state", broken)
    status, found = check(capsys, "--config", str(setup.company.config), "--offline")
    assert status == 1
    assert found["findings"][-1]["code"] == "check-broken"
    assert "RuntimeError: oops" in found["findings"][-1]["what"]
