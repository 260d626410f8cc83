"""All tables of the one database, known to migrations by importing every repository."""

from __future__ import annotations

from cloud.consents import repository as consents
from cloud.database import metadata
from cloud.gateways import repository as gateways
from cloud.members import repository as members
from cloud.notices import repository as notices
from cloud.transparency import repository as transparency

REPOSITORIES = (consents, gateways, members, notices, transparency)
"""Repositories that declare tables; add yours here."""

__all__ = ["REPOSITORIES", "metadata"]
