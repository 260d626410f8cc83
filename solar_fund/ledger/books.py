"""The rules of the books, pure: a request in, the movements it makes out, or a refusal.

The same rules run when a record is written (over balances read from the database) and when the
whole journal is checked (over nothing but the records in front). `Books` remembers what it saw and
asks its source for the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from solar_fund.errors import (
    AccountConflict,
    AccountInvalid,
    AccountUnknown,
    AssertedBalanceWouldChange,
    BalanceAssertionFailed,
    EntryInvalid,
    EntryUnknown,
    OverdraftRefused,
    PendingAlreadyResolved,
    PendingExceeded,
    PendingExpired,
    PeriodClosed,
    ReversalRefused,
)
from solar_fund.ledger.accounts import Account, account_from_plain
from solar_fund.ledger.balances import (
    PERIOD_MARK,
    Applied,
    Balance,
    BooksSource,
    Key,
    Movement,
    Pending,
    mark_key,
)
from solar_fund.ledger.journal import Leg, check_balanced, time_of, time_text

FUTURE_MAX = timedelta(days=366)
"""How far ahead of its recording an entry may take effect; catches a mistyped year."""


@dataclass(slots=True)
class Books:
    """The state that the rules need, filled from a source as it is asked for."""

    source: BooksSource
    accounts: dict[str, Account] = field(default_factory=dict)
    balances: dict[Key, Balance] = field(default_factory=dict)
    pendings: dict[int, Pending] = field(default_factory=dict)
    reversals: dict[int, int] = field(default_factory=dict)
    assertions: dict[Key, str | None] = field(default_factory=dict)
    closed: str | None = None
    closed_known: bool = False

    def apply(self, seq: int, recorded_at: str, request: Mapping[str, Any]) -> Applied:
        """Check a request against every rule and carry it out.

        Nothing is changed when it is refused.

        Args:
            seq: Number the record will have.
            recorded_at: Time it is taken, text of `time_text`.
            request: As made by `EntryDraft.request` and the ledger's operations.

        Raises:
            LedgerError: The rule that refuses it.
        """
        kind = request["kind"]
        effective_at = request.get("effective_at") or recorded_at
        match kind:
            case "entry":
                return self._entry(seq, recorded_at, effective_at, _legs_in(request))
            case "reserve":
                return self._reserve(seq, recorded_at, effective_at, request)
            case "post":
                return self._post(seq, recorded_at, effective_at, request)
            case "void" | "expire":
                return self._release(seq, recorded_at, effective_at, request)
            case "reverse":
                return self._reverse(seq, recorded_at, effective_at, request["about"])
            case _:
                return self._mark(kind, recorded_at, request)

    def account(self, name: str) -> Account:
        """An open account.

        Raises:
            AccountUnknown: It was never opened.
        """
        found = self.accounts.get(name) or self.source.account(name)
        if found is None:
            raise AccountUnknown(name)
        self.accounts[name] = found
        return found

    def balance(self, key: Key) -> Balance:
        """The newest balance of an account and currency."""
        found = self.balances.get(key)
        if found is None:
            found = self.balances[key] = self.source.balance(*key)
        return found

    def pending(self, seq: int) -> Pending:
        """A reservation with what is left of it.

        Raises:
            EntryUnknown: The record is no reservation.
        """
        found = self.pendings.get(seq) or self.source.pending(seq)
        if found is None:
            raise EntryUnknown(seq, "pending entry")
        self.pendings[seq] = found
        return found

    def _mark(self, kind: str, recorded_at: str, request: Mapping[str, Any]) -> Applied:
        """Carry out the kinds that move nothing, some of which lock the past."""
        if kind == "open":
            self._open(request["account"])
            return Applied(effective_at=recorded_at)
        if kind == "close":
            self._close(recorded_at, request["end"])
            return Applied(effective_at=recorded_at, mark_key=PERIOD_MARK, mark_at=request["end"])
        if kind == "assert":
            self._assert(recorded_at, request)
            key = mark_key(request["account"], request["currency"])
            return Applied(effective_at=recorded_at, mark_key=key, mark_at=request["as_of"])
        raise EntryInvalid(f"record kind {kind!r} is unknown")

    def _open(self, plain: Mapping[str, Any]) -> None:
        account = account_from_plain(plain)
        if account.name in self.accounts or self.source.account(account.name) is not None:
            raise AccountConflict(account.name)
        self.accounts[account.name] = account

    def _entry(
        self, seq: int, recorded_at: str, effective_at: str, legs: tuple[Leg, ...]
    ) -> Applied:
        check_balanced(legs)
        self._check_time(recorded_at, effective_at)
        self._check_asserted(legs, effective_at)
        movements = self._move(seq, effective_at, [(leg, leg.amount_minor, 0, 0) for leg in legs])
        return Applied(effective_at=effective_at, movements=movements, moved=legs)

    def _reserve(
        self, seq: int, recorded_at: str, effective_at: str, request: Mapping[str, Any]
    ) -> Applied:
        legs, expires_at = _legs_in(request), request["expires_at"]
        check_balanced(legs)
        if expires_at is not None and expires_at <= recorded_at:
            raise EntryInvalid(f"expiry {expires_at} is not after {recorded_at}")
        remaining_minor = {(leg.account, leg.currency): leg.amount_minor for leg in legs}
        if len(remaining_minor) != len(legs):
            raise EntryInvalid("a pending entry names each account and currency once")
        movements = self._move(
            seq,
            effective_at,
            [(leg, 0, max(leg.amount_minor, 0), max(-leg.amount_minor, 0)) for leg in legs],
        )
        self.pendings[seq] = Pending(seq, expires_at, remaining_minor)
        return Applied(
            effective_at=effective_at, movements=movements, moved=legs, expires_at=expires_at
        )

    def _post(
        self, seq: int, recorded_at: str, effective_at: str, request: Mapping[str, Any]
    ) -> Applied:
        pending = self._open_pending(request["about"])
        if pending.expires_at is not None and pending.expires_at <= recorded_at:
            raise PendingExpired(pending.seq, pending.expires_at)
        legs = _legs_of(pending.remaining_minor) if request["legs"] is None else _legs_in(request)
        check_balanced(legs)
        left_minor = dict(pending.remaining_minor)
        for leg in legs:
            key = (leg.account, leg.currency)
            left = left_minor.get(key, 0)
            if left * leg.amount_minor <= 0 or abs(leg.amount_minor) > abs(left):
                raise PendingExceeded(
                    pending.seq,
                    f"{leg.amount_minor} minor units on {leg.account!r} exceed the {left} left",
                )
            left_minor[key] = left - leg.amount_minor
        self._check_time(recorded_at, effective_at)
        self._check_asserted(legs, effective_at)
        finished = not request["keep_remainder"] or not any(left_minor.values())
        changes = [(leg, leg.amount_minor, *_release(leg)) for leg in legs]
        if finished:
            changes += [(leg, 0, *_release(leg)) for leg in _legs_of(left_minor)]
        movements = self._move(seq, effective_at, changes)
        pending.remaining_minor = dict.fromkeys(left_minor, 0) if finished else left_minor
        pending.resolved_by = seq if finished else None
        return Applied(
            effective_at=effective_at,
            movements=movements,
            moved=legs,
            worked_out=True,
            about_seq=pending.seq,
            is_final=finished,
        )

    def _release(
        self, seq: int, recorded_at: str, effective_at: str, request: Mapping[str, Any]
    ) -> Applied:
        pending = self._open_pending(request["about"])
        if request["kind"] == "expire" and (
            pending.expires_at is None or pending.expires_at > recorded_at
        ):
            raise PendingExceeded(pending.seq, "its time has not run out yet")
        changes = [(leg, 0, *_release(leg)) for leg in _legs_of(pending.remaining_minor)]
        movements = self._move(seq, effective_at, changes)
        pending.remaining_minor = dict.fromkeys(pending.remaining_minor, 0)
        pending.resolved_by = seq
        return Applied(
            effective_at=effective_at, movements=movements, about_seq=pending.seq, is_final=True
        )

    def _reverse(self, seq: int, recorded_at: str, effective_at: str, about: int) -> Applied:
        original = self.source.record(about)
        if original is None or original.kind not in {"entry", "post"}:
            raise ReversalRefused(about, "only posted entries can be reversed")
        earlier = self.reversals.get(about) or self.source.reversed_by(about)
        if earlier is not None:
            raise ReversalRefused(about, f"record {earlier} reversed it already")
        legs = tuple(
            Leg(
                account=leg.account,
                amount_minor=-leg.amount_minor,
                currency=leg.currency,
                evidence=leg.evidence,
            )
            for leg in original.legs
        )
        self._check_time(recorded_at, effective_at)
        self._check_asserted(legs, effective_at)
        movements = self._move(seq, effective_at, [(leg, leg.amount_minor, 0, 0) for leg in legs])
        self.reversals[about] = seq
        return Applied(
            effective_at=effective_at,
            movements=movements,
            moved=legs,
            worked_out=True,
            about_seq=about,
        )

    def _close(self, recorded_at: str, end: str) -> None:
        time_of(end)
        if end > recorded_at:
            raise EntryInvalid(f"the period up to {end} is not over yet")
        earlier = self._closed_before()
        if earlier is not None and end <= earlier:
            raise PeriodClosed(end, earlier)
        self.closed = end

    def _assert(self, recorded_at: str, request: Mapping[str, Any]) -> None:
        account, currency, as_of = request["account"], request["currency"], request["as_of"]
        self.account(account)
        if as_of > recorded_at:
            raise EntryInvalid(f"the balance before {as_of} is not known yet")
        found_minor = self.source.posted_before(account, currency, as_of)
        if found_minor != request["posted_minor"]:
            raise BalanceAssertionFailed(
                account, currency, request["posted_minor"], found_minor, as_of
            )
        earlier = self._asserted_before((account, currency))
        self.assertions[account, currency] = max(as_of, earlier or as_of)

    def _move(
        self, seq: int, effective_at: str, changes: Sequence[tuple[Leg, int, int, int]]
    ) -> tuple[Movement, ...]:
        after: dict[Key, Balance] = {}
        movements = []
        for line, (leg, posted_minor, pending_debit_minor, pending_credit_minor) in enumerate(
            changes, start=1
        ):
            account = self.account(leg.account)
            if account.currencies and leg.currency not in account.currencies:
                raise AccountInvalid(account.name, f"it may not hold {leg.currency}")
            key = (leg.account, leg.currency)
            before = after.get(key) or self.balance(key)
            after[key] = Balance(
                before.posted_minor + posted_minor,
                before.pending_debit_minor + pending_debit_minor,
                before.pending_credit_minor + pending_credit_minor,
            )
            movements.append(
                Movement(
                    seq=seq,
                    line=line,
                    account=leg.account,
                    currency=leg.currency,
                    effective_at=effective_at,
                    posted_minor=posted_minor,
                    pending_debit_minor=pending_debit_minor,
                    pending_credit_minor=pending_credit_minor,
                    after=after[key],
                )
            )
        for (name, currency), balance in after.items():
            account = self.account(name)
            if account.no_overdraft and (available := balance.available_minor(account)) < 0:
                raise OverdraftRefused(name, currency, available)
        self.balances.update(after)
        return tuple(movements)

    def _open_pending(self, seq: int) -> Pending:
        pending = self.pending(seq)
        if pending.resolved_by is not None:
            raise PendingAlreadyResolved(seq, pending.resolved_by)
        return pending

    def _check_time(self, recorded_at: str, effective_at: str) -> None:
        closed_before = self._closed_before()
        if closed_before is not None and effective_at < closed_before:
            raise PeriodClosed(effective_at, closed_before)
        if effective_at > recorded_at and effective_at > time_text(
            time_of(recorded_at) + FUTURE_MAX
        ):
            raise EntryInvalid(f"effective time {effective_at} is more than a year ahead")

    def _check_asserted(self, legs: Sequence[Leg], effective_at: str) -> None:
        for leg in legs:
            as_of = self._asserted_before((leg.account, leg.currency))
            if as_of is not None and effective_at < as_of:
                raise AssertedBalanceWouldChange(leg.account, effective_at, as_of)

    def _closed_before(self) -> str | None:
        if self.closed is None and not self.closed_known:
            self.closed = self.source.closed_before()
            self.closed_known = True
        return self.closed

    def _asserted_before(self, key: Key) -> str | None:
        if key not in self.assertions:
            self.assertions[key] = self.source.asserted_before(*key)
        return self.assertions[key]


def _legs_in(request: Mapping[str, Any]) -> tuple[Leg, ...]:
    return tuple(Leg.from_list(plain) for plain in request["legs"])


def _legs_of(amounts_minor: Mapping[Key, int]) -> tuple[Leg, ...]:
    return tuple(
        Leg(account=account, amount_minor=amount_minor, currency=currency)
        for (account, currency), amount_minor in amounts_minor.items()
        if amount_minor
    )


def _release(leg: Leg) -> tuple[int, int]:
    """Change of pending debits and credits when a leg stops being pending [minor units]."""
    return -max(leg.amount_minor, 0), -max(-leg.amount_minor, 0)
