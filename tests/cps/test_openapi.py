"""docs/openapi.yaml: what a CPS does is what it says, for whatever schemathesis can think of."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from pbx_stir.cps import wire

from .conftest import Authority, Run

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi.yaml"


def test_every_resource_is_described() -> None:
    """Each path of the document is a resource, and each resource has its path."""
    paths = re.findall(r"^  (/\S+):$", DOCUMENT.read_text(), re.MULTILINE)
    found = set()
    for path in paths:
        filled = path.replace("{number}", "12125551234").replace("{prefix}", "1212")
        target = wire.parse_target(filled.replace("{id}", "A" * 22))
        assert target is not None, path
        found.add(target.resource)
    assert found == set(wire.Resource)
    assert len(paths) == len(found)


@pytest.mark.parametrize("anchored", [False, True], ids=["without-anchors", "with-anchors"])
async def test_schemathesis_finds_nothing(run: Run, anchored: bool) -> None:
    """Requests right and wrong, thousands of kinds: each answer is one that is written down."""
    pytest.importorskip("schemathesis", reason="no schemathesis: the extra test has it")
    trusted = Authority().anchors
    async with run(tokens=True, anchors=(lambda: trusted) if anchored else None) as cps:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "schemathesis.cli", "run", str(DOCUMENT), "--url", cps.url),
            *("--max-examples", "8", "--workers", "1", "--no-color"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = (await process.stdout.read()).decode("utf-8", "replace")
        assert await process.wait() == 0, said[-4000:]
