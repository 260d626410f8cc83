"""All tables of the one database, known to migrations by importing every repository."""

from __future__ import annotations

from cloud import idempotency
from cloud.consents import repository as consents
from cloud.data_requests import repository as data_requests
from cloud.database import metadata
from cloud.fund import booking_record
from cloud.fund import repository as fund
from cloud.gateways import repository as gateways
from cloud.members import repository as members
from cloud.negotiations import draft_record
from cloud.negotiations import repository as negotiations
from cloud.notices import repository as notices
from cloud.profiles import repository as profiles
from cloud.projects import repository as projects
from cloud.savings import repository as savings
from cloud.transparency import repository as transparency
from cloud.votes import repository as votes

REPOSITORIES = (
    booking_record,
    consents,
    data_requests,
    draft_record,
    fund,
    gateways,
    idempotency,
    members,
    negotiations,
    notices,
    profiles,
    projects,
    savings,
    transparency,
    votes,
)
"""Repositories that declare tables; add yours here."""

__all__ = ["REPOSITORIES", "metadata"]
