"""Gateways over HTTP: pairing, sync and rotation for machines; claim codes and revocation for people."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from cloud.consents import usecases as consents
from cloud.errors import NotFound
from cloud.gateways import claim_code, repository, usecases
from cloud.gateways.repository import Gateway
from cloud.gateways.signed_requests import read_signed, wire_response
from cloud.gateways.usecases import SignedRequest
from cloud.members.access import HouseholdDep, PersonDep, require_own, require_role
from cloud.members.endpoints import address_of
from cloud.members.roles import Role
from cloud.readings.ports import BrokenChain
from cloud.services import Services, ServicesDep
from cloud.transparency import repository as log_repository
from cloud.transparency.usecases import checkpoint_now, prove_consistency
from gateway.wire.session import PairAnswer, SyncAnswer
from gateway.wire.signing import (
    DOMAIN_PAIR,
    DOMAIN_ROTATE,
    DOMAIN_SYNC,
    public_bytes,
    public_key_to_text,
)

router = APIRouter(prefix="/api/v1/gateways", tags=["gateways"])


class ClaimAnswer(BaseModel):
    """A claim code, shown once."""

    claim_code: str
    expires_in_s: int


class GatewayAnswer(BaseModel):
    """A gateway as its household and the operator see it."""

    gateway: str
    paired_at: datetime
    seen_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    software: str
    waiting: int


class GapAnswer(BaseModel):
    """Intervals of a stream that the home's gateway said will never come."""

    meter: str
    quantity: str
    purpose: str
    start: datetime
    end: datetime
    reason: str
    intervals: int


class ChainAnswer(BaseModel):
    """A stream whose parts did not come one after another, as its home sees it."""

    meter: str
    quantity: str
    purpose: str
    gateway: str
    parts_missing: int
    forked: int
    reused: int
    noticed_at: datetime


class ShortfallAnswer(BaseModel):
    """What did not come from a home."""

    gaps: list[GapAnswer]
    broken_chains: list[ChainAnswer]


class GatewayChains(BaseModel):
    """Broken chains of one gateway, as the operator sees them: counts, and nothing of the home."""

    gateway: str
    streams: int
    parts_missing: int
    forked: int
    reused: int
    noticed_at: datetime


@router.post("/pair", operation_id="gateway_pair", response_class=Response)
async def post_pair(request: Request, services: ServicesDep) -> Response:
    """Bind a gateway's key to the household of a claim code. Body: a signed `PairRequest`."""
    services.limits.claim_tries.take(address_of(request), services.clock())
    signed = await read_signed(request, domain=DOMAIN_PAIR)
    return wire_response(await run_in_threadpool(_pair, services, signed))


@router.post("/sync", operation_id="gateway_sync", response_class=Response)
async def post_sync(request: Request, services: ServicesDep) -> Response:
    """A gateway's regular question. Body: a signed `SyncRequest`."""
    signed = await read_signed(request, domain=DOMAIN_SYNC)
    # By caller and key, so that a stranger who knows a key id cannot use up its tries.
    services.limits.signed_requests.take(f"{address_of(request)} {signed.key_id}", services.clock())
    return wire_response(await run_in_threadpool(_sync, services, signed))


@router.post("/rotate", status_code=204, operation_id="gateway_rotate")
async def post_rotate(request: Request, services: ServicesDep) -> Response:
    """A new key takes over. Body: a `RotateRequest` signed by the old key."""
    signed = await read_signed(request, domain=DOMAIN_ROTATE)
    await run_in_threadpool(_rotate, services, signed)
    return Response(status_code=204)


@router.post("/claims", status_code=201, operation_id="gateway_claim")
def post_claim(services: ServicesDep, household: HouseholdDep) -> ClaimAnswer:
    """Make a claim code for the own household; it works once, for 15 minutes."""
    now = services.clock()
    services.limits.claims_made.take(household, now)
    with services.database.transaction() as connection:
        code = usecases.make_claim(connection, household=household, now=now)
    return ClaimAnswer(claim_code=code, expires_in_s=int(claim_code.LIFETIME.total_seconds()))


@router.get("", operation_id="gateways_list")
def get_gateways(services: ServicesDep, household: HouseholdDep) -> list[GatewayAnswer]:
    """Gateways of the own household."""
    with services.database.reading() as connection:
        found = repository.gateways_of(connection, household)
    return [_shown(gateway) for gateway in found]


