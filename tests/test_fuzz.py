"""Every fuzz target, briefly: its seeds, mutations of them, and any octets at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.__main__ import TARGETS

# what parsers trip over
PIECES = [
    b".", b";", b"=", b'"', b"\\", b"\n", b"\r\n ", b"\x00", b"\xff", b"[", b"{", b"}", b",", b":",
    b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-1", b"9" * 400, b"<", b">", b"%00", b"+",
    b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", "\uff11".encode(), b"[" * 100, b'"x":1,"x":2',
    b"-----BEGIN ",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some octets replaced, removed, doubled or put in."""
    octets = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(octets)))
        end = at + draw(st.integers(0, 8))
        piece = draw(st.one_of(st.binary(max_size=4), st.sampled_from(PIECES)))
        if draw(st.booleans()):
            piece = bytes(octets[at:end]) * 2
        octets[at:end] = piece
    return bytes(octets)


def target(name: str) -> tuple[Callable[[bytes], None], tuple[bytes, ...]]:
    """A target's function and seeds."""
    module = importlib.import_module(f"fuzz.{name}")
    return module.one, module.SEEDS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """What a target starts from has no finding, nor has nothing, nor any beginning of a seed."""
    one, seeds = target(name)
    one(b"")
    for seed in seeds:
        one(seed)
        for size in range(0, len(seed), max(1, len(seed) // 40)):
            one(seed[:size])


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds(name: str) -> None:
    """Nor has what is nearly right."""
    one, seeds = target(name)

    @settings(max_examples=250)
    @given(mutated(seeds))
    def run(octets: bytes) -> None:
        one(octets)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_any_octets(name: str) -> None:
    """Nor have octets of any kind."""
    one, _ = target(name)

    @settings(max_examples=100)
    @given(st.binary(max_size=400))
    def run(octets: bytes) -> None:
        one(octets)

    run()
