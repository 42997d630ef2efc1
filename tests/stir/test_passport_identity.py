"""PASSporTs in Identity headers: written and read as RFC 8224 has them."""

from __future__ import annotations

import pytest

from pbx_stir.errors import MalformedPassport
from pbx_stir.stir import passport
from tests.stir.passports import X5U, base, made, shaken


def identity(*parameters: str, token: str | None = None) -> str:
    """Put a header value together."""
    return ";".join([token or shaken().token, *parameters])


INFO = f"info=<{X5U}>"


def test_identity_header_as_rfc_8224_has_it() -> None:
    """Our value is token, info, alg and a quoted ppt, and reads back as the same PASSporT."""
    one = shaken()
    value = passport.identity_header(one)
    assert value == f'{one.token};info=<{X5U}>;alg=ES256;ppt="shaken"'
    assert passport.parse_identity(value) == one
    plain = base()
    assert passport.identity_header(plain) == f"{plain.token};info=<{X5U}>;alg=ES256"


def test_identity_header_is_not_made_of_a_strangers_x5u() -> None:
    """An x5u or ppt that would break out of the header makes none."""
    for header in ({"x5u": "https://a/>\r\nX: <b"}, {"x5u": "https://a b"}, {"ppt": 'a"b'}):
        with pytest.raises(MalformedPassport):
            passport.identity_header(passport.parse(made(header)))


@pytest.mark.parametrize(
    "parameters",
    [
        (INFO,), (INFO, "alg=ES256"), (INFO, "alg=ES256", "ppt=shaken"),
        ('ppt="shaken"', "alg=ES256", INFO), ("alg=ES256", INFO, "ppt=shaken"),
        (f" INFO = <{X5U}>", " Alg = ES256 ", ' PPT\t=\t"shaken" '),
        (INFO, "x", "y=1", 'z="a;b"', "w=<https://c;d>"),
        (f"\r\n {INFO}", "\r\n\talg=ES256", "\n ppt=shaken"), (f"{INFO}\r\n",),
    ],
)  # fmt: skip
def test_identity_values_that_are_read(parameters: tuple[str, ...]) -> None:
    """Any order, blanks around ; and =, folds, ppt with or without quotes, unknown parameters."""
    assert passport.parse_identity(identity(*parameters)).attest == "A"


@pytest.mark.parametrize(
    "parameters",
    [
        (), ("",), ("alg=ES256", "ppt=shaken"), (INFO, INFO), (INFO, "info=<https://b.example>"),
        ("info=<https://b.example>",), (f"info={X5U}",), (f'info="{X5U}"',), ("info",),
        ("info=",), (f"info=<{X5U}",), (f"info=<<{X5U}>>",), (f"info=< {X5U} >",),
        (f"info=<{X5U.upper()}>",), (INFO, "alg=RS256"), (INFO, "alg=es256"), (INFO, "alg="),
        (INFO, "alg"), (INFO, "alg=ES256", "alg=ES256"), (INFO, "ALG=ES256", "alg=ES256"),
        (INFO, "ppt=div"), (INFO, "ppt=SHAKEN"), (INFO, "ppt"), (INFO, "ppt=shaken", "ppt=shaken"),
        (INFO, 'ppt=""'), (INFO, 'ppt="shaken'), (INFO, "ppt='shaken'"), (INFO, ""),
        (INFO, "x=<a", "b>", "="), (INFO, "=1"), (f"{INFO},{INFO}",), (f"{INFO}, x",),
        (INFO, "x=1\x00"), (INFO, "x=\u00e9"), (f"{INFO}\r\nX-Header: 1",), (INFO, "a b"),
    ],
)  # fmt: skip
def test_identity_values_that_are_refused(parameters: tuple[str, ...]) -> None:
    """No info or another one, anything twice, anything unlike the token: MalformedPassport."""
    with pytest.raises(MalformedPassport):
        passport.parse_identity(identity(*parameters))


def test_ppt_of_a_base_passport_in_the_header_is_refused() -> None:
    """A header that names a ppt where the token has none is MalformedPassport."""
    for ppt in ("ppt=shaken", 'ppt=""', "ppt"):
        with pytest.raises(MalformedPassport):
            passport.parse_identity(identity(INFO, ppt, token=base().token))
    assert passport.parse_identity(identity(INFO, token=base().token)).ppt == ""


def test_identity_with_blanks_around_the_token() -> None:
    """Blanks around the token do not matter, blanks inside it do."""
    token = shaken().token
    assert passport.parse_identity(f"  {token} ; {INFO}").token == token
    with pytest.raises(MalformedPassport):
        passport.parse_identity(f"{token[:50]} {token[50:]};{INFO}")


def test_bare_token_is_no_identity_header() -> None:
    """A token without parameters is refused here, as a header with too many octets is."""
    with pytest.raises(MalformedPassport):
        passport.parse_identity(shaken().token)
    with pytest.raises(MalformedPassport):
        passport.parse_identity(identity(INFO, "x=" + "1" * 30_000))
