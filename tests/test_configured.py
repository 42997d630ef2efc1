"""A configuration's sections become values, or an error that names file and key."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.companies import Authority, tls_certificate
from pbx_stir import config, configured
from pbx_stir.config import Loaded
from pbx_stir.configured_callers import callers
from pbx_stir.errors import ConfigurationError
from pbx_stir.services.trunk import Shown
from pbx_stir.stir import sealing
from pbx_stir.stir.number import DEFAULT_EMERGENCY
from pbx_stir.stir.tnauthlist import TnAuthList

RANGE = TnAuthList(ranges=(("12125551200", 100),))
KEY = base64.urlsafe_b64encode(sealing.public_octets(sealing.new_private_key())).rstrip(b"=")
ROUTE = '[[route]]\nprefix = "+1"\ncps = ["https://cps.example"]\n'


def load(folder: Path, text: str) -> Loaded:
    """``text`` as a configuration file, loaded."""
    path = folder / "pbx-stir.toml"
    path.write_text(text)
    return config.load(path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose root is ``lab-authority.pem`` in its folder."""
    return Authority.new(tmp_path_factory.mktemp("authority"), "Lab Authority")


@pytest.mark.parametrize(
    ("text", "make", "said"),
    [
        (
            '[[trunk]]\nname="a"\n[[trunk]]\nname="a"',
            callers,
            "trunk[1].name: a second",
        ),
        (
            '[[originator]]\nname="a"\nnumbers=[]\n[[originator]]\nname="a"\nnumbers=[]',
            callers,
            "originator[1].name: a second originator 'a'",
        ),
        (
            '[[originator]]\nname="a"\nnumbers=["x"]',
            callers,
            "originator[0].numbers: ",
        ),
        (
            '[[originator]]\nname="a"\ndisplay_name="Smith & Sons"',
            callers,
            "originator[0].display_name: 'Smith & Sons' has signs",
        ),
        (
            '[[caller]]\nnumbers=["12125551234"]\ncall_reason="a\\u202eb"',
            callers,
            "caller[0].call_reason: ",
        ),
        ('[[trunk]]\nname="a"\nnumbers=["12-1"]', callers, "trunk[0].numbers: "),
        ('[[trunk]]\nname="a"\ncountry_code="1234"', callers, "trunk[0]: "),
        ('[[trunk]]\nname="a"\npresent="sip:x"', callers, "trunk[0].present: "),
        (
            '[[trunk]]\nname="a"\ncalled={"9"="x"}',
            callers,
            "trunk[0].called.9: ",
        ),
        (
            '[[trunk]]\nname="a"\ncalled={"9"=[]}',
            callers,
            "trunk[0].called.9: not 1",
        ),
        (ROUTE + ROUTE, configured.routes, "route: two routes"),
        (
            '[[route]]\nprefix="+1"\ncps=["http://a"]',
            configured.routes,
            "route[0].cps: 'http://a' is not https",
        ),
        (ROUTE + 'keys = ["AAAA"]', configured.routes, "route[0].keys: 'AAAA' is no X25519 key"),
        (ROUTE + f'keys = ["!{KEY.decode()}"]', configured.routes, "route[0].keys: "),
        (ROUTE + 'keys = ["é"]', configured.routes, "route[0].keys: "),
        ('[publish]\nnumbers=["x"]\ncps=["https://a"]', configured.routes, "publish.numbers: "),
        ('[publish]\nnumbers=["1"]\ncps=["http://a"]', configured.routes, "publish.cps: 'http"),
        (
            '[publish]\nnumbers=["1"]\ncps=["http://a"]\n[outgoing]\nplain_loopback=true',
            configured.routes,
            "publish.cps: ",
        ),
        ('[numbers]\nexcluded=["x"]', configured.never_signed, "numbers.excluded: "),
        ('state_dir="pbx-stir.toml"', configured.state_dir, "state_dir: "),
        ('state_dir="a\\u0000"', configured.state_dir, "state_dir: "),
    ],
)
def test_a_mistake_names_file_and_key(
    tmp_path: Path, text: str, make: Callable[[Loaded], object], said: str
) -> None:
    """One sentence, and nothing but a ConfigurationError."""
    loaded = load(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        make(loaded)
    place, _, rest = caught.value.message.partition(": ")
    assert re.fullmatch(rf"{re.escape(str(loaded.path))}(:[0-9]+)?", place)
    assert rest.startswith(said)


def test_trunks_and_originators(tmp_path: Path) -> None:
    """What the sections say is what the trunk knows, in canonical numbers."""
    loaded = load(
        tmp_path,
        """
[[trunk]]
name = "a"
country_code = "1"
numbers = ["+12125551200-+12125551299"]
present = "+12125551200"
attest = "B"
called = { "4210" = "+12125551210", "800" = ["12125551211", "12125551212"] }
[[trunk]]
name = "long"
max_digits = 18
in_band = true
present = "123456789012345678"
endpoints = ["in", "PJSIP/out"]
[[originator]]
name = "PJSIP/alice"
numbers = ["+12125551234"]
display_name = "Alice Müller"
[[originator]]
name = "PJSIP/bob"
call_reason = "Your order"
[[caller]]
numbers = ["+1212555*"]
display_name = "Example Inc."
""",
    )
    made = callers(loaded)
    trunk = made.trunks["a"]
    assert trunk.presents == "12125551200"
    assert trunk.attest == "B"
    assert "12125551299" in trunk.numbers
    assert trunk.aliases == {"4210": ("12125551210",), "800": ("12125551211", "12125551212")}
    assert made.trunks["long"].presents == "123456789012345678"
    assert "12125551234" in made.originators["PJSIP/alice"]
    assert "PJSIP/bob" not in made.originators
    assert (trunk.in_band, made.trunks["long"].in_band) == (False, True)
    assert (trunk.endpoints, made.trunks["long"].endpoints) == (None, ("in", "PJSIP/out"))
    assert made.shown(("PJSIP/alice",), "12125551234") == Shown("Alice Müller")
    assert made.shown(("PJSIP/bob",), "12125551234") == Shown("Example Inc.", "Your order")


def test_routes_with_pinned_keys_and_our_own(tmp_path: Path) -> None:
    """A key is 32 octets in base64url, with or without padding; our own numbers have our CPS."""
    other = base64.urlsafe_b64encode(sealing.public_octets(sealing.new_private_key()))
    loaded = load(
        tmp_path,
        f"""
{ROUTE}
keys = ["{KEY.decode()}", "{other.decode()}"]
[publish]
numbers = ["+12125551200"]
cps = ["https://own.example"]
""",
    )
    made = configured.routes(loaded)
    found = made.route("13105552000")
    assert found is not None
    assert found.keys == (base64.urlsafe_b64decode(KEY + b"="), base64.urlsafe_b64decode(other))
    assert made.own_cps("12125551200") == ("https://own.example",)
    assert configured.routes(load(tmp_path, "")).route("1") is None


def test_credentials_need_a_private_key_file(tmp_path: Path, authority: Authority) -> None:
    """The key's file is refused where everybody may read it; all errors name the credential."""
    certificate, key = authority.issue(tmp_path, "a", RANGE)
    _, other = authority.issue(tmp_path, "b", RANGE)
    section = '[[credential]]\ncertificate="{}"\nkey="{}"\nx5u="https://c.example/{}"\n'
    good = section.format("a.pem", "a.key", "a.pem")
    (found,) = configured.credentials(load(tmp_path, good))
    assert found.covers("12125551234")
    for text, said in (
        (good + section.format("a.pem", other.name, ""), r"credential\[1\]: the key is not that"),
        (section.format("none.pem", "a.key", ""), r"credential\[0\]\.certificate: cannot read"),
        (section.format("a.pem", "none.key", ""), r"credential\[0\]\.key: cannot read"),
        (section.format("a.key", "a.key", ""), r"credential\[0\]: no usable certificate"),
        (section.format("a.pem", "a.key", "?q"), r"credential\[0\]: x5u"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            configured.credentials(load(tmp_path, text))
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"credential\[0\]\.key: .* open to everyone"):
        configured.credentials(load(tmp_path, good))
    assert certificate.exists()


def test_anchors_are_files_that_match(tmp_path: Path, authority: Authority) -> None:
    """Relative to the configuration; a pattern without a file, and a file without a CA, are not."""
    (tmp_path / "root.pem").write_bytes(authority.anchor.read_bytes())
    (tmp_path / "junk.txt").write_text("junk")
    loaded = load(tmp_path, "")
    found = configured.anchors(loaded, "verification.trust", ("*.pem",))
    assert found.current().certificates == (authority.certificate,)
    for pattern in ("*.der", "junk.txt"):
        with pytest.raises(ConfigurationError, match=r"toml(:\d+)?: verification\.trust: "):
            configured.anchors(loaded, "verification.trust", (pattern,))


def test_what_is_published_must_be_ours(tmp_path: Path, authority: Authority) -> None:
    """Numbers that no credential covers, or numbers without a CPS, are the administrator's slip."""
    authority.issue(tmp_path, "a", RANGE)
    credential = '[[credential]]\ncertificate="a.pem"\nkey="a.key"\nx5u="https://c.example/a"\n'

    def published(section: str) -> object:
        loaded = load(tmp_path, f"{credential}[publish]\n{section}")
        return configured.published(loaded, configured.credentials(loaded))

    assert published("") == ()
    assert published('numbers=["12125551200"]\ncps=["https://a.example"]')
    for section in (
        'numbers=["13105552000"]\ncps=["https://a.example"]',
        'numbers=["12125551200"]',
    ):
        with pytest.raises(ConfigurationError, match=r"toml(:\d+)?: publish: "):
            published(section)


def test_policies(tmp_path: Path) -> None:
    """What an SPC is good for, and what is never signed."""
    text = '[verification]\nspc = "refuse"\nspc_table = {"1212" = ["1234"]}'
    policy = configured.spc_policy(load(tmp_path, text))
    assert not policy.accept
    assert policy.table == {"1212": frozenset({"1234"})}
    assert configured.never_signed(load(tmp_path, "")).emergency == DEFAULT_EMERGENCY
    text = '[numbers]\nemergency = ["112"]\nexcluded = ["+1212*"]'
    never = configured.never_signed(load(tmp_path, text))
    assert never.emergency == {"112"}
    assert "12125551234" in never.excluded


def test_certificate_authorities_of_tls(tmp_path: Path) -> None:
    """None is the system's; a file without certificates is an error that says which key."""
    _, _, ca = tls_certificate(tmp_path, "cps", ["127.0.0.1"])
    loaded = load(tmp_path, "")
    assert configured.tls_of(loaded, "k", None) is None
    assert isinstance(configured.tls_of(loaded, "k", ca.name), ssl.SSLContext)
    (tmp_path / "junk").write_text("junk")
    for name in ("none", "junk", "a\0b"):
        with pytest.raises(ConfigurationError, match=r"toml: k: no CA certificates in"):
            configured.tls_of(loaded, "k", name)


def test_the_state_folder_is_made(tmp_path: Path) -> None:
    """With its parents, for nobody else."""
    made = configured.state_dir(load(tmp_path, 'state_dir = "a/state"'))
    assert made == tmp_path / "a/state"
    assert made.stat().st_mode & 0o777 == 0o700
