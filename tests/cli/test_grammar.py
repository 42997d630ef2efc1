"""What commands take, as values."""

from __future__ import annotations

import argparse

from pbx_stir.cli.grammar import Operand, Option, every, grammar, whole
from pbx_stir.cli.main import COMMANDS


def test_a_parser_becomes_values() -> None:
    """Options with their values' names and choices, operands, and actions below."""
    parser = argparse.ArgumentParser(prog="x", add_help=False, epilog="the end")
    parser.add_argument("-a", "--all", action="store_true", help="100 %% of it")
    parser.add_argument("--way", choices=("in", "out"), required=True)
    parser.add_argument("--name", action="append", metavar="NAME")
    parser.add_argument("files", nargs="*", metavar="FILE", help="what to read")
    below = parser.add_subparsers().add_parser("go", help="to go")
    found = grammar(parser)
    assert found.epilog == "the end"
    assert found.options == (
        Option(("-a", "--all"), "", (), "100 % of it", required=False, repeatable=False),
        Option(("--way",), "{in,out}", ("in", "out"), "", required=True, repeatable=False),
        Option(("--name",), "NAME", (), "", required=False, repeatable=True),
    )
    assert found.operands == (Operand("[FILE ...]", (), "what to read"),)
    assert [(one.words, one.summary) for one in found.below] == [(("go",), "to go")]
    assert below.prog.endswith("go")


def test_the_whole_has_every_command() -> None:
    """With the actions of those that have some."""
    program = whole()
    assert [one.words[0] for one in program.below] == list(COMMANDS)
    words = {one.words for one in every(program)}
    assert {("keys", "rotate"), ("authority", "issue"), ("install", "asterisk")} <= words
