"""Public vectors that bear on the verdict: OpenSIPit's scenarios, Wycheproof's keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pbx_stir.errors import Malformed
from pbx_stir.stir import sealing
from tests.families.hostile import (
    ALICE,
    BOB,
    CAROL,
    DROP,
    FORGE,
    NOW,
    X5U,
    Court,
    Judging,
    shaken,
)
from tests.stir.conftest import DAY


def _scenarios(court: Court) -> dict[str, Any]:
    """The value of the Identity header of each scenario, by its name."""
    key = court.key

    def header(text: str, x5u: str = X5U, alg: str = ";alg=ES256", ppt: str = ";ppt=shaken") -> str:
        return f"{text};info=<{x5u}>{alg}{ppt}"

    def of(claims: dict[str, object], **changes: Any) -> str:
        return header(shaken(key, claims=claims, **changes))

    def served(*certificates: Any, url: str = "") -> str:
        x5u = url or court.chain(*certificates)
        signer = getattr(certificates[0], "key", key) if certificates else key
        return header(shaken(signer, header={"x5u": x5u}), x5u)

    good = shaken(key)
    dot = good.index(".")
    strangers = FORGE.leaf(FORGE.root("Stranger"))
    return {
        "000-valid-identity": header(good),
        "001-valid-identity-with-date": header(good),
        "010-identity-garbage": "garbage",
        "011-invalid-jwt": header(good[:dot]),
        "015-payload-nonjson-garbage": header(
            shaken(key, claims_octets=b"garbage", header={"ppt": "shaken"})
        ),
        "016-identity-missing-info-param": f"{good};alg=ES256;ppt=shaken",
        "017-identity-missing-alg-param": header(good, alg=""),
        "018-identity-invalid-alg-param": header(good, alg=";alg=invalid"),
        "019-identity-missing-ppt-param": header(good, ppt=""),
        "020-identity-invalid-ppt-param": header(good, ppt=";ppt=invalid"),
        "100-iat-zero": of({"iat": 0}),
        "101-iat-missing": of({"iat": DROP}),
        "102-iat-in-past": of({"iat": NOW - 3_600}),
        "103-iat-in-future": of({"iat": NOW + 3_600}),
        "104-iat-in-far-future": of({"iat": 2**40}),
        "105-iat-garbage": of({"iat": "garbage"}),
        "106-iat-negative": of({"iat": -1}),
        "200-cert-expired": served(FORGE.leaf(court.ca, not_after=NOW - DAY), court.ca),
        "201-cert-in-future": served(FORGE.leaf(court.ca, not_before=NOW + DAY), court.ca),
        "204-cert-by-untrusted-ca": served(strangers),
        "205-cert-garbage": served(b"garbage"),
        "206-cert-empty": served(b""),
        "207-cert-not-found": served(url="https://gone.example.com/a.pem"),
        "208-cert-nonstandard-port": served(
            url=court.serve("https://certificates.example.com:4443/a", court.alice, court.ca)
        ),
        "209-cert-unresponsive-link": served(url="https://unresponsive.example.com/a.pem"),
        "300-orig-dest-tn-missing": of({"orig": {}, "dest": {}}),
        "301-origtn-missing": of({"orig": {}}),
        "302-desttn-missing": of({"dest": {}}),
        "303-origtn-not-matching": of({"orig": {"tn": "12125551235"}}),
        "304-desttn-not-matching": of({"dest": {"tn": [CAROL]}}),
        "305-origtn-empty": of({"orig": {"tn": ""}}),
        "306-desttn-empty": of({"dest": {"tn": [""]}}),
        "307-origtn-garbage": of({"orig": {"tn": "garbage"}}),
        "308-desttn-garbage": of({"dest": {"tn": ["garbage"]}}),
        "400-attest-missing": of({"attest": DROP}),
        "401-attest-empty": of({"attest": ""}),
        "402-attest-invalid": of({"attest": "D"}),
        "403-attest-garbage": of({"attest": "garbage"}),
        "501-x5u-empty": header(shaken(key, header={"x5u": ""}), ""),
        "502-x5u-garbage": header(shaken(key, header={"x5u": "garbage"}), "garbage"),
    }


def test_opensipit_scenarios(court: Court, judging: Judging, vectors: Path) -> None:
    """What the interoperability event of 2021 expected of each scenario is what we say."""
    rows = json.loads((vectors / "opensipit/expected.json").read_text())["rows"]
    made = _scenarios(court)
    assert {row["scenario"] for row in rows} == set(made)
    for row in rows:
        found = judging(made[row["scenario"]], orig=ALICE, dest=BOB)
        if row["verdict"] != "either":
            assert (found.status == 0) == (row["verdict"] == "accept"), (row, found)


def test_wycheproof_x25519_keys(vectors: Path) -> None:
    """Nobody seals to a key that gives no secret; to every other one what is sealed opens."""
    cases = json.loads((vectors / "wycheproof/x25519_test.json").read_text())["testGroups"]
    refused = opened = 0
    for case in (case for group in cases for case in group["tests"]):
        public = bytes.fromhex(case["public"])
        try:
            sealing.check_public_key(public)
        except Malformed:
            # of small order, or another writing of a key: Wycheproof marks neither as plain
            assert case["result"] == "acceptable", case
            refused += 1
            continue
        assert any(bytes.fromhex(case["shared"])), case
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["private"]))
        blob = sealing.seal("a.b.c", (), sealing.public_octets(private), ALICE)
        found = sealing.open_sealed(blob, private, ALICE)
        assert found is not None
        assert found.passport == "a.b.c"
        opened += 1
    assert refused > 20
    assert opened > 200


@pytest.mark.parametrize("name", ["rfc8225_examples.json", "rfc8588_example.json"])
def test_tokens_that_rfcs_print_are_judged(judging: Judging, vectors: Path, name: str) -> None:
    """None of them is of this call and of now; each has a verdict, and no traceback."""
    loaded = json.loads((vectors / f"rfc/{name}").read_text())
    tokens = [one for one in loaded.values() if isinstance(one, str) and one.count(".") == 2]
    for one in tokens:
        assert judging(one).status == 1
