"""Installing on a plain Asterisk: in files that are the administrator's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing import conf_file
from pbx_stir.installing.blocks import text_of
from pbx_stir.installing.changes import shown
from tests.installing.conftest import EXTENSIONS, MANAGER, Site

EXTENSIONS_CONF = "/etc/asterisk/extensions.conf"
MANAGER_CONF = "/etc/asterisk/manager.conf"
EVERYTHING = {
    "trunks": ("carrier-1",),
    "numbers": ("+12125551200-+12125551299",),
    "wrapped": (("from-carrier-1", "carrier-1"),),
    "cdr": True,
    "cel": True,
    "test_call": True,
    "with_cps": True,
}


def test_the_dialplan(site: Site) -> None:
    """Trunks are watched at first, our files are included, and a context runs the hook."""
    site.install(**EVERYTHING)
    text = site.read(EXTENSIONS_CONF).decode()
    assert text.startswith(EXTENSIONS.decode())
    added = text.removeprefix(EXTENSIONS.decode()).splitlines()
    assert added[:4] == [
        "; BEGIN pbx-stir",
        "[globals](+)",
        "STIR_OUT_carrier-1=monitor",
        "STIR_IN_carrier-1=monitor",
    ]
    assert "[from-carrier-1-stir]" in added
    assert added[-3:-1] == ["#include pbx-stir.conf", "#include pbx-stir-test.conf"]
    assert b"12125551200" in site.read("/etc/asterisk/pbx-stir-test.conf")
    assert b"[pbx-stir-inbound]" in site.read("/etc/asterisk/pbx-stir.conf")


def test_globals_without_a_section_get_one(site: Site) -> None:
    """``(+)`` adds to a section; where there is none Asterisk would read nothing at all."""
    site.put(EXTENSIONS_CONF, b"[default]\n")
    site.install(trunks=("a",))
    assert b"\n[globals]\nSTIR_OUT_a=monitor" in site.read(EXTENSIONS_CONF)


def test_globals_in_an_included_file_are_added_to(site: Site) -> None:
    """The section may stand in a file that is included."""
    site.put(EXTENSIONS_CONF, b"[default]\n#include globals.conf\n")
    site.put("/etc/asterisk/globals.conf", b"[globals]\nA=1\n")
    site.install(trunks=("a",))
    assert b"\n[globals](+)\n" in site.read(EXTENSIONS_CONF)


def test_the_manager_user(site: Site) -> None:
    """The user has a new secret, the same as the service's file, and no more rights than needed."""
    site.install()
    secret = site.read("/etc/pbx-stir/ami.secret").decode().strip()
    assert len(secret) == 48
    user = conf_file.sections(text_of(site.read(MANAGER_CONF)))[-1]
    values = dict(user.values)
    assert (user.name, values["secret"]) == ("pbx-stir", secret)
    assert (values["read"], values["write"]) == ("user", "call,user")


def test_the_manager_user_in_a_file_of_its_own(site: Site) -> None:
    """Where manager.d is included the user has a file there, and manager.conf stays as it is."""
    with_folder = MANAGER + b'#include "manager.d/*.conf"\n'
    site.put(MANAGER_CONF, with_folder)
    site.put("/etc/asterisk/manager.d/README.conf", b"; nothing\n")
    site.install()
    assert site.read(MANAGER_CONF) == with_folder
    assert b"[pbx-stir]" in site.read("/etc/asterisk/manager.d/pbx-stir.conf")
    assert not site.plan().changes


def test_a_manager_that_is_off_is_switched_on(site: Site) -> None:
    """``enabled = no`` is not changed, but overruled by our lines."""
    off = b"[general]\nenabled = no\n"
    site.put(MANAGER_CONF, off)
    site.install()
    text = site.read(MANAGER_CONF)
    assert text.startswith(off + b"; BEGIN pbx-stir\n[general](+)\nenabled = yes\n[pbx-stir]\n")
    assert not site.plan().changes


@pytest.mark.parametrize("place", [MANAGER_CONF, "/etc/asterisk/manager.d/other.conf"])
def test_a_user_of_that_name_is_not_ours(site: Site, place: str) -> None:
    """A user pbx-stir that somebody has made by hand is left to him."""
    site.put(MANAGER_CONF, MANAGER + b"#include manager.d/*.conf\n")
    site.put(place, MANAGER + b"[pbx-stir]\nsecret = x\n")
    before = site.snapshot()
    with pytest.raises(ConfigurationError, match="has a user pbx-stir"):
        site.install()
    assert site.snapshot() == before


