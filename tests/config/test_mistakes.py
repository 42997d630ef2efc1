"""All that is wrong with a configuration's keys is found at once, each with a remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir import config
from pbx_stir.config.mistakes import MOST_MISTAKES, converted, mistakes
from pbx_stir.config.sections import Configuration
from pbx_stir.errors import ConfigurationError

BROKEN = """
log_levle = "info"
state_dir = 3

[[asterisk]]
hots = "10.0.0.1"
port = 70000

[[trunk]]
name = "carrier one"
numbers = ["+1", 2]
country_code = "x"
max_digits = "a"
[trunk.called]
9 = 5

[[route]]
prefix = "1"
cps = ["https://a", "ftp://b"]

[verification]
trust = "anchor.pem"
secret_file = "x"

[cps]
log_level = "debug"
redis = { url = 1, tls = true }
"""


def test_every_mistake_is_found() -> None:
    """Unknown, missing and wrong, in tables, lists and tables within."""
    found = {one.key: one for one in mistakes(tomllib.loads(BROKEN), Configuration)}
    assert set(found) == {
        "log_levle",
        "state_dir",
        "asterisk[0]",
        "asterisk[0].hots",
        "asterisk[0].port",
        "trunk[0].name",
        "trunk[0].numbers[1]",
        "trunk[0].country_code",
        "trunk[0].max_digits",
        "trunk[0].called.9",
        "route[0].cps[1]",
        "verification.trust",
        "verification.secret_file",
        "cps.log_level",
        "cps.redis.url",
        "cps.redis.tls",
    }
    assert "did you mean `log_level`?" in found["log_levle"].hint
    assert "did you mean `host`?" in found["asterisk[0].hots"].hint
    assert found["asterisk[0]"].what == "missing required field `secret_file`"
    assert found["asterisk[0]"].hint.startswith("add secret_file = ")
    assert "before the first table" in found["cps.log_level"].hint
    assert "`asterisk` has a key of that name" in found["verification.secret_file"].hint
    assert found["trunk[0].country_code"].what == "expected up to 15 digits"


def test_all_of_them_are_said_with_their_lines(tmp_path: Path) -> None:
    """File, line, key and remedy, one error each."""
    path = tmp_path / "pbx-stir.toml"
    path.write_text(BROKEN)
    with pytest.raises(ConfigurationError) as caught:
        config.load(path)
    said = {str(one) for one in caught.value.each}
    assert len(said) == 16
    lines = BROKEN.splitlines()
    for key, text in (
        ("log_levle", 'log_levle = "info"'),
        ("asterisk[0]", "[[asterisk]]"),
        ("trunk[0].numbers[1]", 'numbers = ["+1", 2]'),
        ("cps.redis.url", "redis = { url = 1, tls = true }"),
    ):
        start = f"{path}:{lines.index(text) + 1}: {key}: "
        assert any(one.startswith(start) for one in said), start


def test_what_is_right_has_no_mistakes() -> None:
    """And mistakes have an end."""
    assert mistakes({"trunk": [{"name": "a"}]}, Configuration) == []
    many = {f"key{number}": 1 for number in range(200)}
    assert len(mistakes(many, Configuration)) == MOST_MISTAKES


def test_a_key_is_shown_on_one_line() -> None:
    """However somebody wrote it."""
    (one,) = mistakes({"a\nb\u202e": 1}, Configuration)
    assert one.key.isprintable()
    assert one.what.isprintable()


_ATOMS = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5), st.none())
_NAMES = st.one_of(
    st.sampled_from([*Configuration.__struct_fields__, "name", "numbers", "url", "redis", "bare"]),
    st.text(max_size=5),
)
_RAW = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(_NAMES, _RAW, max_size=5))
def test_there_are_mistakes_exactly_where_it_is_refused(raw: dict[str, object]) -> None:
    """Nothing that msgspec refuses is without a mistake, and nothing that it takes has one."""
    try:
        converted(raw, Configuration)
    except msgspec.ValidationError:
        assert mistakes(raw, Configuration) != []
    else:
        assert mistakes(raw, Configuration) == []
