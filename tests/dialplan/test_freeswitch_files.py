"""What dialplan/freeswitch's files and README say of each other, and Lua's own tools of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pbx_stir.services import treatment

FOLDER = Path(__file__).resolve().parents[2] / "dialplan/freeswitch"
README = (FOLDER / "README.md").read_text()
HOOK = (FOLDER / "pbx_stir.lua").read_text()
XML = sorted(FOLDER.glob("*.xml"))
SCRIPTS = sorted(FOLDER.glob("*.lua"))
STAND_IN = Path(__file__).with_name("stand_in.lua")
LUACHECK = shutil.which("luacheck")
COMPILERS = [c for v in ("5.1", "5.2", "5.3", "5.4") if (c := shutil.which(f"luac{v}"))]


def test_freeswitch_answer_is_unpacked_in_the_order_of_the_services() -> None:
    """The hook's fields are the contract's, in lower case, in the same order."""
    listed = re.search(r"local FIELDS = \{(.*?)\}", HOOK, re.DOTALL)
    assert listed is not None
    fields = re.findall(r'"([a-z_]+)"', listed[1])
    assert [f"STIR_{field.upper()}" for field in fields] == list(treatment.NAMES)


def test_freeswitch_readme_names_every_global_that_the_hook_reads() -> None:
    """A switch that nobody knows of is none."""
    named = set(re.findall(r'lobal(?:Variable)?\("(stir_[a-z_]+?)_?"', HOOK))
    assert {"stir_heartbeat", "stir_emergency", "stir_budget"} <= named
    assert all(name in README for name in named)
    assert "`stir_out_<trunk>`, `stir_in_<trunk>`" in README


def test_freeswitch_readme_names_every_file() -> None:
    """What lies in the folder is explained there."""
    assert all(f"[{path.name}]({path.name})" in README for path in [*XML, *SCRIPTS])


@pytest.mark.parametrize("path", XML, ids=lambda path: path.name)
def test_freeswitch_xml_is_well_formed_and_runs_scripts_that_are_there(path: Path) -> None:
    """FreeSWITCH drops a file that is not; an action names one of our scripts and its words."""
    tree = ElementTree.parse(path)  # our own file
    said = [one.get("data", "") for one in tree.iter("action") if one.get("application") == "lua"]
    said += [one.get("value", "")[4:] for one in tree.iter("variable")]
    for text in said:
        script, word, *_ = text.split()
        assert (FOLDER / script).is_file()
        assert f'"{word}"' in (FOLDER / script).read_text()


@pytest.mark.parametrize("path", XML, ids=lambda path: path.name)
def test_freeswitch_script_is_given_no_text_of_a_callers(path: Path) -> None:
    """mod_lua escapes too little: an argument is ours, or digits that a condition has matched."""
    for one in ElementTree.parse(path).iter("condition"):
        for action in one.iter("action"):
            if action.get("application") != "lua":
                continue
            given = action.get("data", "").split()[1:]
            assert all(re.fullmatch(r"[\w.-]+|\$1", word) for word in given)
            if "$1" in given:
                assert re.search(r"\((\\d\{\d+,\d+\}|\\d\+)\)", one.get("expression", ""))


def test_freeswitch_verdict_is_there_for_later_conditions() -> None:
    """The hook is inline, the first of its context, and does not end the hunt."""
    (extension,) = ElementTree.parse(FOLDER / "inbound.xml").iter("extension")
    assert extension.get("continue") == "true"
    assert {one.get("inline") for one in extension.iter("action")} == {"true"}
    (condition,) = extension.iter("condition")
    # a call that comes here again keeps its verdict
    assert (condition.get("field"), condition.get("expression")) == ("${stir_came_in}", "^$")
    guard, first, *_ = extension.iter("action")
    # nobody changes name and number, and with them the mark, during the call
    assert guard.get("data") == "sip_ignore_remote_cid=true"
    assert first.get("data", "").startswith("pbx_stir.lua inbound ")


def test_freeswitch_treatments_judge_the_verdict_first() -> None:
    """$1 belongs to the last condition, so the one on the verdict comes before."""
    for extension in ElementTree.parse(FOLDER / "treatment.xml").iter("extension"):
        first, *rest = extension.iter("condition")
        assert first.get("field") == "${stir_verstat}"
        assert rest


def test_freeswitch_record_has_every_column_of_the_contract() -> None:
    """The same columns as Asterisk's, and what was said of a call that went out again."""
    (template,) = ElementTree.parse(FOLDER / "cdr_csv.conf.xml").iter("template")
    columns = set(re.findall(r'"\$\{(\w+)\}"', template.text or ""))
    asterisk = FOLDER.parent / "asterisk/cdr_custom.conf.sample"
    assert set(re.findall(r"CDR\((stir_\w+)\)", asterisk.read_text())) <= columns
    assert {"stir_inbound_verstat", "stir_inbound_reason", "stir_inbound_id"} <= columns


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_freeswitch_variables_that_are_set_are_explained(path: Path) -> None:
    """Each variable that a script sets by its whole name stands in a README."""
    both = README + (FOLDER.parent / "README.md").read_text().lower()
    named = re.findall(r'set(?:Global)?Variable\("(\w*[a-z])"', path.read_text())
    assert named
    assert all(name in both for name in named)


@pytest.mark.skipif(LUACHECK is None, reason="no luacheck: install Debian's package lua-check")
@pytest.mark.parametrize("script", [*SCRIPTS, STAND_IN], ids=lambda path: path.name)
def test_freeswitch_lua_is_clean(script: Path) -> None:
    """luacheck finds nothing."""
    done = subprocess.run(
        [str(LUACHECK), "--std", "lua52", "--no-color", "--max-line-length", "120",
         "--globals", "freeswitch", "session", "argv", "stream", "--", str(script)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not COMPILERS, reason="no luac: install Debian's package lua5.2")
def test_every_version_of_lua_reads_the_scripts() -> None:
    """FreeSWITCH is built with 5.1 to 5.4: whichever compilers are here take them."""
    for compiler in COMPILERS:
        for script in SCRIPTS:
            subprocess.run([compiler, "-p", str(script)], check=True)
