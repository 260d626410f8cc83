"""SEPA files: credit transfers (pain.001) and direct debits (pain.008), checked by their schema.

The library puts random ids and the local time into a file. They are replaced by the batch's own id
and creation time, so that the same batch always gives the same bytes and a bank that sees a file
twice knows it by its message id. Batch booking is switched off: every payment gets a statement
line of its own.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from xml.etree.ElementTree import Element, tostring

from defusedxml.ElementTree import fromstring
from sepaxml import SepaDD, SepaTransfer
from sepaxml.validation import ValidationError, try_valid_xml

from solar_fund.errors import PayoutRefused
from solar_fund.payments.bank_accounts import check_iban
from solar_fund.payments.orders import BatchKind, OrderBatch, PaymentOrder, block_name

ORDERS_MAX = 20_000


class CreditTransferSchema(StrEnum):
    """Versions of pain.001 that can be written."""

    V03 = "pain.001.001.03"
    V09 = "pain.001.001.09"


class DirectDebitSchema(StrEnum):
    """Versions of pain.008 that can be written."""

    V02 = "pain.008.001.02"
    V08 = "pain.008.001.08"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAccount:
    """The cooperative's account that pays or collects.

    Attributes:
        name: As the bank knows it.
        iban: Checked account number.
        bic: Needed for pain.008.001.02; otherwise optional.
        creditor_id: SEPA creditor identifier, for direct debits.
    """

    name: str
    iban: str
    bic: str | None = None
    creditor_id: str | None = None


def credit_transfer_file(
    batch: OrderBatch,
    own: OwnAccount,
    execution_on: date,
    schema: CreditTransferSchema = CreditTransferSchema.V09,
) -> bytes:
    """Write a batch of payouts as a pain.001 file.

    Args:
        batch: Released orders, in euros.
        own: The account that pays.
        execution_on: Requested day of execution.
        schema: Version of the message.

    Raises:
        PayoutRefused: An order is not in euros, or the file breaks its schema.
    """
    _check_batch(batch, BatchKind.PAYOUT)
    writer = SepaTransfer(_config(own), schema=schema.value, clean=True)
    for order in batch.orders:
        writer.add_payment({**_payment(order), "execution_date": execution_on})
    return _settled(writer.export(validate=False), batch, schema.value)


def direct_debit_file(
    batch: OrderBatch,
    own: OwnAccount,
    collection_on: date,
    schema: DirectDebitSchema = DirectDebitSchema.V08,
) -> bytes:
    """Write a batch of collections as a pain.008 file.

    Args:
        batch: Released orders with mandates, in euros.
        own: The account that collects, with a creditor identifier.
        collection_on: Requested day of collection.
        schema: Version of the message.

    Raises:
        PayoutRefused: An order has no mandate or is not in euros, the creditor identifier is
            missing, or the file breaks its schema.
    """
    _check_batch(batch, BatchKind.COLLECTION)
    if own.creditor_id is None:
        raise PayoutRefused(batch.batch_id, "direct debits need a SEPA creditor identifier")
    config = {**_config(own), "creditor_id": own.creditor_id}
    if schema is DirectDebitSchema.V02 and "BIC" not in config:
        raise PayoutRefused(batch.batch_id, f"{schema.value} needs the BIC of the own account")
    writer = SepaDD(config, schema=schema.value, clean=True)
    with warnings.catch_warnings():
        # The library asks elements for their truth value, which Python 3.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        for order in batch.orders:
            writer.add_payment(_collection(order, collection_on))
        draft = writer.export(validate=False)
    return _settled(draft, batch, schema.value)


def _check_batch(batch: OrderBatch, kind: BatchKind) -> None:
    if batch.kind is not kind:
        raise PayoutRefused(batch.batch_id, f"it is a batch of {batch.kind.value}s")
    if not 0 < len(batch.orders) <= ORDERS_MAX:
        raise PayoutRefused(batch.batch_id, f"a file holds 1 to {ORDERS_MAX} payments")
    for order in batch.orders:
        if order.money.currency != "EUR":
            raise PayoutRefused(order.end_to_end_id, "SEPA pays in EUR only")


def _config(own: OwnAccount) -> dict[str, object]:
    account = check_iban(own.iban)
    bic = own.bic or account.bic
    config: dict[str, object] = {
        "name": own.name,
        "IBAN": account.iban,
        "batch": True,
        "currency": "EUR",
    }
    return config if bic is None else {**config, "BIC": bic}


def _payment(order: PaymentOrder) -> dict[str, object]:
    account = check_iban(order.iban)
    payment: dict[str, object] = {
        "name": order.name,
        "IBAN": account.iban,
        "amount": order.money.amount_minor,
        "description": order.memo,
        "endtoend_id": order.end_to_end_id,
    }
    return payment if account.bic is None else {**payment, "BIC": account.bic}


def _collection(order: PaymentOrder, collection_on: date) -> dict[str, object]:
    if order.mandate is None:
        raise PayoutRefused(order.end_to_end_id, "a collection needs a mandate")
    return {
        **_payment(order),
        "type": order.mandate.sequence_type,
        "collection_date": collection_on,
        "mandate_id": order.mandate.mandate_id,
        "mandate_date": order.mandate.signed_on,
    }


def _settled(draft: bytes, batch: OrderBatch, schema: str) -> bytes:
    """Put the batch's own ids and time into a file and check it by its schema."""
    root = fromstring(draft, forbid_dtd=True)
    prefix = f"{{urn:iso:std:iso:20022:tech:xsd:{schema}}}"
    _set(root.iter(f"{prefix}MsgId"), [batch.batch_id])
    _set(root.iter(f"{prefix}CreDtTm"), [batch.created_at[:19] + "Z"])
    blocks = list(root.iter(f"{prefix}PmtInfId"))
    _set(blocks, [block_name(batch.batch_id, n) for n in range(1, len(blocks) + 1)])
    bookings = list(root.iter(f"{prefix}BtchBookg"))
    _set(bookings, ["false"] * len(bookings))
    file: bytes = b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, "utf-8")
    try:
        try_valid_xml(file, schema)
    except ValidationError as error:
        reason = getattr(error.__cause__, "reason", None) or error
        raise PayoutRefused(batch.batch_id, f"the file breaks {schema}: {reason}") from None
    return file


def _set(elements: Iterable[Element], texts: Sequence[str]) -> None:
    for element, text in zip(elements, texts, strict=True):
        element.text = text
