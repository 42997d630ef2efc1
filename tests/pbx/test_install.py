"""What ``pbx-stir install`` writes, read by real Asterisks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import asterisk, asterisk_files
from pbx_stir.cli.main import main
from tests.pbx.software import software_of

pytestmark = pytest.mark.pbx

EXTENSIONS = """[general]
static=yes
[globals]
THEIRS=1
[from-carrier-1]
exten => _X.,1,NoOp()
"""


@pytest.fixture(params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[asterisk.Instance]:
    """A running Asterisk that knows nothing of pbx-stir, in the folder ``a`` of a machine."""
    made = asterisk.Instance(software_of(str(request.param)), tmp_path / "a", "a")
    made.files = {
        "extensions.conf": EXTENSIONS,
        "manager.conf": asterisk_files.manager_conf(
            made.host, made.ami_port, made.ami_tls_port, None, None, ""
        ),
    }
    with made:
        yield made


def _install(site: asterisk.Instance, *arguments: str) -> None:
    root = str(site.directory.parent)
    assert main(["install", "asterisk", "--root", root, "--etc", "/a/etc", *arguments]) == 0
    site.cli("manager reload")
    site.cli("dialplan reload")


def test_asterisk_reads_what_is_installed(site: asterisk.Instance) -> None:
    """Globals join those that are there, contexts and user are known; undone, they are gone."""
    etc = site.directory / "etc"
    before = {path.name: path.read_bytes() for path in etc.iterdir()}
    _install(
        site,
        *("--trunk", "carrier-1", "--trunk-context", "from-carrier-1:carrier-1"),
        *("--numbers", "+12125551200-+12125551299", "--test-call", "--cdr", "--cel", "--apply"),
    )
    told = site.cli("dialplan show globals")
    assert "STIR_IN_carrier-1=monitor" in told
    assert "THEIRS=1" in told
    for context in ("pbx-stir-inbound", "pbx-stir-test", "from-carrier-1-stir"):
        assert f"Context '{context}'" in site.cli(f"dialplan show {context}")
    user = site.cli("manager show user pbx-stir")
    assert "username: pbx-stir" in user
    assert "call" in user
    _install(site, "--undo")
    assert {path.name: path.read_bytes() for path in etc.iterdir()} == before
    assert "no existence of 'pbx-stir-inbound'" in site.cli("dialplan show pbx-stir-inbound")
    assert "no manager called pbx-stir" in site.cli("manager show user pbx-stir")