def test_records(site: Site) -> None:
    """CDR and CEL are written to where asked for, in sections that are there or not."""
    site.put("/etc/asterisk/cdr_custom.conf", b"[mappings]\nMaster.csv => x\n")
    site.install(cdr=True, cel=True)
    cdr = site.read("/etc/asterisk/cdr_custom.conf").decode()
    assert "[mappings](+)\npbx-stir.csv => ${CSV_QUOTE(" in cdr
    assert "${CDR(stir_verstat)}" in cdr
    cel = site.read("/etc/asterisk/cel.conf").decode()
    assert "[general]\nenable = yes\nevents = USER_DEFINED\n" in cel


def test_again_changes_nothing(site: Site) -> None:
    """Installing twice is installing once; the secret stays."""
    site.install(**EVERYTHING)
    before = site.snapshot()
    plan = site.install(**EVERYTHING)
    assert (plan.changes, plan.folders) == ((), ())
    assert site.snapshot() == before


def test_what_was_turned_stays_turned(site: Site) -> None:
    """A switch that the administrator has turned is not turned back by installing again."""
    site.install(**EVERYTHING)
    text = site.read(EXTENSIONS_CONF)
    turned = text.replace(b"STIR_IN_carrier-1=monitor", b"STIR_IN_carrier-1 = on")
    site.put(EXTENSIONS_CONF, turned)
    site.install(trunks=("carrier-1", "carrier-2"))
    text = site.read(EXTENSIONS_CONF)
    assert b"STIR_IN_carrier-1 = on\n" in text
    assert b"STIR_IN_carrier-2=monitor\n" in text
    assert text.count(b"STIR_IN_carrier-1") == 1
    # what an earlier run was asked for is still there
    assert b"[from-carrier-1-stir]" in text
    assert b"#include pbx-stir-test.conf" in text
    site.undo()
    assert site.read(EXTENSIONS_CONF) == EXTENSIONS


@pytest.mark.parametrize(
    "extensions",
    [
        EXTENSIONS,
        EXTENSIONS.replace(b"\n", b"\r\n"),
        EXTENSIONS.rstrip(b"\n"),
        EXTENSIONS.replace(b"desk", b"B\xfcro\xff\x80"),
        b"",
        b"\n\n",
    ],
    ids=["plain", "crlf", "no-last-end", "latin-1", "empty", "blank"],
)
def test_undo_gives_everything_back(site: Site, extensions: bytes) -> None:
    """After installing and undoing every file, mode, owner and folder is as it was."""
    site.put(EXTENSIONS_CONF, extensions, 0o604)
    has_context = b"from-carrier-1" in extensions
    wishes = EVERYTHING if has_context else {**EVERYTHING, "wrapped": ()}
    before = site.snapshot()
    site.install(**wishes)
    assert site.snapshot() != before
    site.undo()
    assert site.snapshot() == before
    assert site.undo() == {}


def test_only_our_lines_go(site: Site) -> None:
    """What the administrator has changed since stays his, and he is told so."""
    site.install(**EVERYTHING)
    text = site.read(EXTENSIONS_CONF)
    changed = text.replace(b"desk", b"hall") + b"[added]\n"
    site.put(EXTENSIONS_CONF, changed)
    site.put("/etc/pbx-stir/pbx-stir.toml", b"# mine\n")
    told = site.undo()
    assert site.read(EXTENSIONS_CONF) == EXTENSIONS.replace(b"desk", b"hall") + b"[added]\n"
    assert "all else in it stays" in told[EXTENSIONS_CONF]
    assert site.read("/etc/pbx-stir/pbx-stir.toml") == b"# mine\n"
    assert told["/etc/pbx-stir/pbx-stir.toml"] == "kept: it was changed since"
    assert not site.machine.path("/etc/pbx-stir/ami.secret").exists()


def test_undo_after_changes_and_another_install(site: Site) -> None:
    """What is given back is the file as the administrator has it, without any line of ours."""
    site.install(trunks=("a",))
    site.put(EXTENSIONS_CONF, b"; mine\n" + site.read(EXTENSIONS_CONF))
    site.install(trunks=("a", "b"))
    assert site.undo()[EXTENSIONS_CONF] == "as it was"
    assert site.read(EXTENSIONS_CONF) == b"; mine\n" + EXTENSIONS


def test_an_older_file_of_ours_comes_back(site: Site) -> None:
    """A pbx-stir.conf that was there before is replaced, and given back."""
    site.put("/etc/asterisk/pbx-stir.conf", b"; of last year\n")
    site.put(EXTENSIONS_CONF, EXTENSIONS + b"#include pbx-stir.conf\n")
    plan = site.install()
    assert site.read(EXTENSIONS_CONF).count(b"#include pbx-stir.conf") == 1
    assert "-; of last year" in "".join(shown(change, full=False) for change in plan.changes)
    site.undo()
    assert site.read("/etc/asterisk/pbx-stir.conf") == b"; of last year\n"


