"""Family 7: signatures of another form, of other octets, of another key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.stir.jws import GROUP_ORDER
from tests.families.hostile import (
    ALICE,
    BOB,
    CAROL,
    FORGE,
    NOW,
    Court,
    Judging,
    b64,
    high,
    octets_of_json,
    raw_signature,
    token,
)

P = 2**256 - 2**224 + 2**192 + 2**96 - 1


def signed_part(court: Court) -> str:
    """Header and payload of an honest token."""
    return token(court.key).rpartition(".")[0]


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 66, 128, 4_096])
def test_family_07_signature_size(court: Court, judging: Judging, size: int) -> None:
    """r and s are 32 octets each."""
    right = raw_signature(court.key, signed_part(court).encode())
    judging.refuses("malformed", f"{signed_part(court)}.{b64((right * 64)[:size])}")


def test_family_07_signature_der(court: Court, judging: Judging) -> None:
    """DER is what certificates have, and tokens not."""
    der = court.key.sign(signed_part(court).encode(), ec.ECDSA(hashes.SHA256()))
    judging.refuses("malformed", f"{signed_part(court)}.{b64(der)}")


@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, 0), (0, 1), (1, 0), (1, 1), (GROUP_ORDER, 1), (1, GROUP_ORDER),
        (GROUP_ORDER, GROUP_ORDER), (GROUP_ORDER + 1, GROUP_ORDER + 1), (P, P), (P - 1, 1),
        (2**256 - 1, 2**256 - 1), (GROUP_ORDER - 1, GROUP_ORDER - 1), (5, GROUP_ORDER),
    ],
)  # fmt: skip
def test_family_07_signature_scalars(court: Court, judging: Judging, r: int, s: int) -> None:
    """Zero, the order, beyond it: well-formed, and nothing holds."""
    octets = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    judging.refuses("bad-signature", f"{signed_part(court)}.{b64(octets)}")


def test_family_07_signature_of_a_scalar_beyond_the_order(court: Court, judging: Judging) -> None:
    """r + n is the same to who reduces it, and is refused."""
    signed = signed_part(court)
    for salt in range(2_000):
        # a small enough r is rare: one is made by drawing again where it can be had
        octets = raw_signature(court.key, signed.encode())
        r = int.from_bytes(octets[:32], "big")
        if r + GROUP_ORDER < 2**256:
            judging.refuses(
                "bad-signature",
                f"{signed}.{b64((r + GROUP_ORDER).to_bytes(32, 'big') + octets[32:])}",
            )
            return
        if salt == 200:
            break


@pytest.mark.parametrize(
    "change", ["flip r", "flip s", "swap", "reverse", "negate r", "all ones", "shift"]
)
def test_family_07_signature_changed(court: Court, judging: Judging, change: str) -> None:
    """Any other 64 octets, but for the one that is as good."""
    signed = signed_part(court)
    right = raw_signature(court.key, signed.encode())
    r, s = right[:32], right[32:]
    other = {
        "flip r": bytes((r[0] ^ 1,)) + r[1:] + s,
        "flip s": r + s[:-1] + bytes((s[-1] ^ 1,)),
        "swap": s + r,
        "reverse": right[::-1],
        "negate r": (GROUP_ORDER - int.from_bytes(r, "big")).to_bytes(32, "big") + s,
        "all ones": b"\xff" * 64,
        "shift": right[1:] + right[:1],
    }[change]
    judging.refuses("bad-signature", f"{signed}.{b64(other)}")


def test_family_07_signature_of_other_octets(court: Court, judging: Judging) -> None:
    """The payload swapped, re-serialised or hashed before: it was not these octets."""
    header, _, signature = token(court.key, claims={"dest": {"tn": [CAROL]}}).split(".")
    _, ours, own = token(court.key).split(".")
    judging.refuses("bad-signature", f"{header}.{ours}.{signature}")
    spaced = b64(b" " + octets_of_json({"dest": {"tn": [BOB]}, "iat": NOW, "orig": {"tn": ALICE}}))
    judging.refuses("bad-signature", f"{header}.{spaced}.{own}")
    alone = raw_signature(court.key, ours.encode())
    judging.refuses("bad-signature", f"{header}.{ours}.{b64(alone)}")
    twice = raw_signature(court.key, f"{header}.{ours}.".encode())
    judging.refuses("bad-signature", f"{header}.{ours}.{b64(twice)}")
    decoded = octets_of_json({"orig": {"tn": ALICE}})
    judging.refuses("bad-signature", f"{header}.{ours}.{b64(raw_signature(court.key, decoded))}")
    changed_header = token(court.key, header={"x": 1}).split(".")[0]
    judging.refuses("bad-signature", f"{changed_header}.{ours}.{own}")


def test_family_07_signature_of_another_key(court: Court, judging: Judging) -> None:
    """Another leaf's, the authority's, the root's, an unknown one."""
    other = FORGE.leaf(court.ca, "Alice")
    for key in (other.key, court.provider.key, FORGE.key()):
        judging.refuses("bad-signature", token(court.key, key=key))
    # the authority's own key signs certificates, not calls
    judging.refuses("certificate-untrusted", token(court.key, key=court.ca.key))
    judging.refuses("bad-signature", token(court.key, key=court.root.key))


def test_family_07_signature_beside_another_leaf(court: Court, judging: Judging) -> None:
    """A stranger's leaf in the same file makes nothing better or worse."""
    mallory = FORGE.leaf(court.ca, "Mallory", tn=FORGE.numbers("19995550000"))
    lonely = FORGE.leaf(None, "Alice")
    for bundle in ((court.alice, mallory, court.ca), (mallory, court.ca, court.alice)):
        x5u = court.chain(*bundle)
        judging.passes(token(court.key, header={"x5u": x5u}))
        judging.refuses(
            "number-not-covered", token(court.key, header={"x5u": x5u}, key=mallory.key)
        )
    x5u = court.chain(court.alice, lonely, court.ca)
    judging.refuses("certificate-untrusted", token(lonely.key, header={"x5u": x5u}))


def test_family_07_signature_one_key_in_two_certificates(court: Court, judging: Judging) -> None:
    """Who renewed with the same key may serve both: any of them that does is enough."""
    key = FORGE.key()
    old = FORGE.leaf(court.ca, "Alice", key=key, not_after=FORGE.now - 1)
    new = FORGE.leaf(court.ca, "Alice", key=key)
    narrow = FORGE.leaf(court.ca, "Alice", key=key, tn=FORGE.numbers("19995550000"))
    own = FORGE.leaf(None, "Alice", key=key)
    for bundle in (
        (old, new), (new, old), (narrow, new), (new, narrow), (own, new), (old, narrow, own, new),
    ):  # fmt: skip
        x5u = court.chain(*bundle, court.ca)
        judging.passes(token(key, header={"x5u": x5u}))
    for bundle, reason in (
        ((old,), "certificate-expired"),
        ((narrow,), "number-not-covered"),
        ((own,), "certificate-untrusted"),
    ):
        x5u = court.chain(*bundle, court.ca)
        judging.refuses(reason, token(key, header={"x5u": x5u}))


def test_family_07_signature_honest(court: Court, judging: Judging) -> None:
    """Low s and high s hold alike."""
    signed = signed_part(court)
    right = raw_signature(court.key, signed.encode())
    judging.passes(f"{signed}.{b64(right)}")
    judging.passes(f"{signed}.{b64(high(right))}")
