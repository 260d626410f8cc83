"""Everything the solar fund can refuse, as one tree.

::

    FundError
    ├── InputFileInvalid            a file given by a person: path, place, problem
    ├── MoneyError
    │   ├── CurrencyUnknown
    │   ├── CurrencyMismatch
    │   ├── AmountInvalid
    │   └── SplitImpossible
    ├── LedgerError
    │   ├── AccountInvalid
    │   ├── AccountUnknown
    │   ├── AccountConflict
    │   ├── EntryInvalid
    │   ├── EntryUnbalanced
    │   ├── EntryUnknown
    │   ├── IdempotencyConflict
    │   ├── OverdraftRefused
    │   ├── PendingAlreadyResolved
    │   ├── PendingExpired
    │   ├── PendingExceeded
    │   ├── ReversalRefused
    │   ├── PeriodClosed
    │   ├── BalanceAssertionFailed
    │   ├── AssertedBalanceWouldChange
    │   ├── LedgerBusy
    │   └── LedgerDamaged
    ├── DistributionError
    │   ├── ParameterOutOfBounds
    │   ├── DistributionRefused
    │   └── RedemptionRefused
    ├── PaymentError
    │   ├── AccountNumberInvalid
    │   ├── PayoutRefused
    │   ├── ReleaseRefused
    │   └── BankFileInvalid
    ├── ElectionInvalid
    │   ├── ElectionFileInvalid     also an InputFileInvalid
    │   └── TieUnresolved
    ├── BallotInvalid
    ├── ReceiptInvalid
    └── ProjectInvalid
"""


class FundError(Exception):
    """Base of every refusal of the solar fund; its text names what, where and the remedy."""


class InputFileInvalid(FundError):
    """A file given by a person cannot be used."""

    def __init__(self, path: str, place: str, problem: str) -> None:
        self.path = path
        self.place = place
        self.problem = problem
        super().__init__(f"{path}: {place}: {problem}" if place else f"{path}: {problem}")


class MoneyError(FundError):
    """Base of what can go wrong with an amount of money."""


class CurrencyUnknown(MoneyError):
    """The currency code is not in our table of exponents."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        super().__init__(
            f"currency {currency!r} is unknown; use a code of ISO 4217 such as EUR, GBP or USD"
        )


class CurrencyMismatch(MoneyError):
    """Two amounts of different currencies met in one sum."""

    def __init__(self, left: str, right: str) -> None:
        self.left = left
        self.right = right
        super().__init__(f"cannot add {right} to {left}; convert first, in an entry of its own")


class AmountInvalid(MoneyError):
    """The text or number is not an exact amount of its currency."""

    def __init__(self, text: str, currency: str, problem: str) -> None:
        self.text = text
        self.currency = currency
        super().__init__(f"{text!r} is no amount in {currency}: {problem}")


class SplitImpossible(MoneyError):
    """The weights do not say how to split."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"cannot split: {problem}")


class LedgerError(FundError):
    """Base of what the ledger refuses."""


class AccountInvalid(LedgerError):
    """An account's name or definition breaks a rule."""

    def __init__(self, account: str, problem: str) -> None:
        self.account = account
        super().__init__(f"account {account!r}: {problem}")


class AccountUnknown(LedgerError):
    """A leg names an account that was never opened."""

    def __init__(self, account: str) -> None:
        self.account = account
        super().__init__(f"account {account!r} is not open; open it before posting to it")


class AccountConflict(LedgerError):
    """An account was opened before with other properties."""

    def __init__(self, account: str) -> None:
        self.account = account
        super().__init__(
            f"account {account!r} is already open with other properties; use another name"
        )


class EntryInvalid(LedgerError):
    """An entry breaks a rule of form."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"entry refused: {problem}")


class EntryUnbalanced(LedgerError):
    """Debits and credits of an entry differ in one currency."""

    def __init__(self, currency: str, excess_minor: int) -> None:
        self.currency = currency
        self.excess_minor = excess_minor
        super().__init__(
            f"entry refused: debits exceed credits by {excess_minor} minor units of {currency}; "
            "the legs of each currency must sum to zero"
        )


class EntryUnknown(LedgerError):
    """No journal record has this number, or it is of another kind."""

    def __init__(self, seq: int, wanted: str) -> None:
        self.seq = seq
        super().__init__(f"journal record {seq} is no {wanted}")


class IdempotencyConflict(LedgerError):
    """An idempotency key came back with another body."""

    def __init__(self, idempotency_key: str, first_seq: int) -> None:
        self.idempotency_key = idempotency_key
        self.first_seq = first_seq
        super().__init__(
            f"idempotency key {idempotency_key!r} was used by record {first_seq} with another "
            "body; a retry must repeat the same body, a new entry needs a new key"
        )


class OverdraftRefused(LedgerError):
    """A protected account would fall below zero."""

    def __init__(self, account: str, currency: str, available_minor: int) -> None:
        self.account = account
        self.currency = currency
        self.available_minor = available_minor
        super().__init__(
            f"account {account!r} may not be overdrawn: it would stand at {available_minor} minor "
            f"units of {currency} after pending entries"
        )


class PendingAlreadyResolved(LedgerError):
    """A pending entry was already posted in full, voided or expired."""

    def __init__(self, seq: int, by_seq: int) -> None:
        self.seq = seq
        self.by_seq = by_seq
        super().__init__(f"pending record {seq} was already resolved by record {by_seq}")


class PendingExpired(LedgerError):
    """A pending entry's time ran out before it was posted."""

    def __init__(self, seq: int, expires_at: str) -> None:
        self.seq = seq
        self.expires_at = expires_at
        super().__init__(f"pending record {seq} expired at {expires_at}; reserve anew")


