"""Tests of the watcher's arithmetic: it must be able to see what it is said not to see."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.privacy import points


def test_public_keys_are_multiples_of_the_base_point() -> None:
    """Every X25519 public key is on the curve and in the subgroup."""
    for _ in range(50):
        public = X25519PrivateKey.generate().public_key().public_bytes_raw()
        u = int.from_bytes(public, "little")
        assert points.is_on_curve(u)
        assert points.is_in_subgroup(u)


def test_random_points_are_half_on_the_curve_and_an_eighth_of_those_in_the_subgroup() -> None:
    """So much of plain random octets would be recognised."""
    random = [int.from_bytes(os.urandom(32), "little") % points.P for _ in range(4000)]
    on = [u for u in random if points.is_on_curve(u)]
    inside = [u for u in on[:1000] if points.is_in_subgroup(u)]
    assert 0.45 < len(on) / len(random) < 0.55
    assert 0.08 < len(inside) / 1000 < 0.17