@router.get("/shortfalls", operation_id="gateways_shortfalls")
def get_shortfalls(services: ServicesDep, household: HouseholdDep) -> ShortfallAnswer:
    """What did not come from the own household: gaps its gateway named, and chains that broke."""
    return ShortfallAnswer(
        gaps=[
            GapAnswer(
                meter=gap.meter,
                quantity=gap.quantity,
                purpose=gap.purpose,
                start=gap.start,
                end=gap.end,
                reason=gap.reason,
                intervals=gap.intervals,
            )
            for gap in services.store.gaps(household)
        ],
        broken_chains=[
            ChainAnswer(
                meter=found.stream.meter,
                quantity=found.stream.quantity,
                purpose=found.stream.purpose,
                gateway=found.gateway,
                parts_missing=found.chain.parts_missing,
                forked=found.chain.forked,
                reused=found.chain.reused,
                noticed_at=found.noticed_at,
            )
            for found in services.store.broken_chains(household)
        ],
    )


@router.get(
    "/broken-chains",
    operation_id="gateways_broken_chains",
    dependencies=[Depends(require_role(Role.OPERATOR))],
)
def get_broken_chains(services: ServicesDep) -> list[GatewayChains]:
    """Gateways of which messages are missing, or that send as if there were two of them."""
    by_gateway: dict[str, list[BrokenChain]] = {}
    for found in services.store.broken_chains():
        by_gateway.setdefault(found.gateway, []).append(found)
    return [
        GatewayChains(
            gateway=gateway,
            streams=len(chains),
            parts_missing=sum(found.chain.parts_missing for found in chains),
            forked=sum(found.chain.forked for found in chains),
            reused=sum(found.chain.reused for found in chains),
            noticed_at=max(found.noticed_at for found in chains),
        )
        for gateway, chains in sorted(by_gateway.items())
    ]


@router.post("/{gateway}/revoke", status_code=204, operation_id="gateway_revoke")
def post_revoke(services: ServicesDep, person: PersonDep, gateway: str) -> Response:
    """Let a lost gateway's key count no more: its household may, and the operator."""
    with services.database.transaction() as connection:
        found = repository.gateway_row(connection, gateway)
        if found is None:
            raise NotFound("gateway")
        if not person.has(Role.OPERATOR):
            require_own(person, found.household, "gateway")
        usecases.revoke_gateway(connection, gateway, now=services.clock())
    return Response(status_code=204)


def _pair(services: Services, signed: SignedRequest) -> PairAnswer:
    now = services.clock()
    with services.database.transaction() as connection:
        gateway = usecases.pair_gateway(connection, signed, now)
    with services.database.reading() as connection:
        checkpoint = _checkpoint(services, connection)
        offers = consents.offers_today(connection, now)
    return PairAnswer(
        household=gateway.household,
        coop_name=services.settings.coop_name,
        coop_key=public_key_to_text(public_bytes(services.keys.coop)),
        log_key=public_key_to_text(public_bytes(services.keys.log)),
        log_origin=services.settings.log_origin,
        checkpoint=checkpoint,
        now=now,
        offers=offers,
    )


def _sync(services: Services, signed: SignedRequest) -> SyncAnswer:
    now = services.clock()
    with services.database.transaction() as connection:
        synced = usecases.sync_gateway(connection, signed, now)
    # The checkpoint is signed over committed state only, so it is read after the commit.
    with services.database.reading() as connection:
        checkpoint = _checkpoint(services, connection)
        size = log_repository.log_size(connection)
        # A gateway that saw a longer log finds that out by itself from the shorter checkpoint.
        verified = min(synced.checkpoint_size, size)
        consistency = prove_consistency(connection, verified, size)
    return SyncAnswer(
        now=now,
        accepted=synced.accepted,
        events=synced.events,
        checkpoint=checkpoint,
        consistency=tuple(item.hex() for item in consistency),
        offers=synced.offers,
        refused=synced.refused,
    )


def _rotate(services: Services, signed: SignedRequest) -> None:
    with services.database.transaction() as connection:
        usecases.rotate_key(connection, signed, services.clock())


def _checkpoint(services: Services, connection: Connection) -> str:
    return checkpoint_now(connection, origin=services.settings.log_origin, key=services.keys.log)


def _shown(gateway: Gateway) -> GatewayAnswer:
    return GatewayAnswer(
        gateway=gateway.gateway,
        paired_at=gateway.paired_at,
        seen_at=gateway.seen_at,
        revoked_at=gateway.revoked_at,
        replaced_by=gateway.replaced_by,
        software=gateway.software,
        waiting=gateway.waiting,
    )
