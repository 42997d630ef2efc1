"""Configuration: what is wrong is named with file, key and remedy, whatever the file holds."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir import config
from pbx_stir.config import Configuration, Loaded
from pbx_stir.errors import ConfigurationError


def load(folder: Path, text: str | bytes) -> Loaded:
    """``text`` as a configuration file, loaded."""
    path = folder / "pbx-stir.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.load(path)


def put(folder: Path, name: str, octets: bytes, mode: int = 0o600) -> Path:
    """A file beside the configuration."""
    path = folder / name
    path.write_bytes(octets)
    path.chmod(mode)
    return path


def test_an_empty_file_has_every_default(tmp_path: Path) -> None:
    """Nothing has to be said that a default can say."""
    loaded = load(tmp_path, "")
    assert loaded.values == Configuration()
    assert loaded.path == tmp_path / "pbx-stir.toml"


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("xyz = 1", "xyz", "unknown field `xyz`"),
        ("state_dir = 3", "state_dir", "expected `str`"),
        ("state_dir = 2020-01-01", "state_dir", "expected `str`"),
        ("asterisk = 3", "asterisk", "expected `array`"),
        ("[[asterisk]]\n", "asterisk[0]", "missing required field `secret_file`"),
        ('[[asterisk]]\nsecret_file = "s"\nport = "x"', "asterisk[0].port", "expected `int`"),
        ('[[asterisk]]\nsecret_file = "s"\nport = 70000', "asterisk[0].port", "65535"),
        (
            '[[asterisk]]\nsecret_file = "s"\nhost = "a\\u0000"',
            "asterisk[0].host",
            "name or address",
        ),
        ('[[asterisk]]\nsecret_file = "s"\nusername = "ä"', "asterisk[0].username", "ASCII"),
        (
            '[[asterisk]]\nsecret_file = "s"\nsecret = "x"',
            "asterisk[0].secret",
            "unknown field `secret`",
        ),
        ('[[trunk]]\nname = "a b"', "trunk[0].name", "40 letters"),
        ('[[trunk]]\nname = "a\\n"', "trunk[0].name", "40 letters"),
        ('[[trunk]]\nname = "a"\nattest = "D"', "trunk[0].attest", "'D'"),
        ('[[trunk]]\nname = "a"\n[trunk.called]\n1 = 5', "trunk[0].called.1", "got `int`"),
        ('[verification]\nspc_table = {"12a" = ["1"]}', "verification.spc_table.12a", "15 digits"),
        ('[verification]\nx5u_hosts = "all"', "verification.x5u_hosts", "'all'"),
        ('[[route]]\nprefix = "+1"\ncps = []', "route[0].cps", "length >= 1"),
        ('[[route]]\nprefix = "+1"\ncps = ["ftp://a"]', "route[0].cps[0]", "http or https"),
        ("[publish]\nrecord_days = 8", "publish.record_days", "7.0"),
        ("[publish]\nrecord_days = nan", "publish.record_days", "0.0"),
        ("[cps]\nlifetime_seconds = 1e400", "cps.lifetime_seconds", "int"),
        (f"[cps]\nlifetime_seconds = {'9' * 400}", "cps.lifetime_seconds", "60"),
        ('[call_log]\nnumbers = "none"', "call_log.numbers", "'none'"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    """Who reads the message knows where to look, and what for."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    last = len(text.splitlines())
    assert caught.value.message.startswith(f"{tmp_path / 'pbx-stir.toml'}:{last}: {key}: ")
    assert said in caught.value.message
    assert caught.value.hint.endswith("docs/configuration.md lists every key")


