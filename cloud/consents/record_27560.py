"""A consent as a record other systems can read: ISO/IEC TS 27560 fields in W3C DPV terms. Pure.

Source: ISO/IEC TS 27560:2023 as mapped by the W3C Data Privacy Vocabularies group, guide
`consent-27560`, DPV 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.wire.consent import EventType, Grant, Terms, decode_event
from gateway.wire.reading import PURPOSE_DPV

DPV = "https://w3id.org/dpv#"
SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
STATUS = {
    EventType.GIVEN: f"{DPV}ConsentGiven",
    EventType.RENEWED: f"{DPV}RenewedConsentGiven",
    EventType.NARROWED: f"{DPV}ConsentGiven",
    EventType.WITHDRAWN: f"{DPV}ConsentWithdrawn",
    EventType.EXPIRED: f"{DPV}ConsentExpired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Who answers for the data.

    Args:
        name: Name of the co-op.
        contact: How to reach it.
        url: Its address; rights are exercised and consent withdrawn there.
        jurisdiction: Whose law.
    """

    name: str
    contact: str
    url: str
    jurisdiction: str


def consent_record(
    grant: Grant, payloads: Sequence[bytes], controller: Controller
) -> dict[str, Any]:
    """Write a consent and its whole history as JSON-LD.

    Args:
        grant: What the events add up to.
        payloads: The events as signed, oldest first.
        controller: Who answers for the data.
    """
    terms = grant.terms
    return {
        "@context": {"dpv": DPV, "dct": "http://purl.org/dc/terms/", "coop": "urn:commonwatt:"},
        "@type": "dpv:ConsentRecord",
        "@id": f"urn:commonwatt:consent:{grant.household}:{grant.consent_id}",
        "dct:conformsTo": SCHEMA,
        "dct:identifier": f"{grant.consent_id}@{grant.version}",
        "dpv:hasDataSubject": f"urn:commonwatt:household:{grant.household}",
        "dpv:hasConsentStatus": STATUS[grant.state],
        "dpv:hasNotice": {
            "@type": "dpv:ConsentNotice",
            "dct:identifier": terms.notice.notice_id,
            "dct:hasVersion": terms.notice.version,
            "dct:language": terms.notice.language,
            "coop:sha256": terms.notice.sha256,
        },
        "dpv:hasProcess": _process(terms, controller),
        "coop:events": [_event(payload) for payload in payloads],
    }


def _process(terms: Terms, controller: Controller) -> dict[str, Any]:
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@id": f"urn:commonwatt:purpose:{terms.purpose}",
            "coop:narrowerThan": PURPOSE_DPV[terms.purpose],
        },
        "dpv:hasLegalBasis": f"{DPV}Consent",
        "dpv:hasPersonalData": [
            {
                "@id": f"urn:commonwatt:quantity:{quantity}",
                "coop:meters": list(terms.meters),
                "coop:finestResolution": terms.resolution.value,
            }
            for quantity in terms.quantities
        ],
        "dpv:hasDataController": {
            "@type": "dpv:DataController",
            "dpv:hasName": controller.name,
            "dpv:hasContact": controller.contact,
            "dpv:hasAddress": controller.url,
        },
        "dpv:hasRecipient": list(terms.recipients),
        "dpv:hasStorageCondition": {
            "dpv:hasLocation": controller.url,
            "dpv:hasDuration": f"P{terms.retention_days}D",
        },
        "dpv:hasJurisdiction": controller.jurisdiction,
        "dpv:hasDuration": {
            "coop:validFrom": _moment(terms.valid_from),
            "coop:validTo": _moment(terms.valid_to),
        },
        "dpv:hasNecessity": f"{DPV}Optional",
        "dpv:hasRight": f"{controller.url}/docs",
        "coop:withdrawalMethod": f"{controller.url}, or the gateway's own page at home",
        "coop:release": terms.release.value,
        "coop:groupMin": terms.group_min,
    }


def _event(payload: bytes) -> dict[str, Any]:
    event = decode_event(payload)
    return {
        "coop:version": event.version,
        "coop:eventType": event.event.value,
        "dpv:hasConsentStatus": STATUS[event.event],
        "dct:date": _moment(event.at),
        "dpv:hasEntity": event.actor,
        "coop:signedPayload": payload.decode(),
    }


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
