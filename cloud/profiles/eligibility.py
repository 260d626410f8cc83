"""Which homes agreed that a sum with their readings may be shown to somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from cloud.consents.usecases import grants_of
from cloud.members.repository import all_households
from gateway.wire.consent import Grant, Release
from gateway.wire.reading import Purpose, Quantity


def consenting_homes(
    connection: Connection,
    *,
    purpose: Purpose,
    quantity: Quantity,
    start: datetime,
    end: datetime,
    recipient: str,
    release: Release = Release.GROUP,
) -> dict[str, int]:
    """Homes whose consent covers a whole period, with the least group each asked for.

    Args:
        connection: Where consents are.
        purpose: Under which purpose the sum is made.
        quantity: Of what.
        start: Start of the period; a consent that begins later does not count.
        end: End of the period; a consent that ends earlier does not count.
        recipient: Who will see it, such as `coop` or `supplier:nordwind`.
        release: What is made of the readings; who agreed to exact sums agreed to noised ones too.

    Returns:
        Least number of homes in any sum, by household.
    """
    found: dict[str, int] = {}
    for home in all_households(connection):
        if home.erased_at is not None:
            continue
        fitting = _fitting(
            grants_of(connection, home.household),
            purpose=purpose,
            quantity=quantity,
            start=start,
            end=end,
            recipient=recipient,
            release=release,
        )
        if fitting:
            found[home.household] = min(grant.terms.group_min for grant in fitting)
    return found


def _fitting(
    grants: Mapping[str, Grant],
    *,
    purpose: Purpose,
    quantity: Quantity,
    start: datetime,
    end: datetime,
    recipient: str,
    release: Release,
) -> list[Grant]:
    return [
        grant
        for grant in grants.values()
        if not grant.is_withdrawn
        and grant.terms.purpose is purpose
        and quantity in grant.terms.quantities
        and grant.terms.release.width >= release.width
        and _names(grant.terms.recipients, recipient)
        and grant.terms.valid_from <= start
        and end <= grant.terms.valid_to
    ]


def _names(recipients: Iterable[str], recipient: str) -> bool:
    """Whether a list names the recipient; who agreed to the public agreed to everybody."""
    return any(listed in (recipient, "public") for listed in recipients)
