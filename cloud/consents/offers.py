"""What the co-op asks for: offer templates, dated anew each day they are shown. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from gateway.wire.consent import ConsentId, Notice, Release, Terms
from gateway.wire.reading import Purpose, Quantity, Resolution
from gateway.wire.record import ShortText, WireRecord
from gateway.wire.session import ConsentOffer

OFFERS_MAX = 32


class OfferTemplate(WireRecord, frozen=True, kw_only=True):
    """An offer without dates.

    Args:
        offer_id: Becomes the consent id when the household says yes.
        title: A short name for the page.
        notice_version: Version of the text.
        language: BCP 47 tag of the text.
        notice_text: The exact text shown.
        purpose: Why.
        meters: Names of the meters asked for; the household puts in its own.
        quantities: Which quantities.
        resolution: The finest step.
        recipients: Who may see results.
        release: How far results may go.
        group_min: Least number of homes in any released sum.
        valid_days: How long a yes lasts [days].
        retention_days: How long the cloud may keep the stream [days].
    """

    offer_id: ConsentId
    title: ShortText
    notice_version: ShortText = "1.0.0"
    language: ShortText = "en"
    notice_text: Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]
    purpose: Purpose
    meters: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=32)] = ("main",)
    quantities: Annotated[tuple[Quantity, ...], msgspec.Meta(min_length=1, max_length=8)]
    resolution: Resolution
    recipients: Annotated[tuple[ShortText, ...], msgspec.Meta(min_length=1, max_length=16)]
    release: Release
    group_min: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=3_660)] = 365
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_525)]


TEMPLATES = msgspec.json.Decoder(OfferTemplate)
"""Made at import, because two threads that first meet a record at once can crash msgspec."""


def notice_hash(template: OfferTemplate) -> str:
    """SHA-256 of the exact text shown, hex."""
    return hashlib.sha256(template.notice_text.encode()).hexdigest()


def given_beyond(terms: Terms, template: OfferTemplate, now: datetime) -> tuple[str, ...]:
    """Name the terms that give more than an offer asks for; none if it asks for all of them.

    Which meters, and from when on, is the household's own choice.
    """
    asked = offer_of(template, now).terms
    beyond = {
        "purpose": terms.purpose != asked.purpose,
        "quantities": not set(terms.quantities) <= set(asked.quantities),
        "resolution": terms.resolution.is_finer_than(asked.resolution),
        "recipients": not set(terms.recipients) <= set(asked.recipients),
        "release": terms.release.width > asked.release.width,
        "group_min": terms.group_min < asked.group_min,
        "valid_to": terms.valid_to > now + timedelta(days=template.valid_days),
        "retention_days": terms.retention_days > asked.retention_days,
    }
    return tuple(name for name, gives_more in beyond.items() if gives_more)


def offer_of(template: OfferTemplate, now: datetime) -> ConsentOffer:
    """Date a template: valid from the start of the day (UTC) in which it is shown."""
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return ConsentOffer(
        offer_id=template.offer_id,
        title=template.title,
        notice_text=template.notice_text,
        terms=Terms(
            purpose=template.purpose,
            meters=template.meters,
            quantities=template.quantities,
            resolution=template.resolution,
            recipients=template.recipients,
            release=template.release,
            group_min=template.group_min,
            valid_from=start,
            valid_to=start + timedelta(days=template.valid_days),
            retention_days=template.retention_days,
            notice=Notice(
                notice_id=template.offer_id,
                version=template.notice_version,
                language=template.language,
                sha256=notice_hash(template),
            ),
        ),
    )


def usual_offers(coop_name: str, *, group_min: int) -> tuple[OfferTemplate, ...]:
    """The offers a new co-op starts with; each is a purpose of its own, none is needed to join."""
    both = (Quantity.IMPORT_WH, Quantity.EXPORT_WH)
    return (
        OfferTemplate(
            offer_id="group-tariff",
            title="Bargain a tariff for all of us",
            notice_text=(
                f"{coop_name} adds your quarter-hour use to that of at least {group_min - 1} other "
                "homes and shows suppliers only the sum. Each offer is also priced on your own "
                "use, so that you see whether you would win. Kept for 500 days. You can "
                "stop at any time, here or on the co-op's page, and your readings are erased."
            ),
            purpose=Purpose.GROUP_TARIFF,
            quantities=both,
            resolution=Resolution.QUARTER_HOUR,
            recipients=("coop", "supplier"),
            release=Release.GROUP,
            group_min=group_min,
            retention_days=500,
        ),
        OfferTemplate(
            offer_id="billing",
            title="Work out what you saved",
            notice_text=(
                f"{coop_name} compares your old tariff with the new bill on what you really used, "
                "hour by hour, and pays the difference out as agreed. Nobody else sees your "
                "figures. Kept for ten years, as bookkeeping law asks."
            ),
            purpose=Purpose.BILLING,
            quantities=both,
            resolution=Resolution.HOUR,
            recipients=("coop",),
            release=Release.OWN_ONLY,
            group_min=1,
            retention_days=3_653,
        ),
        OfferTemplate(
            offer_id="own-insight",
            title="See your own year",
            notice_text=(
                f"{coop_name} keeps your quarter-hour use so that you can look at it on your own "
                "page. Only you see it. Kept for 800 days."
            ),
            purpose=Purpose.OWN_INSIGHT,
            quantities=(*both, Quantity.GENERATION_WH),
            resolution=Resolution.QUARTER_HOUR,
            recipients=("household",),
            release=Release.OWN_ONLY,
            group_min=1,
            retention_days=800,
        ),
        OfferTemplate(
            offer_id="research",
            title="Lend a hand to research",
            notice_text=(
                "Researchers whose proposal the members voted for get noised sums of many homes "
                "by the hour, never yours alone. You may leave any single study out. Kept for 400 days."
            ),
            purpose=Purpose.RESEARCH,
            quantities=both,
            resolution=Resolution.HOUR,
            recipients=("researcher:voted",),
            release=Release.NOISED,
            group_min=100,
            retention_days=400,
        ),
    )
