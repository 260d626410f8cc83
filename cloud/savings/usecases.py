"""Freezing a home's old tariff, and putting it on the group's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotFound
from cloud.savings import repository
from cloud.savings.repository import HomeTariff
from cloud.transparency.usecases import record
from tariff_bargainer.bargaining.offer_file import load_table
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import tariff_from_table

OLD, GROUP = "old", "group"


def read_tariff_text(text: str, form: str) -> Tariff:
    """Read a tariff as TOML or JSON text.

    Raises:
        BadInput: It breaks the form; the fault names key and remedy.
    """
    try:
        return tariff_from_table(load_table(text, form=form))
    except BargainerError as fault:
        raise BadInput(
            "the tariff cannot be read",
            faults=(FieldFault(pointer="/tariff", problem=str(fault)),),
        ) from fault


def set_tariff(
    connection: Connection,
    *,
    household: str,
    kind: str,
    text: str,
    form: str,
    valid_from: datetime,
    now: datetime,
    set_by: str = "",
    reason: str = "",
) -> HomeTariff:
    """Freeze a tariff of a home; later changes are new rows, never edits.

    Whether a home may still choose its old tariff is decided in `old_tariffs`.

    Raises:
        BadInput: The tariff cannot be read.
    """
    tariff = read_tariff_text(text, form)
    frozen = HomeTariff(
        household=household,
        kind=kind,
        form=form,
        tariff_text=text,
        tariff_hash=tariff.content_hash,
        valid_from=valid_from,
        set_by=set_by,
        reason=reason,
    )
    repository.insert_tariff(connection, frozen, now)
    record(
        connection,
        kind="tariff.frozen",
        facts={"has_reason": bool(reason), "kind": kind, "tariff": tariff.content_hash},
        at=now,
    )
    return frozen


def tariff_of(connection: Connection, household: str, kind: str, at: datetime) -> Tariff:
    """The tariff of a kind that a home has at a moment.

    Raises:
        NotFound: It has none.
    """
    found = repository.tariff_at(connection, household, kind, at)
    if found is None:
        raise NotFound(f"{kind} tariff of this home")
    return read_tariff_text(found.tariff_text, found.form)