class PendingExceeded(LedgerError):
    """A part to be posted is more than what is left of a pending entry."""

    def __init__(self, seq: int, problem: str) -> None:
        self.seq = seq
        super().__init__(f"pending record {seq}: {problem}")


class ReversalRefused(LedgerError):
    """The record cannot be reversed (again)."""

    def __init__(self, seq: int, problem: str) -> None:
        self.seq = seq
        super().__init__(f"record {seq} cannot be reversed: {problem}")


class PeriodClosed(LedgerError):
    """An entry would take effect inside a closed period."""

    def __init__(self, effective_at: str, closed_before: str) -> None:
        self.effective_at = effective_at
        self.closed_before = closed_before
        super().__init__(
            f"an entry effective at {effective_at} falls into a period closed before "
            f"{closed_before}; post an adjusting entry effective later"
        )


class BalanceAssertionFailed(LedgerError):
    """The books do not show the balance that was asserted."""

    def __init__(
        self, account: str, currency: str, asserted_minor: int, found_minor: int, as_of: str
    ) -> None:
        self.account = account
        self.currency = currency
        self.asserted_minor = asserted_minor
        self.found_minor = found_minor
        self.as_of = as_of
        super().__init__(
            f"balance of {account!r} before {as_of} is {found_minor} minor units of {currency}, "
            f"asserted were {asserted_minor}; find the missing entry before asserting again"
        )


class AssertedBalanceWouldChange(LedgerError):
    """An entry would change a balance that was asserted before."""

    def __init__(self, account: str, effective_at: str, as_of: str) -> None:
        self.account = account
        self.effective_at = effective_at
        self.as_of = as_of
        super().__init__(
            f"account {account!r} was asserted as of {as_of}; an entry effective at "
            f"{effective_at} would change that balance; make it effective later"
        )


class LedgerBusy(LedgerError):
    """Another writer held the ledger for too long."""

    def __init__(self, waited_s: float) -> None:
        self.waited_s = waited_s
        super().__init__(
            f"another writer was first (waited up to {waited_s:g} s); run the whole transaction"
            " again with the same keys"
        )


class LedgerDamaged(LedgerError):
    """What is stored does not fit together."""

    def __init__(self, seq: int | None, problem: str) -> None:
        self.seq = seq
        self.problem = problem
        where = "ledger" if seq is None else f"journal record {seq}"
        super().__init__(f"{where}: {problem}; restore a backup and run `solar-fund ledger check`")


class DistributionError(FundError):
    """Base of what the waterfall, the dividends and the redemptions refuse."""


class ParameterOutOfBounds(DistributionError):
    """A voted parameter lies outside its hard bounds."""

    def __init__(self, parameter: str, found: str, bounds: str) -> None:
        self.parameter = parameter
        self.found = found
        self.bounds = bounds
        super().__init__(f"{parameter} = {found} is out of bounds; it must be {bounds}")


class DistributionRefused(DistributionError):
    """A distribution's inputs contradict each other or the legal form."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"distribution refused: {problem}")


class RedemptionRefused(DistributionError):
    """A redemption is not allowed now."""

    def __init__(self, member_id: str, problem: str) -> None:
        self.member_id = member_id
        self.problem = problem
        super().__init__(f"redemption for member {member_id!r} refused: {problem}")


class PaymentError(FundError):
    """Base of what payouts and reconciliation refuse."""


class AccountNumberInvalid(PaymentError):
    """A bank account number fails its check digits or country rules."""

    def __init__(self, masked: str, problem: str) -> None:
        self.masked = masked
        super().__init__(f"IBAN {masked} refused: {problem}; ask the member to correct it")


class PayoutRefused(PaymentError):
    """A payout cannot be put into a batch."""

    def __init__(self, payout_id: str, problem: str) -> None:
        self.payout_id = payout_id
        self.problem = problem
        super().__init__(f"payout {payout_id!r} refused: {problem}")


class ReleaseRefused(PaymentError):
    """A batch of payouts may not leave."""

    def __init__(self, batch_id: str, problem: str) -> None:
        self.batch_id = batch_id
        self.problem = problem
        super().__init__(f"batch {batch_id!r} may not be released: {problem}")


class BankFileInvalid(PaymentError):
    """A file from the bank cannot be read."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"bank file: {place}: {problem}" if place else f"bank file: {problem}")


class ElectionInvalid(FundError):
    """An election cannot be counted as given."""


class ElectionFileInvalid(InputFileInvalid, ElectionInvalid):
    """A ballot file has a fault, named by line."""

    def __init__(self, path: str, line: int, fault: str) -> None:
        self.line = line
        super().__init__(path, f"line {line}" if line else "", fault)


class TieUnresolved(ElectionInvalid):
    """Neither cost nor votes nor a drawn lot decides a tie."""

    def __init__(self, names: tuple[str, ...], where: str) -> None:
        self.names = names
        self.where = where
        super().__init__(
            f"tie between {', '.join(names)} {where}; draw a lot among them and give its order,"
            f' for example --lot "{",".join(names)}"'
        )


class BallotInvalid(FundError):
    """A ballot may not be cast."""


class ReceiptInvalid(FundError):
    """A receipt or an inclusion proof does not check."""


class ProjectInvalid(FundError):
    """A project cannot be appraised, or may not take the step asked of it."""
