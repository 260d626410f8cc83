"""The gate: admit, hold or withhold one interval of one stream, with a reason. Pure.

Withheld is for ever: the interval is counted and forgotten. Held is for now: the interval may
be kept at home, but nothing is sent until the reason is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.wire.consent import Grant, Withheld, why_withheld
from gateway.wire.reading import Purpose, Resolution, StreamKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What else decides, beside the grants.

    Args:
        now: The clock, aware UTC.
        clock_synchronised: Whether validity in time can be judged at all.
        paused: Whether the household paused sending.
        policy_confirmed_at: When the co-op last confirmed the consents; None if never.
        policy_valid_for: How long a confirmation lasts.
    """

    now: datetime
    clock_synchronised: bool
    paused: bool
    policy_confirmed_at: datetime | None
    policy_valid_for: timedelta


def admit(
    grant: Grant | None,
    *,
    stream: StreamKey,
    resolution: Resolution,
    start: datetime,
    end: datetime,
) -> Withheld | None:
    """Say why an interval is withheld for ever, or None if it may be kept for sending.

    Args:
        grant: The grant that would let it out, if there is one.
        stream: Meter, quantity and purpose.
        resolution: The step of the interval.
        start: Start, aware UTC.
        end: End, aware UTC.
    """
    return why_withheld(grant, stream=stream, resolution=resolution, start=start, end=end)


def hold(purpose: Purpose, conditions: Conditions) -> Withheld | None:
    """Say why nothing of a purpose may be sent now, or None if it may.

    A gateway that has not heard from the co-op for too long may not know of a withdrawal made on
    the web. It fails closed: it keeps readings at home until the consents are confirmed. Billing
    rests on a contract and goes on.

    Args:
        purpose: Purpose of the stream.
        conditions: Clock, pause and confirmation.
    """
    if conditions.paused:
        return Withheld.PAUSED
    if not conditions.clock_synchronised:
        return Withheld.CLOCK_NOT_SYNCHRONISED
    if purpose is Purpose.BILLING:
        return None
    confirmed_at = conditions.policy_confirmed_at
    # A confirmation from the future is no newer than one from the past: the clock went back.
    if confirmed_at is None or abs(conditions.now - confirmed_at) > conditions.policy_valid_for:
        return Withheld.POLICY_NOT_CONFIRMED
    return None
