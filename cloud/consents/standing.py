"""What a home's consent events, taken together, let in. Pure.

The newest version of a consent decides, with one allowance: an interval that left under an earlier
version, and fits it, stays welcome after a renewal moved the dates. Nothing that was narrowed or
withdrawn since is taken, however late it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.wire.consent import Authority, EventType, Grant, Withheld, apply_event, why_withheld
from gateway.wire.consent import decode_event as decode
from gateway.wire.reading import Purpose, Resolution, StreamKey

_OF_DATES = frozenset({Withheld.NOT_YET_VALID, Withheld.EXPIRED})
_RENEWALS = frozenset({EventType.GIVEN, EventType.RENEWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All versions of all consents of a home.

    Args:
        versions: Per consent id, the grant after each event; version n is at n - 1.
    """

    versions: Mapping[str, tuple[Grant, ...]]

    @property
    def newest(self) -> dict[str, Grant]:
        """The grant each consent adds up to now."""
        return {consent_id: grants[-1] for consent_id, grants in self.versions.items()}

    def since(self, reference: str) -> tuple[Grant, ...]:
        """The grant a batch cites and all that came after it; empty if there is none."""
        consent_id, _, version = reference.rpartition("@")
        grants = self.versions.get(consent_id, ())
        first = int(version) - 1
        return grants[first:] if 0 <= first < len(grants) else ()

    def live_purposes(self, now: datetime) -> frozenset[Purpose]:
        """Purposes that at least one consent still allows."""
        return frozenset(
            grant.terms.purpose
            for grant in self.newest.values()
            if not grant.is_dead and now < grant.terms.valid_to
        )


def stand(payloads: Iterable[tuple[bytes, Authority]]) -> Standing:
    """Add up checked events in order, keeping every version.

    Raises:
        BadConsentEvent: An event does not follow from those before it.
    """
    versions: dict[str, tuple[Grant, ...]] = {}
    for payload, authority in payloads:
        consent_id = decode(payload).consent_id
        before = versions.get(consent_id, ())
        grant = apply_event(before[-1] if before else None, payload, authority)
        versions[consent_id] = (*before, grant)
    return Standing(versions=versions)


def why_refused(
    grants: tuple[Grant, ...],
    *,
    stream: StreamKey,
    resolution: Resolution,
    start: datetime,
    end: datetime,
) -> Withheld | None:
    """Say why an interval is not taken, or None if it is.

    Args:
        grants: The cited grant and its later versions, from `Standing.since`.
        stream: Meter, quantity and purpose.
        resolution: The step at which it came.
        start: Start of the interval, aware.
        end: End of the interval, aware.
    """
    if not grants:
        return Withheld.NO_GRANT
    for position, grant in enumerate(grants):
        reason = why_withheld(grant, stream=stream, resolution=resolution, start=start, end=end)
        renewed_later = position > 0 and grant.state in _RENEWALS and reason in _OF_DATES
        if reason is not None and not renewed_later:
            return reason
    return None
