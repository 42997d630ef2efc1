"""What the documentation says is there: keys, files, commands and their options."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from documenting import configuration, site
from pbx_stir import config
from pbx_stir.cli import grammar
from pbx_stir.cli.main import COMMANDS, parser

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGURATION = REPOSITORY / "docs/configuration.md"


def pages() -> list[Path]:
    """Every page of documentation in the repository."""
    return [REPOSITORY / page for page in site.pages()]


def documented_keys() -> list[str]:
    """The keys in the first column of the tables."""
    return [found[1] for found in configuration.ROW.finditer(CONFIGURATION.read_text())]


def test_every_key_is_documented_once() -> None:
    """docs/configuration.md has a row for each key of the configuration."""
    documented = documented_keys()
    assert sorted(set(documented)) == sorted(documented)
    assert sorted(configuration.missing(CONFIGURATION.read_text())) == []


def test_every_documented_key_exists() -> None:
    """docs/configuration.md has no row for a key that is not there."""
    assert sorted(set(documented_keys()) - set(configuration.keys())) == []


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_examples_load(page: Path, tmp_path: Path) -> None:
    """Each TOML block is a configuration that loads."""
    for number, text in enumerate(_blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        config.load(file)


def test_the_example_has_every_key(tmp_path: Path) -> None:
    """The complete example is complete: each key stands in it."""
    file = tmp_path / "pbx-stir.toml"
    file.write_text(_blocks(CONFIGURATION, "toml")[0])
    given = msgspec.toml.decode(file.read_bytes())
    assert sorted(set(configuration.keys()) - set(_given(given))) == []


def _given(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield above + name
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _given(one, f"{above}{name}.")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """A link to another file names one that is there, and a heading that it has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(REPOSITORY), target
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


def _anchors(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    shown = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in headings)
    words = (re.sub(r"[^a-z0-9 _-]", "", one.lower()) for one in shown)
    return [one.replace(" ", "-") for one in words]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_heading_has_an_anchor_of_its_own(page: Path) -> None:
    """So a link to it leads to it, here and on the site."""
    found = _anchors(page)
    assert sorted(set(found)) == sorted(found)


def test_every_page_is_reached_from_the_first() -> None:
    """README.md links to each page of docs/, and to the dialplan's."""
    linked = set(re.findall(r"\]\(([^)#\s]+)", (REPOSITORY / "README.md").read_text()))
    there = {str(page) for page in site.pages() if page.parts[0] == "docs"}
    assert sorted({*there, "dialplan/README.md", "CHANGELOG.md"} - linked) == []


def _options(command: str) -> set[str]:
    """The options and actions of a command and of what is below it."""
    program = argparse.ArgumentParser(prog=command)
    importlib.import_module(f"pbx_stir.cli.{command}").add_arguments(program)
    known = list(grammar.every(grammar.grammar(program)))
    names = {name for one in known for option in one.options for name in option.names}
    return names | {one.words[-1] for one in known if one.words}


# texts that begin with the program's name and are no commands
OTHER_WORDS = {"storage", "sealed"}


def mentioned(text: str) -> Iterator[tuple[str, str]]:
    """(command, its arguments) for each ``pbx-stir COMMAND …`` in code, lines that go on joined."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`([^`]+)`", prose)
    for line in lines:
        for found in re.finditer(r"(?<![\w/.-])pbx-stir (?!--)([a-z]+)\b([^|;&]*)", line):
            if found[1] in COMMANDS:
                yield found[1], found[2]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_option_exists(page: Path) -> None:
    """Each option, and each action, that a page gives to a command is one that it takes."""
    for command, arguments in mentioned(page.read_text()):
        known = _options(command)
        for option in re.findall(r"(?<!\S)--[a-z0-9-]+", arguments):
            assert option in known, f"pbx-stir {command} {option}"
        if command in {"keys", "authority"}:
            action = arguments.split()[:1]
            assert action == [] or set(action[0].split("|")) <= known, f"{command} {action}"


COMMAND = re.compile(
    r"\s*(?:runuser -u pbx-stir -- |systemd-run .* )?(?:[\w./-]*/)?pbx-stir ([a-z]+(?:\s.*)?)$"
)


def typed(text: str) -> Iterator[str]:
    """The arguments of each ``pbx-stir`` that begins a line of a block, up to a pipe."""
    for _, block in re.findall(r"^( *)```[a-z]*\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found = COMMAND.match(line)
            # brackets are usage
            if found and "[" not in found[1]:
                yield re.split(r"\s(?:[|;&>]|2>)", found[1])[0]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_exists(page: Path) -> None:
    """What running text calls a command of the program is one."""
    named = set(re.findall(r"`pbx-stir ([a-z][a-z-]*)[ `]", page.read_text()))
    assert named - OTHER_WORDS <= set(COMMANDS)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_is_well_formed(page: Path) -> None:
    """What somebody copies from a block is taken by the command: its parser is asked."""
    for arguments in typed(page.read_text()):
        words = shlex.split(arguments, comments=True)
        try:
            parser(words[0]).parse_args(words)
        except SystemExit as refused:
            assert not refused.code, f"pbx-stir {arguments}"  # noqa: PT017


def test_commands_in_blocks_are_seen() -> None:
    """With the lines that they go on in, by any path, as any user; usage is none."""
    text = (
        "```\n/opt/x/bin/pbx-stir sign --orig 1 \\\n  --dest 2 > token\n"
        "runuser -u pbx-stir -- pbx-stir check\npbx-stir check [--json]\n```\n"
    )
    assert [" ".join(one.split()) for one in typed(text)] == ["sign --orig 1 --dest 2", "check"]


def test_options_of_no_command_are_found() -> None:
    """The check above sees commands in blocks, over several lines, and in running text."""
    text = "`pbx-stir check --json`\n```\nx && pbx-stir sign --orig 1 \\\n  --dest 2\n```\n"
    assert [(name, rest.split()) for name, rest in mentioned(text)] == [
        ("sign", ["--orig", "1", "--dest", "2"]),
        ("check", ["--json"]),
    ]


def test_pages_name_only_files_of_the_repository() -> None:
    """What a page calls a script or a module of ours is there."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not listed:
        pytest.skip("not a clone of the repository: files that pages name are not looked for")
    for page in pages():
        for name in re.findall(
            r"`((?:scripts|lab|bench|tests|pbx_stir|docs|dialplan|documenting|systemd)/[\w./-]+)`",
            page.read_text(),
        ):
            there = [one for one in listed if one == name or one.startswith(name.rstrip("/") + "/")]
            assert there, f"{page.name}: {name}"
