"""The systemd unit that runs a configuration, as its files say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.checks import unit
from pbx_stir.checks.unit import start_hint, unit_of
from tests.checks.setups import Setup, files_of


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders of units, the first one the administrator's."""
    both = (tmp_path / "etc", tmp_path / "usr")
    for one in both:
        one.mkdir()
    monkeypatch.setattr(unit, "FOLDERS", both)
    return both


def _unit(configuration: Path, more: str = "") -> str:
    return (
        f"[Service]\nExecStart=/opt/x/bin/pbx-stir run --config {configuration}\nUser=stir\n"
        f"LoadCredential=ami.secret:/etc/pbx-stir/ami.secret\nStateDirectory=pbx-stir\n{more}"
    )


def test_a_unit_of_another_configuration(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Only the unit that names the configuration counts, also for what to do."""
    (folders[1] / "pbx-stir.service").write_text(_unit(tmp_path / "a.toml"))
    assert unit_of(tmp_path / "b.toml") is None
    assert start_hint(tmp_path / "b.toml", "start it") == "start it"
    assert start_hint(tmp_path / "a.toml", "start it") == "systemctl start pbx-stir"


def test_drop_ins_add_and_forget(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """What ``systemctl edit`` adds is heard, and an empty value takes back what was said."""
    (folders[1] / "pbx-stir.service").write_text(_unit(tmp_path / "a.toml"))
    (folders[0] / "pbx-stir.service.d").mkdir()
    drop_in = folders[0] / "pbx-stir.service.d/override.conf"
    drop_in.write_text("[Service]\nLoadCredential=company.key:/etc/pbx-stir/company.key\n")
    found = unit_of(tmp_path / "a.toml")
    assert found is not None
    assert found.user == "stir"
    assert found.credentials == {"ami.secret", "company.key"}
    assert found.makes_room_for(Path("/var/lib/pbx-stir/x"))
    assert not found.makes_room_for(Path("/var/log/pbx-stir"))
    drop_in.write_text("[Service]\nLoadCredential=\nUser=other\n")
    found = unit_of(tmp_path / "a.toml")
    assert found is not None
    assert (found.user, found.credentials) == ("other", frozenset())


def test_the_administrators_unit_hides_the_shipped_one(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """As for systemd itself; octets and quotes that make no sense are no unit's."""
    (folders[1] / "pbx-stir.service").write_text(_unit(tmp_path / "a.toml"))
    (folders[0] / "pbx-stir.service").write_bytes(b'\xff\0[Service]\nExecStart=/x "\n')
    assert unit_of(tmp_path / "a.toml") is None


def test_a_secret_that_is_handed_over(
    setup: Setup, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not read what systemd hands to the service is told so; it is no error."""
    text = _unit(setup.company.config).replace("ami.secret", "pbx.secret")
    (folders[0] / "pbx-stir.service").write_text(text)
    opened = Path.open

    def refused(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "pbx.secret":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refused)
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("secret-handed-over", "note")
    (folders[0] / "pbx-stir.service").unlink()
    assert setup.offline() == ["pbx-wrong"]


def test_a_call_log_before_the_first_start(
    setup: Setup, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that systemd makes when the service starts is good to know, and no error."""
    logs = setup.folder / "logs"
    setup.change('file = "calls.jsonl"', 'file = "logs/pbx-stir/calls.jsonl"')
    assert setup.offline() == ["call-log-wrong"]
    monkeypatch.setattr(unit, "MADE", {"LogsDirectory": str(logs)})
    text = _unit(setup.company.config, "LogsDirectory=pbx-stir\n")
    (folders[0] / "pbx-stir.service").write_text(text)
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("call-log-not-yet", "note")
    assert found.hint == "systemctl start pbx-stir"
