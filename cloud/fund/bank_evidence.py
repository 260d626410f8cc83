"""What has to be named when money came: the hash of the bank's statement."""

from __future__ import annotations

from cloud.errors import BadInput, FieldFault
from solar_fund.errors import FundError
from solar_fund.ledger.journal import check_hash


def require_bank_evidence(bank_evidence: str) -> None:
    """Refuse what is no hash of a statement.

    Raises:
        BadInput: It is no SHA-256 in hexadecimal.
    """
    try:
        check_hash(bank_evidence)
    except FundError as fault:
        raise BadInput(
            "the bank evidence is no SHA-256 in hexadecimal; sha256sum of the statement gives it",
            faults=(FieldFault(pointer="/bank_evidence", problem="give 64 signs, 0-9 and a-f"),),
        ) from fault
