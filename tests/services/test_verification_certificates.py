"""The verification service: which certificates are fetched, for what, and which are enough."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.services.call import Reason, Verstat
from pbx_stir.stir.certificate import parse_chain
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.verifying import CAROL, verify
from tests.services.world import NOW, OTHER_ROOT, ROOT, ROOT_KEY, X5U, World, credential_for


async def test_x5u_is_fetched_only_for_what_would_pass() -> None:
    """A stranger's x5u tells its owner of the call: it is asked for last, and not in vain."""
    world = World()
    world.put(world.token(dest=[CAROL], x5u="https://a.example/1"), chain=())
    world.put(world.token(orig="12125551235", x5u="https://a.example/2"), chain=())
    world.put(world.token(iat=int(NOW) - 61, x5u="https://a.example/3"), chain=())
    await verify(world)
    assert world.certificates.asked == []
    world.put(world.token(), chain=())
    world.certificates.chains[X5U] = parse_chain(world.company.chain)
    assert (await verify(world)).verstat is Verstat.PASSED
    assert world.certificates.asked == [X5U]


async def test_certificates_inside_are_judged_before_any_fetch() -> None:
    """A PASSporT whose certificates came along passes without its neighbour's x5u being asked."""
    world = World()
    world.put(world.token(iat=int(NOW) - 3, jti="older"), chain=())
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED
    assert world.certificates.asked == []


async def test_at_most_two_certificates_are_fetched_for_a_call() -> None:
    """A stranger cannot have us fetch from ten places because he stored ten PASSporTs."""
    world = World()
    for number in range(5):
        world.put(world.token(x5u=f"https://a.example/{number}"), chain=())
    outcome = await verify(world)
    assert len(world.certificates.asked) == 2
    assert outcome.reason is Reason.CERTIFICATE_UNAVAILABLE


async def test_a_chain_that_was_cut_off_is_fetched_whole() -> None:
    """Where the intermediate did not fit inside, x5u has it; where it cannot be had, it is not."""
    middle_key = issuing.new_key()
    middle = issuing.issue_ca(ROOT, ROOT_KEY, middle_key.public_key(), "Middle", NOW, 10)
    company = credential_for(issuer=(middle, middle_key))
    world = World()
    world.put(world.token(company), company, chain=company.chain[:1])
    assert (await verify(world)).reason is Reason.CERTIFICATE_UNTRUSTED
    whole = (*parse_chain(company.chain[:1]), middle)
    world.certificates.chains[X5U] = whole
    assert (await verify(world)).verstat is Verstat.PASSED


async def test_certificates_may_come_in_any_order_and_twice() -> None:
    """The one that signed is found among those that came along."""
    thief = credential_for(TnAuthList(numbers=("12129990000",)))
    for chain in (
        (*thief.chain, *World().company.chain),
        (thief.chain[0], thief.chain[0]),
    ):
        world = World()
        own = world.company.chain
        world.put(world.token(), chain=(*chain, *own, *own))
        assert (await verify(world)).verstat is Verstat.PASSED


async def test_several_anchors_of_one_name() -> None:
    """Two roots with one name and different keys do not shadow each other."""
    from pbx_stir.stir.certificate import Anchors

    world = World()
    world.anchors = Anchors.of([OTHER_ROOT, *world.anchors.certificates])
    world.put(world.token())
    assert (await verify(world)).verstat is Verstat.PASSED


def test_the_root_is_a_certificate() -> None:
    """The world's authority can be written as an administrator's anchor file."""
    root, _ = issuing.new_root("Root", NOW, 1)
    assert root.public_bytes(Encoding.PEM).startswith(b"-----BEGIN CERTIFICATE")
