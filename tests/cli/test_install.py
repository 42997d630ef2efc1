"""``pbx-stir install`` as an administrator types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx_stir.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's root with Asterisk's folder in it."""
    etc = tmp_path / "etc/asterisk"
    etc.mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    (etc / "extensions.conf").write_text("[globals]\n")
    (etc / "manager.conf").write_text("[general]\nenabled = yes\n")
    return tmp_path


def _install(root: Path, *arguments: str) -> int:
    return main(["install", "asterisk", "--root", str(root), *arguments])


def test_without_apply_nothing_changes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would be done is shown as a diff, and is not done."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert _install(root, "--trunk", "carrier-1") == 0
    said = capsys.readouterr().out
    assert "+STIR_IN_carrier-1=monitor" in said
    assert "lines, as shipped; --full shows them" in said
    assert said.endswith("nothing was changed: --apply does it\n")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_apply_again_and_undo(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Applied once it is done, twice nothing more, undone it is as it was."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert _install(root, "--trunk", "a", "--apply") == 0
    assert "done" in capsys.readouterr().out
    assert "#include pbx-stir.conf" in (root / "etc/asterisk/extensions.conf").read_text()
    assert _install(root, "--trunk", "a", "--apply") == 0
    assert capsys.readouterr().out.startswith("nothing to change")
    assert _install(root, "--undo") == 0
    assert "extensions.conf: as it was" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert _install(root, "--undo") == 0
    assert "nothing to undo" in capsys.readouterr().out


def test_full_shows_shipped_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --full every line that would be written is shown, secrets apart."""
    assert _install(root, "--full") == 0
    assert "+[pbx-stir-inbound]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--apply", "--undo"), 2, "not allowed with"),
        (("--trunk", "a b"), 2, "no name of a trunk"),
        (("--trunk-context", "x"), 2, "CONTEXT:TRUNK"),
        (("--trunk-context", "x:y"), 2, "no trunk 'y'"),
        (("--certificate", "x.pem"), 2, "go together"),
        (("--etc", "/nowhere"), 1, "is Asterisk installed?"),
        (("--freepbx",), 1, "is this FreePBX?"),
    ],
)
def test_wrong_use(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    """What cannot be done is told in a sentence, with the exit status of its kind."""
    try:
        got = _install(root, *arguments)
    except SystemExit as ended:
        got = int(str(ended.code))
    assert got == status
    assert said in capsys.readouterr().err


def test_only_root_changes_this_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody may look; to change the machine itself one has to be root."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["install", "asterisk", "--apply"]) == 2
    assert "only root" in capsys.readouterr().err


def test_hooks_come_out_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hook in the administrator's own context would end calls: it is named, nothing undone."""
    assert _install(root, "--trunk", "a", "--apply") == 0
    extensions = root / "etc/asterisk/extensions.conf"
    applied = extensions.read_text()
    hook = " same => n,Gosub(pbx-stir-outbound,s,1(a,${EXTEN}))"
    extensions.write_text(f"[office]\n{hook}\n;{hook}\n{applied}")
    assert _install(root, "--undo") == 2
    said = capsys.readouterr().err
    assert said.count("Gosub(pbx-stir-outbound") == 1
    assert str(extensions) in said
    assert "#include pbx-stir.conf" in extensions.read_text()
    extensions.write_text(applied)
    assert _install(root, "--undo") == 0


def test_nothing_that_a_terminal_obeys(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the PBX's user may have worded cannot hide lines of what root is shown, or errors."""
    extensions = root / "etc/asterisk/extensions.conf"
    hostile = "\x1b]0;x\x07\x1b[8m\x9b8m\u202e"
    hook = f"exten => 1,1,Gosub(pbx-stir-inbound,s,1(a,1)) {hostile}"
    assert _install(root, "--trunk", "a", "--apply") == 0
    (root / "etc/asterisk/pbx-stir.conf").write_text(f"; {hostile}\n")
    applied = extensions.read_text()
    turned = f"STIR_OUT_a=monitor ;{hostile}"
    extensions.write_text(f"{applied.replace('STIR_OUT_a=monitor', turned)}[x]\n{hook}\n")
    assert _install(root, "--trunk", "b") == 0
    assert _install(root, "--undo") == 2
    (root / "etc/asterisk/extensions.conf").write_text("#include \x1bc\u202e.conf\n")
    (root / "etc/asterisk/\x1bc\u202e.conf").write_text(";-- no end\n")
    assert _install(root, "--trunk", "b") == 1
    said = capsys.readouterr()
    assert "\\x1b]0;x" in said.out
    assert "\\x1b]0;x" in said.err
    assert "\\x1bc\\u202e.conf: " in said.err
    for line in f"{said.out}{said.err}".split("\n"):
        assert line.replace("\t", "").isprintable()
