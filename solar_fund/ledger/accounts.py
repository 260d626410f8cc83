"""Accounts: typed names, per-member sub-accounts and the cooperative's standard chart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from solar_fund.errors import AccountInvalid
from solar_fund.money import exponent_of

NAME_LENGTH_MAX = 200
MEMBER_ID_LENGTH_MAX = 64

_COMPONENT = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")
_PLAIN_MEMBER_ID = re.compile(r"[A-Za-z0-9-]+")


class AccountType(StrEnum):
    """The five kinds of account; the name's first part says which."""

    ASSETS = "Assets"
    LIABILITIES = "Liabilities"
    EQUITY = "Equity"
    INCOME = "Income"
    EXPENSES = "Expenses"

    @property
    def debit_is_normal(self) -> bool:
        """Whether such an account usually stands on the debit side."""
        return self is AccountType.ASSETS or self is AccountType.EXPENSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account of the books.

    Attributes:
        name: Parts joined by colons, the first one an `AccountType`; valid in beancount too.
        currencies: Currencies it may hold; empty means any.
        no_overdraft: Its normal side, less pending outflows, may not fall below zero.
        member_id: The member whose sub-account it is.
        suspense: It should return to zero; what stays is reported by age.
    """

    name: str
    currencies: tuple[str, ...] = ()
    no_overdraft: bool = False
    member_id: str | None = None
    suspense: bool = False

    def __post_init__(self) -> None:
        account_type_of(self.name)
        for currency in self.currencies:
            exponent_of(currency)
        if self.member_id is not None:
            _check_member_id(self.member_id)

    @property
    def account_type(self) -> AccountType:
        """The kind of account, read from its name."""
        return AccountType(self.name.partition(":")[0])


def account_type_of(name: str) -> AccountType:
    """Check an account name and return its type.

    Raises:
        AccountInvalid: The name is too long, has one part only, a part that does not start with a
            capital letter or digit, or an unknown type.
    """
    if len(name) > NAME_LENGTH_MAX:
        raise AccountInvalid(name[:40] + "…", f"the name is longer than {NAME_LENGTH_MAX}")
    first, *rest = name.split(":")
    try:
        account_type = AccountType(first)
    except ValueError:
        kinds = ", ".join(AccountType)
        raise AccountInvalid(name, f"the first part must be one of {kinds}") from None
    if not rest or not all(_COMPONENT.fullmatch(part) for part in rest):
        raise AccountInvalid(
            name, "each further part starts with a capital or digit, then letters, digits, hyphens"
        )
    return account_type


def member_account(parent: str, member_id: str) -> str:
    """Name of a member's sub-account below a parent account.

    Ids of letters, digits and hyphens are kept readable; any other id is written in hexadecimal,
    so that two ids never share an account.
    """
    _check_member_id(member_id)
    if _PLAIN_MEMBER_ID.fullmatch(member_id):
        return f"{parent}:Member-{member_id}"
    return f"{parent}:MemberHex-{member_id.encode().hex()}"


def _check_member_id(member_id: str) -> None:
    if not 0 < len(member_id.encode()) <= MEMBER_ID_LENGTH_MAX:
        raise AccountInvalid(
            member_id[:40], f"a member id has 1 to {MEMBER_ID_LENGTH_MAX} bytes in UTF-8"
        )


def account_from_plain(plain: Mapping[str, Any]) -> Account:
    """Read an account from a record's body."""
    return Account(
        name=plain["name"],
        currencies=tuple(plain["currencies"]),
        no_overdraft=plain["no_overdraft"],
        member_id=plain["member_id"],
        suspense=plain["suspense"],
    )


def account_as_plain(account: Account) -> dict[str, Any]:
    """The account as it stands in a record's body."""
    return {
        "name": account.name,
        "currencies": list(account.currencies),
        "no_overdraft": account.no_overdraft,
        "member_id": account.member_id,
        "suspense": account.suspense,
    }


BANK = "Assets:Bank"
FUND_CASH = "Assets:SolarFund"
SUPPLIER_RECEIVABLE = "Assets:SupplierReceivable"
PROJECT_VALUE = "Assets:Projects"
SETTLEMENT_CLEARING = "Assets:SettlementClearing"
SUSPENSE = "Assets:Suspense"
MEASUREMENT_RESERVE = "Liabilities:MeasurementReserve"
EQUALISATION = "Assets:Equalisation"
POCKET = "Liabilities:Pocket"
COSTS_PAYABLE = "Liabilities:CostsPayable"
WITHHOLDING = "Liabilities:Withholding"
COMMUNITY_POT = "Liabilities:CommunityPot"
RESERVE = "Equity:Reserve"
SINKING_FUND = "Equity:SinkingFund"
CAPITAL = "Equity:Capital"
DATA_INCOME = "Income:DataRequests"


def standard_chart(*currencies: str) -> tuple[Account, ...]:
    """The accounts every cooperative starts with, holding these currencies.

    Reserve, hold-back, community pot and the fund's cash are protected against overdraft. The bank
    account is not: the bank, not our books, decides whether it may be overdrawn.
    """
    protected = (
        FUND_CASH,
        EQUALISATION,
        MEASUREMENT_RESERVE,
        COMMUNITY_POT,
        RESERVE,
        SINKING_FUND,
    )
    plain = (
        BANK,
        SUPPLIER_RECEIVABLE,
        PROJECT_VALUE,
        SETTLEMENT_CLEARING,
        COSTS_PAYABLE,
        WITHHOLDING,
        DATA_INCOME,
    )
    return (
        *(Account(name=name, currencies=currencies, no_overdraft=True) for name in protected),
        *(Account(name=name, currencies=currencies) for name in plain),
        Account(name=SUSPENSE, currencies=currencies, suspense=True),
    )


def member_chart(member_id: str, *currencies: str) -> tuple[Account, ...]:
    """The two sub-accounts of a member: pocket (owed to the member) and capital (in the fund)."""
    return tuple(
        Account(
            name=member_account(parent, member_id),
            currencies=currencies,
            no_overdraft=True,
            member_id=member_id,
        )
        for parent in (POCKET, CAPITAL)
    )
