"""Carries checks out, all at the same time, each for a bounded time.

Takes ``Check``s, gives what each found. Whatever a check does, the others go on: one that comes to
no end is cut off, one that fails itself is a finding.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pbx_stir.checks.finding import Finding, error


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at; ``about`` names it in a few words for people."""

    about: str
    look: Callable[[], Iterable[Finding] | AsyncIterable[Finding]]


@dataclass(slots=True)
class Looked:
    """A check, what it has found so far, and whether it has come to its end."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    done: bool = False


async def carry_out(looked: Sequence[Looked], seconds: float) -> None:
    """Carry out every check, each for at most ``seconds``, and fill in what it finds."""
    await asyncio.gather(*(_carry_out(one, seconds) for one in looked))


def found_by(looked: Iterable[Looked]) -> Iterator[Finding]:
    """What was found, each thing once, in the order of the checks."""
    seen: set[tuple[str, str, str]] = set()
    for one in looked:
        for finding in one.findings:
            key = (finding.code, finding.where, finding.what)
            if key not in seen:
                seen.add(key)
                yield finding


def cut_off(check: Check) -> Finding:
    """Say that a check came to no end."""
    hint = "a file, a name server or a service that it asks hangs"
    return error("check-timeout", f"no end in time: {check.about}", hint=hint)


async def _carry_out(one: Looked, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            findings = one.check.look()
            if isinstance(findings, AsyncIterable):
                # one by one: what was found before a failure stays
                async for finding in findings:
                    one.findings.append(finding)
            else:
                # a file may hang, and must not hold up the others
                await asyncio.to_thread(one.findings.extend, findings)
    except TimeoutError:
        one.findings.append(cut_off(one.check))
    except Exception as wrong:
        what = f"{one.check.about}: {type(wrong).__name__}: {wrong}"
        one.findings.append(error("check-broken", what[:500], hint="please report this"))
    one.done = True
