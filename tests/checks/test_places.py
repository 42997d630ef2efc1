"""Where a finding is: file, line and key."""

from __future__ import annotations

from pathlib import Path

from pbx_stir import config
from pbx_stir.checks.places import findings_of, place
from pbx_stir.errors import ConfigurationError, UsageError, together


def test_a_place_has_its_line(tmp_path: Path) -> None:
    """Of the key, of the table around it, or none."""
    file = tmp_path / "a.toml"
    file.write_text('\n[[trunk]]\nname = "a"\nnumbers = []\n')
    loaded = config.load(file)
    assert place(loaded, "trunk[0].numbers") == f"{file}:4: trunk[0].numbers"
    assert place(loaded, "trunk[0].attest") == f"{file}:2: trunk[0].attest"
    assert place(loaded, "route") == f"{file}: route"


def test_an_error_is_taken_apart(tmp_path: Path) -> None:
    """Its place and what is wrong; what has no place keeps its words; each mistake by itself."""
    file = tmp_path / "a.toml"
    wrong = together(
        [
            ConfigurationError(f"{file}:3: trunk[0].name: a second trunk 'a'", hint="rename it"),
            ConfigurationError(f"{file}: verification.crls and crl_signers: no list"),
            ConfigurationError(f"{file}: pbx.secret is open to everyone"),
            ConfigurationError(f"{file}:7: not TOML: a bracket (at line 7)"),
            ConfigurationError("cannot list /a: no"),
        ]
    )
    found = [(one.what, one.where) for one in findings_of("trunk-wrong", file, wrong)]
    assert found == [
        ("a second trunk 'a'", f"{file}:3: trunk[0].name"),
        ("no list", f"{file}: verification.crls and crl_signers"),
        ("not TOML: a bracket (at line 7)", f"{file}:7"),
        ("cannot list /a: no", str(file)),
    ]
    [one] = findings_of("x5u-wrong", file, UsageError("no such port"))
    assert (one.what, bool(one.hint)) == ("no such port", True)
