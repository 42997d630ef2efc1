"""Family 3: too old, too new, or no time at all."""

from __future__ import annotations

import pytest

from tests.families.hostile import DROP, NOW, Court, Judging, octets_of_json, token


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [
        (-61, "stale"),
        (-3_600, "stale"),
        (-NOW, "stale"),
        (6, "future-iat"),
        (3_600, "future-iat"),
        (2**53 - 1 - NOW, "future-iat"),
    ],
)
def test_family_03_iat_outside(court: Court, judging: Judging, ahead: int, reason: str) -> None:
    """61 s old, 6 s ahead, and far beyond."""
    judging.refuses(reason, token(court.key, claims={"iat": NOW + ahead}))


@pytest.mark.parametrize(
    ("at", "reason"),
    [(NOW + 60.001, "stale"), (NOW + 61, "stale"), (NOW - 5.5, "future-iat")],
)
def test_family_03_iat_between_seconds(
    court: Court, judging: Judging, at: float, reason: str
) -> None:
    """The limits hold to the fraction of a second."""
    judging.refuses(reason, token(court.key), at=at)


@pytest.mark.parametrize("at", [NOW, NOW + 60, NOW + 59.999, NOW - 5, NOW - 4.999])
def test_family_03_iat_honest(court: Court, judging: Judging, at: float) -> None:
    """Both limits are inclusive."""
    judging.passes(token(court.key), at=at)


@pytest.mark.parametrize(
    "iat",
    [DROP, None, True, False, "", str(NOW), [NOW], {"n": NOW}, float(NOW), -1, -NOW, 2**53, 2**64],
)
def test_family_03_iat_of_another_type(court: Court, judging: Judging, iat: object) -> None:
    """A string, a float, a truth: no seconds since 1970."""
    judging.refuses("malformed", token(court.key, claims={"iat": iat}))


@pytest.mark.parametrize(
    "written",
    [
        f"{NOW}.0", f"{NOW}e0", "175e7", "1.75e9", "1.75E+9", f"+{NOW}", f"0{NOW}", f"{NOW}n",
        hex(NOW), "NaN", "Infinity", "-Infinity", "-0.0", "1e999", "9" * 5_000, f"'{NOW}'",
        "１７５００００００００", f"{NOW}_0", f"/**/{NOW}",  # noqa: RUF001
    ],
)  # fmt: skip
def test_family_03_iat_written_otherwise(court: Court, judging: Judging, written: str) -> None:
    """Other writings of the very number are refused: two readers may read two times."""
    claims = octets_of_json({"dest": {"tn": ["13105552000"]}, "orig": {"tn": "12125551234"}})
    octets = claims[:-1] + b',"iat":' + written.encode() + b"}"
    judging.refuses("malformed", token(court.key, claims_octets=octets))


def test_family_03_iat_nothing_at_the_beginning_of_time(court: Court, judging: Judging) -> None:
    """0 and -0 are times, long ago; at that time the certificate is not valid yet."""
    judging.refuses("stale", token(court.key, claims={"iat": 0}))
    judging.refuses("certificate-expired", token(court.key, claims={"iat": 0}), at=0)
    octets = b'{"dest":{"tn":["13105552000"]},"iat":-0,"orig":{"tn":"12125551234"}}'
    judging.refuses("stale", token(court.key, claims_octets=octets))
