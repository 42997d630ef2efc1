"""The client in docs/retrieval.md, run as it stands there against the real server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.cps.settings import HOLDERS

from .conftest import NOW, Authority, Run, private_pem, sealed

PAGE = Path(__file__).resolve().parents[2] / "docs/retrieval.md"


@pytest.fixture(scope="module")
def holder_class() -> Any:
    """The class that the page defines."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec"), names)
    return names["Holder"]


async def test_it_does_what_the_page_says(
    run: Run, authority: Authority, holder_class: Any
) -> None:
    """Pages and events with somebody else's JSON, base64 and signatures."""
    numbers = [f"1212555{each:04}" for each in range(100)]
    company = authority.credential(*numbers)
    chain = b"".join(
        x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in company.chain
    )
    stored = {}
    async with run(anchors=lambda: authority.anchors, retrieval=HOLDERS) as cps:
        holder = holder_class(cps.url, chain, private_pem(company.key), now=lambda: NOW)
        for number in numbers:
            wire = sealed()
            entry_id = await cps.store.add(number, wire, cps.clock.moment)
            stored[entry_id] = (number, wire.decode())

        def all_of(read: Any) -> dict[str, tuple[str, str]]:
            found = {}
            for entry_id, number, passport in read:
                found[entry_id] = (number, passport)
                if stored.keys() <= found.keys():
                    break
            return found

        for read in (holder.pages("1212"), holder.events("1212")):
            found = await asyncio.wait_for(asyncio.to_thread(all_of, read), 30)
            assert {each: found[each] for each in stored} == stored
