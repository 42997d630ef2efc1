"""``python -m bench.refusals``: how many tokens that must be refused another verifier accepts.

The tokens are those that tests/families has refused, each with the reason; the other verifier is
secsipidx, asked over HTTP with the certificates in its cache, and told to check their time and
their path. It is not told which call a token came with: it has no way to be told.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_FAMILY: Final = re.compile(r"test_family_([0-9]{2})_([a-z0-9]+)")
_ADDRESS: Final = "127.0.0.1:18997"
# the tests need so long; a token is for the moment in which it is checked
_AHEAD_SECONDS: Final = 12


def main() -> int:
    """Make the tokens, hold secsipidx to them, print what it accepted by family."""
    binary = shutil.which("secsipidx")
    if binary is None:
        print("secsipidx is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(Path(folder))
        accepted = _accepted(binary, Path(folder), cases)
    honest = [case for case in cases if case["reason"] == "verified"]
    taken = [case for case in accepted if case["reason"] == "verified"]
    print(f"{len(taken)} of {len(honest)} honest ones are accepted")
    cases = [case for case in cases if case["reason"] != "verified"]
    accepted = [case for case in accepted if case["reason"] != "verified"]
    of_accepted = Counter(map(_family, accepted))
    for family, count in sorted(Counter(map(_family, cases)).items()):
        print(f"{family:<28} {of_accepted[family]:>4} of {count}")
    reasons = Counter(str(case["reason"]) for case in accepted)
    print("accepted, by our reason:", dict(reasons.most_common()))
    print(f"{len(accepted)} of {len(cases)} that must be refused are accepted")
    return 0


def _family(case: dict[str, Any]) -> str:
    found = _FAMILY.match(str(case["test"]))
    return f"{found[1]} {found[2]}" if found else "other"


def _cases(folder: Path) -> list[dict[str, Any]]:
    """The tokens of the families, made for a moment from now."""
    corpus = folder / "corpus"
    moment = {"PBX_STIR_TEST_NOW": str(int(time.time()) + _AHEAD_SECONDS)}
    command = [sys.executable, "-m", "pytest", "-q", "tests/families", "-k", "family and not async"]
    subprocess.run(
        command,
        env={**os.environ, **moment, "PBX_STIR_CORPUS": str(corpus)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return [json.loads(line) for line in corpus.read_text().splitlines()]


def _accepted(binary: str, folder: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    accepted: list[dict[str, Any]] = []
    for trust in dict.fromkeys(str(case["trust"]) for case in cases):
        between = str(cases[0]["between"])
        with _serving(binary, Path(tempfile.mkdtemp(dir=folder)), trust, between) as cache:
            of_trust = [case for case in cases if case["trust"] == trust]
            accepted += [case for case in of_trust if _accepts(cache, case)]
    return accepted


@contextmanager
def _serving(binary: str, folder: Path, trust: str, between: str) -> Iterator[Path]:
    """secsipidx with these anchors and intermediates; gives the folder of its cache."""
    cache = folder / "cache"
    cache.mkdir()
    (folder / "trust.pem").write_text(trust)
    # it takes intermediates from a file alone, not from the chain that x5u names
    (folder / "between.pem").write_text(between)
    options = {
        "-http-srv": _ADDRESS,
        "-http-dir": str(folder),
        "-cache-dir": str(cache),
        "-cert-verify": "5",
        "-ca-file": str(folder / "trust.pem"),
        "-ca-inter": str(folder / "between.pem"),
        "-expire": "60",
    }
    command = [binary, *(word for pair in options.items() for word in pair)]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
    try:
        _answering()
        yield cache
    finally:
        process.terminate()
        process.wait(10)


def _answering() -> None:
    for _ in range(100):
        try:
            _ask(b"")
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError("secsipidx does not answer")


def _accepts(cache: Path, case: dict[str, Any]) -> bool:
    """Have it check one Identity header value, its certificates already in the cache."""
    text = str(case["identity"])
    for x5u, body in case["served"].items():
        name = str(x5u).replace("://", "_").replace("/", "_")
        if x5u in text or x5u in _header(text):
            try:
                (cache / name).write_text(body, "latin-1")
            except (OSError, ValueError):
                continue
    if ";" not in text:
        text += f";info=<{_x5u(text)}>;alg=ES256"
    return _ask(text.encode("utf-8", "surrogateescape")).strip() == b"OK"


def _header(text: str) -> str:
    """The JSON of a token's header, as far as it can be had."""
    import base64

    segment = text.partition(".")[0].strip()
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode("latin-1")
    except ValueError:
        return ""


def _x5u(text: str) -> str:
    try:
        found = json.loads(_header(text))
        return str(found["x5u"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _ask(body: bytes) -> bytes:
    request = urllib.request.Request(f"http://{_ADDRESS}/v1/check", data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        return error.read()


if __name__ == "__main__":
    sys.exit(main())
