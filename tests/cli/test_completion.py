"""What shells complete by."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pbx_stir.cli.completion import SHELLS, script
from pbx_stir.cli.grammar import whole
from pbx_stir.cli.main import COMMANDS, main


def completed(tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    (tmp_path / "completion").write_text(script("bash", whole()))
    quoted = " ".join(f"'{word}'" for word in words)
    asked = (
        f"source completion; COMP_WORDS=(pbx-stir {quoted}); COMP_CWORD={len(words)}; "
        'complete -p pbx-stir >/dev/null; _pbx_stir; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash: install Debian's package bash")
def test_bash_completes_commands_actions_options_and_values(tmp_path: Path) -> None:
    """Each by what stands before it."""
    (tmp_path / "anchors.pem").touch()
    assert set(COMMANDS) <= set(completed(tmp_path, ""))
    assert completed(tmp_path, "che") == ["check"]
    assert completed(tmp_path, "keys", "ro") == ["rotate"]
    assert completed(tmp_path, "calls", "--dir") == ["--direction"]
    assert completed(tmp_path, "calls", "--direction", "") == ["in", "out"]
    assert completed(tmp_path, "verify", "--trust", "an") == ["anchors.pem"]
    assert completed(tmp_path, "calls", "--trunk", "") == []
    assert completed(tmp_path, "calls", "anch") == ["anchors.pem"]
    assert completed(tmp_path, "install", "asterisk", "--fr") == ["--freepbx"]
    assert completed(tmp_path, "check", "--config", "x", "--js") == ["--json"]
    assert completed(tmp_path, "completion", "z") == ["zsh"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(tmp_path: Path, shell: str) -> None:
    """Without a complaint, where the shell is installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}: install Debian's package {shell}")
    file = tmp_path / "completion"
    file.write_text(script(shell, whole()))
    subprocess.run([shell, "-n", str(file)], check=True, timeout=60)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """For each shell, with every command in it."""
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert all(f" {command}" in printed for command in COMMANDS)