def test_a_symbolic_link_stays_one(site: Site) -> None:
    """The file behind a link is changed, not the link."""
    target = site.put("/srv/extensions.conf", EXTENSIONS)
    link = site.machine.path(EXTENSIONS_CONF)
    link.unlink()
    link.symlink_to("../../srv/extensions.conf")
    before = site.snapshot()
    site.install()
    assert link.is_symlink()
    assert b"#include pbx-stir.conf" in target.read_bytes()
    site.undo()
    assert site.snapshot() == before


def test_new_files_are_like_their_neighbours(site: Site) -> None:
    """A new file of Asterisk's folder has a mode as its neighbour has it."""
    site.put(EXTENSIONS_CONF, EXTENSIONS, 0o604)
    site.install()
    assert site.machine.path("/etc/asterisk/pbx-stir.conf").stat().st_mode & 0o777 == 0o604
    assert site.machine.path(EXTENSIONS_CONF).stat().st_mode & 0o777 == 0o604
    assert site.machine.path("/etc/pbx-stir/ami.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others: run as root")
def test_owners_stay(site: Site) -> None:
    """A file keeps its owner, and a new one of Asterisk's folder has its neighbour's."""
    os.chown(site.machine.path(EXTENSIONS_CONF), 1234, 1235)
    site.install()
    for name in (EXTENSIONS_CONF, "/etc/asterisk/pbx-stir.conf"):
        status = site.machine.path(name).stat()
        assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_without_asterisk(site: Site, tmp_path: Path) -> None:
    """A folder or a file that is not there is an error that says what to do."""
    site.machine.path(MANAGER_CONF).unlink()
    with pytest.raises(ConfigurationError, match=r"manager\.conf"):
        site.plan()
    with pytest.raises(ConfigurationError, match="--etc"):
        site.plan(etc="/etc/nowhere")


def test_what_would_not_be_read_is_refused(site: Site) -> None:
    """Behind a comment that does not end our lines would have no effect."""
    site.put(EXTENSIONS_CONF, EXTENSIONS + b";-- to do\n")
    with pytest.raises(ConfigurationError, match=r"extensions\.conf: a comment .* does not end"):
        site.plan(trunks=("a",))


def test_a_context_that_is_not_there(site: Site) -> None:
    """A context to go on in must be there: a call would end in ours otherwise."""
    with pytest.raises(ConfigurationError, match="no context nowhere"):
        site.plan(trunks=("a",), wrapped=(("nowhere", "a"),))


def test_freepbx_is_known(site: Site) -> None:
    """FreePBX writes these files anew: they are not touched without --freepbx."""
    site.put("/etc/freepbx.conf", b"")
    with pytest.raises(ConfigurationError, match="--freepbx"):
        site.plan()


def test_what_is_left_is_said(site: Site) -> None:
    """What only the administrator knows is told as lines to write."""
    left = "\n".join(site.plan(trunks=("carrier-1",)).left)
    assert "Gosub(pbx-stir-outbound,s,1(carrier-1,${EXTEN}))" in left
    assert "Gosub(pbx-stir-inbound,s,1(carrier-1,${EXTEN}))" in left
    left = "\n".join(site.plan(**EVERYTHING).left)
    assert "context = from-carrier-1-stir" in left


def test_no_secret_is_shown(site: Site) -> None:
    """What is shown holds neither the new secret nor anybody else's."""
    site.put(MANAGER_CONF, MANAGER + b"[admin]\nsecret = theirs\n")
    plan = site.install()
    told = "".join(shown(change) for change in plan.changes)
    assert site.read("/etc/pbx-stir/ami.secret").decode().strip() not in told
    assert "theirs" not in told


def test_what_is_done_is_not_asked_for_again(site: Site) -> None:
    """Once the hooks of a trunk are in the dialplan, nothing is said to be left."""
    hook = b" same => n,Gosub(pbx-stir-outbound,s,1(carrier-1,${EXTEN}))\n"
    site.put(EXTENSIONS_CONF, EXTENSIONS + hook)
    site.machine.path("/etc/pbx-stir").mkdir()
    site.put("/etc/pbx-stir/pbx-stir.toml", b'[[asterisk]]\n[[trunk]]\nname = "carrier-1"\n')
    assert site.plan(trunks=("carrier-1",)).left == ()
    assert site.plan().left == ()