@pytest.mark.parametrize(
    "octets",
    [
        b"state_dir = ",
        b"\xff\xfe",
        b"\x00",
        b'a = "\\ud800"',
        b"a = " + b"[" * 5000,
        b"a = 1" + b"0" * 5000,
        b"a = 1\na = 2",
    ],
)
def test_what_is_not_toml_is_said_to_be_none(tmp_path: Path, octets: bytes) -> None:
    """Broken syntax, broken text, endless nesting: one sentence."""
    with pytest.raises(ConfigurationError, match=r"pbx-stir\.toml(:1)?: not TOML: "):
        load(tmp_path, octets)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, a name that no file can have, one that is too large."""
    for path in (tmp_path / "none.toml", tmp_path, Path("a\0b")):
        with pytest.raises(ConfigurationError, match=r"cannot read .*--config"):
            config.load(path)
    with pytest.raises(ConfigurationError, match="larger than"):
        load(tmp_path, b"#" * (config.LARGEST_FILE + 1))


_TOML = st.lists(
    st.sampled_from(
        [
            *("[", "]", "[[", "]]", "=", '"', "'", ".", ",", "{", "}", "\n", "#", "\\u0000", "-"),
            *("asterisk", "trunk", "name", "numbers", "cps", "route", "publish", "verification"),
            *("state_dir", "spc_table", "called", "x5u_hosts", "any", "record_days", "listen"),
            *("1", "nan", "inf", "-1", "1e999", "true", "2020-01-01", "+12125551234", "\x00", "é"),
        ]
    ),
    max_size=30,
).map(lambda words: " ".join(words).encode())


@given(st.one_of(st.binary(max_size=200), _TOML))
def test_any_octets_are_a_configuration_or_an_error(octets: bytes) -> None:
    """No file makes anything else than a configuration or a ConfigurationError."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            loaded = load(Path(folder), octets)
        except ConfigurationError:
            return
        assert isinstance(loaded.values, Configuration)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the working folder is; absolute ones and "~" stay."""
    loaded = load(tmp_path, "")
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert loaded.resolve("a/b") == tmp_path / "a/b"
    assert loaded.resolve("/a/b") == Path("/a/b")
    assert loaded.resolve("~/b") == Path("/home/somebody/b")
    assert loaded.resolve("~nosuchuser/b") == tmp_path / "~nosuchuser/b"
    assert load(tmp_path, "").read("key", put(tmp_path, "x", b"octets").name) == b"octets"


def test_the_path_of_a_relative_file_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--config pbx-stir.toml`` means the same after the service has changed its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text("")
    assert config.load(Path("a.toml")).resolve("b") == tmp_path / "b"


def test_a_named_file_that_cannot_be_read_names_the_key(tmp_path: Path) -> None:
    """File, key and remedy, as for the configuration itself."""
    loaded = load(tmp_path, "")
    for name in ("none", ".", "a\0b"):
        with pytest.raises(ConfigurationError, match=r"toml: trunk\[0\]\.x: cannot read .*path"):
            loaded.read("trunk[0].x", name)
    put(tmp_path, "large", bytes(config.LARGEST_FILE + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        loaded.read("k", "large")


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666, 0o601])
def test_a_secret_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """And the remedy is a command."""
    loaded = load(tmp_path, "")
    path = put(tmp_path, "secret", b"s3cret\n", mode)
    with pytest.raises(ConfigurationError) as caught:
        loaded.secret("asterisk[0].secret_file", "secret")
    assert "asterisk[0].secret_file" in caught.value.message
    assert caught.value.hint == f"chmod o= {path}"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("octets", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_a_secret_is_one_line(tmp_path: Path, octets: bytes) -> None:
    """The line's end does not belong to it; the group may read it."""
    put(tmp_path, "secret", octets, 0o640)
    assert load(tmp_path, "").secret("k", "secret") == "s3cret"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\n",
        b"s3cret\nAction: Originate",
        b"s3cret\rAction: Originate",
        b"s3\x00cret",
        b"s3cret\xff",
        "s3cret€".encode(),
        b"s3cret" * 200,
    ],
)
def test_a_secret_that_would_break_a_line_is_refused(tmp_path: Path, octets: bytes) -> None:
    """Nothing can follow the secret into the manager interface, and nothing of it is said."""
    put(tmp_path, "secret", octets)
    with pytest.raises(ConfigurationError, match=r"toml: k: .*secret is not one line") as caught:
        load(tmp_path, "").secret("k", "secret")
    assert "s3" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_patterns_match_files_beside_the_configuration(tmp_path: Path) -> None:
    """In order, each once; one that matches nothing is an error."""
    folder = tmp_path / "a[b]*"
    folder.mkdir()
    loaded = load(folder, "")
    for name in ("b.pem", "a.pem", "c.txt"):
        put(folder, name, b"")
    assert loaded.matching("k", ("*.pem", "a.*")) == (folder / "a.pem", folder / "b.pem")
    for pattern in ("*.der", "a\0b"):
        with pytest.raises(ConfigurationError, match=r"toml: k: no file matches"):
            loaded.matching("k", (pattern,))


def test_a_secret_that_goes_away_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even between being read and being looked at."""
    loaded = load(tmp_path, "")
    path = put(tmp_path, "secret", b"s3cret")
    read = Loaded.read

    def read_and_remove(self: Loaded, key: str, name: str) -> bytes:
        octets = read(self, key, name)
        os.unlink(path)
        return octets

    monkeypatch.setattr(Loaded, "read", read_and_remove)
    with pytest.raises(ConfigurationError, match="cannot read"):
        loaded.secret("k", "secret")


def test_a_credential_comes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that the service manager has handed over is read, under the file's own name."""
    file = tmp_path / "pbx-stir.toml"
    file.write_text("")
    secret = tmp_path / "ami.secret"
    secret.touch(0o600)
    secret.write_text("from the file\n")
    loaded = config.load(file)
    handed = tmp_path / "credentials"
    handed.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert loaded.secret("asterisk[0].secret_file", "ami.secret") == "from the file"
    (handed / "ami.secret").write_text("handed over\n")
    (handed / "ami.secret").chmod(0o400)
    secret.chmod(0o000)
    assert loaded.secret("asterisk[0].secret_file", "ami.secret") == "handed over"
