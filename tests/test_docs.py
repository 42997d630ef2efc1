"""What the documentation says is there: keys, files, commands and their options."""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from pbx_stir import config
from pbx_stir.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGURATION = REPOSITORY / "docs/configuration.md"


def pages() -> list[Path]:
    """Every page of documentation in the repository."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    return sorted([*found, *(REPOSITORY / "dialplan").rglob("*.md")])


def keys(struct: type[msgspec.Struct], above: str = "") -> Iterator[str]:
    """Each key of a section and of those in it, as ``section.key``."""
    for name, kind in get_type_hints(struct, include_extras=True).items():
        inner = _struct_in(kind)
        if inner is None:
            yield above + name
        else:
            yield from keys(inner, f"{above}{name}.")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if get_origin(kind) in {tuple, Annotated, Union, UnionType}:
        return next((one for one in map(_struct_in, get_args(kind)) if one), None)
    return None


def documented_keys() -> list[str]:
    """The keys in the first column of the tables."""
    text = CONFIGURATION.read_text()
    return re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.MULTILINE)


def test_every_key_is_documented_once() -> None:
    """docs/configuration.md has a row for each key of the configuration."""
    documented = documented_keys()
    assert sorted(set(documented)) == sorted(documented)
    assert sorted(set(keys(config.Configuration)) - set(documented)) == []


def test_every_documented_key_exists() -> None:
    """docs/configuration.md has no row for a key that is not there."""
    assert sorted(set(documented_keys()) - set(keys(config.Configuration))) == []


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
    assert sorted(set(keys(config.Configuration)) - set(_given(given))) == []


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


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"[^a-z0-9 _-]", "", one.lower()) for one in headings)
    return {one.replace(" ", "-") for one in words}


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command)
    importlib.import_module(f"pbx_stir.cli.{command}").add_arguments(parser)
    return parser


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = {"--help"}
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= {name} | _options(below)
    return found


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
        known = _options(_parser(command))
        for option in re.findall(r"(?<!\S)--[a-z0-9-]+", arguments):
            assert option in known, f"pbx-stir {command} {option}"
        if command in {"keys", "authority"}:
            action = arguments.split()[:1]
            assert action == [] or set(action[0].split("|")) <= known, f"{command} {action}"


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
            r"`((?:scripts|lab|bench|tests|pbx_stir|docs|dialplan)/[\w./-]+)`", page.read_text()
        ):
            there = [one for one in listed if one == name or one.startswith(name.rstrip("/") + "/")]
            assert there, f"{page.name}: {name}"
