"""What a watcher can tell of 32 octets as an X25519 public key, in plain integers (RFC 7748)."""

from __future__ import annotations

P = 2**255 - 19
A = 486_662
_SQRT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def is_square(value: int) -> bool:
    """Say whether a field element has a square root, by its Jacobi symbol."""
    symbol, modulus = 1, P
    value %= P
    while value:
        twos = (value & -value).bit_length() - 1
        value >>= twos
        if twos & 1 and modulus & 7 in (3, 5):
            symbol = -symbol
        if value & 3 == 3 and modulus & 3 == 3:
            symbol = -symbol
        value, modulus = modulus % value, value
    return symbol >= 0


def is_on_curve(u: int) -> bool:
    """Say whether u belongs to a point of Curve25519 and not of its twist."""
    return is_square(u * (u * u + A * u + 1))


def is_in_subgroup(u: int) -> bool:
    """Say whether a point of the curve is a multiple of the base point: halve it three times.

    The points form a cyclic group of order 8 times a prime: those that can be halved thrice are the
    multiples of eight. One is a double where its u is a square; which half is taken does not
    matter.
    """
    for _ in range(3):
        if not is_square(u):
            return False
        u = _half(u)
    return True


def _half(u: int) -> int:
    """Give u of a point whose double has this u, which is a square.

    With s = v + 1/v, doubling is u = (s * s - 4) / (4 * (s + A)).
    """
    root = _sqrt(u * u + A * u + 1)
    for s in (2 * (u + root) % P, 2 * (u - root) % P):
        if is_square(s * s - 4):
            v = (s + _sqrt(s * s - 4)) * pow(2, -1, P) % P
            if is_on_curve(v):
                return v
    raise ValueError("a point that is no double")


def _sqrt(value: int) -> int:
    """Give a square root. Source: RFC 8032 section 5.1.3."""
    root = pow(value, (P + 3) // 8, P)
    return root if (root * root - value) % P == 0 else root * _SQRT_OF_MINUS_ONE % P
