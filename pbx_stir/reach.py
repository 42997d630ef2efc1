"""What calls are signed, stored, found and judged with, whoever places them: wired together.

Takes a ``config.Loaded`` and the ``Part`` that it is to be; gives what the services await. It knows
of no PBX and no trunk. Begins nothing itself: the part says what runs with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pbx_stir import configured, configured_retrieval
from pbx_stir.certificates.allowed import fetching
from pbx_stir.certificates.anchors import AnchorFiles
from pbx_stir.certificates.revocation import RevocationWatch
from pbx_stir.clients import Clients, clients_of, subscribing_exchange
from pbx_stir.config import Loaded
from pbx_stir.cps.bare_client import BareClient, BarePlacements, BothKinds
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.cover import Cover
from pbx_stir.cps.feeds import Feed, Feeds, sealed_to_us
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.streams import EventStreams
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.directory.publisher import Publication, Publisher
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Routes
from pbx_stir.parts import Part
from pbx_stir.services.judgement import Judge, VerificationPolicy
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential


@dataclass(frozen=True, slots=True)
class Reach:
    """What calls are signed, stored, found and judged with, whoever places them.

    ``guards`` know which CPSs answer, ``feeds`` what is pushed, by CPS.
    """

    credentials: Sequence[Credential]
    clients: Clients
    bare: BarePlacements
    both: BothKinds
    resolver: Resolver
    keyring: Keyring
    judge: Judge
    anchors: AnchorFiles
    guards: Sequence[GuardedPlacement]
    feeds: Mapping[str, Feed]


def made_reach(loaded: Loaded, part: Part) -> Reach:
    """Make all of it. Raises ConfigurationError."""
    values = loaded.values
    credentials = loaded.once(configured.credentials)
    anchors = configured.anchors(loaded, "verification.trust", values.verification.trust)
    spc = configured.spc_policy(loaded)
    lifetime = values.publish.key_days * 86_400
    keys = KeyFiles(configured.state_dir(loaded) / "keys", lifetime_seconds=lifetime)
    routes = loaded.once(configured.routes)
    clients = clients_of(
        loaded,
        credentials,
        egress=configured.egress(routes),
        holder=configured_retrieval.holder(loaded, credentials),
    )
    part.tasks += clients.tasks
    # closed in reverse
    part.closes += reversed(clients.closes)
    guards = [*dict.fromkeys((clients.stores, clients.retrievals))]
    bare = _bare(loaded, part, routes, credentials, guards)
    judge, revocation = _judge(loaded, part, anchors, spc)
    resolver = _resolver(loaded, part, routes, clients.storing, anchors, spc, revocation)
    keyring = Keyring(keys)
    part.closes.append(keyring.close)
    part.reloads.append(keyring.reload)
    wanted = configured.published(loaded, credentials)
    retrieval = _retrieval(loaded, part, clients, wanted, keyring)
    both = BothKinds(retrieval, bare, routes.bare_cps)
    _publish(loaded, part, wanted, keys, clients)
    part.tasks.append(_cover(loaded, clients, resolver).run)
    return Reach(
        credentials=credentials,
        clients=clients,
        bare=bare,
        both=both,
        resolver=resolver,
        keyring=keyring,
        judge=judge,
        anchors=anchors,
        guards=guards,
        feeds=retrieval.feeds,
    )


def _publish(
    loaded: Loaded,
    part: Part,
    wanted: Sequence[Publication],
    keys: KeyFiles,
    clients: Clients,
) -> None:
    """Keep our records published, where there are numbers to publish."""
    if not wanted:
        return
    lifetime = loaded.values.publish.record_days * 86_400
    publisher = Publisher(
        publications=wanted, keys=keys, sink=clients.retrieving, lifetime_seconds=lifetime
    )
    part.tasks.append(publisher.run)


def _retrieval(
    loaded: Loaded,
    part: Part,
    clients: Clients,
    published: Sequence[Publication],
    keyring: Keyring,
) -> SubscribedPlacement:
    """Who gets PASSporTs for calls: from subscriptions where there are some, else by asking."""
    wanted = configured_retrieval.subscriptions(loaded, published)
    if not wanted:
        return SubscribedPlacement(clients.retrievals)
    exchange = subscribing_exchange(loaded)
    part.closes.append(exchange.close)
    feeds = Feeds(wanted, EventStreams(exchange), keep=sealed_to_us(keyring))
    part.tasks.append(feeds.run)
    return SubscribedPlacement(clients.retrievals, feeds.by_cps)


def _cover(loaded: Loaded, clients: Clients, resolver: Resolver) -> Cover:
    """Who makes stores and retrievals that belong to no call, if any."""
    return Cover(
        configured_retrieval.cover(loaded),
        directory=resolver,
        stores=clients.stores,
        retrievals=clients.retrievals,
        own_cps=resolver,
        has_spare=clients.has_spare,
    )


def _bare(
    loaded: Loaded,
    part: Part,
    routes: Routes,
    credentials: Sequence[Credential],
    guards: list[GuardedPlacement],
) -> BarePlacements:
    """The client of CPSs with unsealed PASSporTs: nothing of it is shared with the other one."""
    client = BareClient(
        credentials=credentials,
        retrieved_from=routes.bare_cps,
        unsigned=routes.unsigned_cps(),
        tls=configured.bare_tls(loaded),
        allow_plain=loaded.values.outgoing.plain_loopback,
    )
    part.closes.append(client.close)
    placement = GuardedPlacement(client)
    part.closes.append(placement.close)
    guards.append(placement)
    return BarePlacements(SubscribedPlacement(placement))


def _resolver(
    loaded: Loaded,
    part: Part,
    routes: Routes,
    client: CpsClient,
    anchors: AnchorFiles,
    spc: SpcPolicy,
    revocation: RevocationWatch,
) -> Resolver:
    """Who finds a number's CPSs and keys, and what it asks."""
    advertised, close = configured.advertisements(loaded, anchors.current)
    if advertised is not None and close is not None:
        part.closes.append(close)
        part.tasks.append(advertised.run)
        part.reloads.append(advertised.load_all)
    enum = configured.enum(loaded)
    if enum is not None:
        part.closes.append(enum.close)
    resolver = Resolver(
        routes=routes,
        records=client,
        anchors=anchors.current,
        spc_policy=spc,
        advertised=advertised,
        enum=enum,
        allow_plain=loaded.values.outgoing.plain_loopback,
        revocation=None if loaded.values.verification.revocation == "off" else revocation,
    )
    part.closes.append(resolver.close)
    part.tasks.append(resolver.run)
    return resolver


def _judge(
    loaded: Loaded, part: Part, anchors: AnchorFiles, spc: SpcPolicy
) -> tuple[Judge, RevocationWatch]:
    """Who judges PASSporTs, and what both it and the look-up of keys know of revocation."""
    section = loaded.values.verification
    hosts = None if section.x5u_hosts == "any" else frozenset(map(str.lower, section.x5u_hosts))
    tls_ca = None if section.x5u_tls_ca is None else loaded.resolve(section.x5u_tls_ca)
    source, close = fetching(section.x5u_allow, tls_ca, hosts)
    part.closes.append(close)
    revocation, close_revocation = configured.revocation(loaded, anchors)
    part.closes.append(close_revocation)
    part.tasks.append(revocation.run)
    part.reloads += [anchors.reload, revocation.reload]
    policy = VerificationPolicy(anchors.current, spc, frozenset(section.passed_attest))
    return Judge(policy, source, revocation), revocation
