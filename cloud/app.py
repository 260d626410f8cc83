"""The application: the one place where real things are plugged in."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool

from cloud import problem
from cloud.api_docs import add_docs
from cloud.chores import do_chores, usual_chores
from cloud.consents import endpoints as consents
from cloud.consents.offers import usual_offers
from cloud.consents.repository import all_offers
from cloud.consents.usecases import publish_offers
from cloud.data_requests import endpoints as data_requests
from cloud.database import Database
from cloud.fund import endpoints as fund
from cloud.gateways import endpoints as gateways
from cloud.ingest.endpoints import BatchDoor, batches_route
from cloud.ingest.senders import Senders
from cloud.keys import load_or_make_keys
from cloud.members import endpoints as members
from cloud.migrations.run import migrate_empty, require_current
from cloud.negotiations import board_endpoints
from cloud.negotiations import endpoints as negotiations
from cloud.notices.mailers import mailer_for
from cloud.notices.ports import Mailer
from cloud.profiles import endpoints as profiles
from cloud.projects import endpoints as projects
from cloud.projects import vote_endpoints as project_votes
from cloud.rate_limit import RateLimits
from cloud.readings.embedded import EmbeddedStore
from cloud.readings.mirror_influx import InfluxMirror
from cloud.readings.ports import ReadingStore
from cloud.savings import endpoints as savings
from cloud.security import RequestGuard
from cloud.services import Clock, Services, utc_now
from cloud.settings import Settings
from cloud.transparency import endpoints as transparency
from cloud.votes import endpoints as votes
from cloud.web import router as page_router
from gateway.wire.session import PATH_BATCHES

ROUTERS = (
    members.router,
    gateways.router,
    consents.router,
    data_requests.router,
    transparency.router,
    negotiations.router,
    board_endpoints.router,
    profiles.router,
    votes.router,
    savings.router,
    fund.router,
    project_votes.router,
    projects.router,
)
"""Routers of the domain folders; add yours here."""


def open_database(settings: Settings) -> Database:
    """Open the database beside a running server; an empty one gets its tables.

    Raises:
        BadSetting: The address cannot be used.
        DatabaseFault: The database was made by another version.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database_address)
    try:
        migrate_empty(database)
        require_current(database)
    except BaseException:
        database.close()
        raise
    return database


def build_services(
    settings: Settings, *, clock: Clock = utc_now, store: ReadingStore | None = None
) -> Services:
    """Open everything the application needs; the store takes one process at a time.

    A new data directory gets its keys, an empty database its tables.

    Raises:
        BadSetting: A setting or a file it names cannot be used.
        DatabaseFault: The database was made by another version.
    """
    database = open_database(settings)
    try:
        services = Services(
            settings=settings,
            database=database,
            keys=load_or_make_keys(settings.data_dir),
            clock=clock,
            limits=RateLimits(),
            store=store if store is not None else _open_store(settings),
        )
    except BaseException:
        database.close()
        raise
    _publish_first_offers(services)
    return services


def close_services(services: Services) -> None:
    """Finish what was accepted and close all files."""
    services.store.close()
    services.database.close()


def create_app(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    store: ReadingStore | None = None,
    mailer: Mailer | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        settings: All settings.
        clock: Gives the time.
        store: Where readings go; the embedded store in `data_dir` when None.
        mailer: Sends letters; by the settings when None.
    """
    services = build_services(settings, clock=clock, store=store)
    post = mailer or mailer_for(settings.mail)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        mirror = _start_mirror(services)
        stopping = asyncio.Event()
        chores = asyncio.create_task(do_chores(usual_chores(services, post), stopping))
        try:
            yield
        finally:
            stopping.set()
            await chores
            if mirror is not None:
                await run_in_threadpool(mirror.close)
            senders.close()
            await run_in_threadpool(close_services, services)

    app = FastAPI(
        title=settings.coop_name,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    problem.install(app)
    senders = Senders(services.database)
    door = BatchDoor(senders, services.store, clock)
    app.router.routes.append(batches_route(door))
    app.router.routes.extend(_included().routes)
    page_router.add_pages(app, settings)
    add_docs(app)
    app.add_middleware(
        RequestGuard, is_https=settings.is_https, doors={("POST", PATH_BATCHES): door}
    )
    return app


@functools.cache
def _included() -> APIRouter:
    """All routers in one: FastAPI reads every signature when it includes one, once is enough."""
    everything = APIRouter()
    for router in (*ROUTERS, *page_router.ROUTERS):
        everything.include_router(router)
    return everything


def _open_store(settings: Settings) -> EmbeddedStore:
    return EmbeddedStore(settings.data_dir / "readings", is_mirrored=bool(settings.influx.url))


def _start_mirror(services: Services) -> InfluxMirror | None:
    influx, store = services.settings.influx, services.store
    if not influx.url or not isinstance(store, EmbeddedStore):
        return None
    mirror = InfluxMirror(
        store.mirror_feed,
        url=influx.url,
        token=influx.token.get_secret_value(),
        org=influx.org,
        bucket=influx.bucket,
    )
    mirror.start()
    return mirror


def _publish_first_offers(services: Services) -> None:
    with services.database.transaction() as connection:
        if not all_offers(connection):
            settings = services.settings
            offers = usual_offers(settings.coop_name, group_min=settings.privacy.group_min_inside)
            publish_offers(connection, offers, now=services.clock())
