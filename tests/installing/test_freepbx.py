"""Installing on FreePBX: in the files that it leaves alone."""

from __future__ import annotations

import pytest

from pbx_stir.errors import ConfigurationError
from tests.installing.conftest import MANAGER, Site

ETC = "/etc/asterisk"
STUB = """#include extensions_override_freepbx.conf
#include extensions_additional.conf
#include extensions_custom.conf
[from-pstn]
include => ext-did
[macro-dialout-trunk-predial-hook]
exten => s,1,{end}()
;----
[macro-dialout-one-predial-hook]
exten => s,1,other()
"""


@pytest.fixture
def freepbx(site: Site) -> Site:
    """FreePBX 17's files, as far as they matter."""
    site.put("/etc/freepbx.conf", b"<?php\n")
    site.put(f"{ETC}/extensions.conf", STUB.format(end="return").encode())
    site.put(f"{ETC}/extensions_additional.conf", b"[globals]\n#include globals_custom.conf\n")
    site.put(f"{ETC}/manager.conf", MANAGER + b"#include manager_custom.conf\n")
    site.put(f"{ETC}/extensions_custom.conf", b"[mine]\nexten => 1,1,NoOp()\n")
    return site


def test_only_custom_files_are_written(freepbx: Site) -> None:
    """Nothing that FreePBX writes anew is touched, and undoing gives all back."""
    before = freepbx.snapshot()
    freepbx.install(freepbx=True, trunks=("1", "2"))
    changed = {
        name
        for name, was in freepbx.snapshot().items()
        if name.startswith("etc/asterisk/") and before.get(name) != was
    }
    assert changed == {
        "etc/asterisk/extensions_custom.conf",
        "etc/asterisk/globals_custom.conf",
        "etc/asterisk/manager_custom.conf",
        "etc/asterisk/pbx-stir.conf",
    }
    assert not freepbx.plan(freepbx=True, trunks=("1", "2")).changes
    freepbx.undo()
    assert freepbx.snapshot() == before


@pytest.mark.parametrize(
    ("end", "ours"), [("return", "Return()"), ("MacroExit", "MacroExit()"), ("NoOp", "Return()")]
)
def test_the_hook_ends_as_freepbxs_own(freepbx: Site, end: str, ours: str) -> None:
    """FreePBX 17 runs the hook as a subroutine, 16 as a macro: its own empty one tells."""
    freepbx.put(f"{ETC}/extensions.conf", STUB.format(end=end).encode())
    freepbx.install(freepbx=True, trunks=("1",))
    text = freepbx.read(f"{ETC}/extensions_custom.conf").decode()
    assert (
        "[macro-dialout-trunk-predial-hook]\n"
        "exten => s,1,Gosub(pbx-stir-outbound,s,1(${DIAL_TRUNK},${OUTNUM}))\n"
        f" same => n,{ours}\n"
    ) in text
    assert " same => n,Goto(from-trunk,${EXTEN},1)\n" in text


def test_switches(freepbx: Site) -> None:
    """The switches are lines of globals_custom.conf, which is included within [globals]."""
    freepbx.install(freepbx=True, trunks=("1",))
    assert freepbx.read(f"{ETC}/globals_custom.conf").decode().splitlines()[1:-1] == [
        "STIR_OUT_1=monitor",
        "STIR_IN_1=monitor",
    ]


def test_a_hook_that_is_in_use(freepbx: Site) -> None:
    """A hook of the administrator's own is not touched: he is told which line to add."""
    own = b"[macro-dialout-trunk-predial-hook]\nexten => s,1,Return()\n"
    freepbx.put(f"{ETC}/extensions_custom.conf", own)
    plan = freepbx.install(freepbx=True, trunks=("1",))
    text = freepbx.read(f"{ETC}/extensions_custom.conf")
    assert text.count(b"[macro-dialout-trunk-predial-hook]") == 1
    assert any("pbx-stir-outbound" in one for one in plan.left)


def test_trunks_of_an_earlier_run_stay(freepbx: Site) -> None:
    """Installing for another trunk keeps the contexts of the first."""
    freepbx.install(freepbx=True, trunks=("1",))
    freepbx.install(freepbx=True, trunks=("2",))
    text = freepbx.read(f"{ETC}/extensions_custom.conf")
    assert text.count(b"[from-stir-1]") == text.count(b"[from-stir-2]") == 1


def test_a_plain_asterisk_is_not_freepbx(site: Site) -> None:
    """Without FreePBX's includes its files would not be read."""
    with pytest.raises(ConfigurationError, match=r"extensions_custom\.conf"):
        site.plan(freepbx=True)
