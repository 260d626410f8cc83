"""A seeded storm of ledger commands, and a plain model of what they should do."""

import random
from datetime import UTC, datetime, timedelta

from solar_fund.ledger.accounts import Account
from solar_fund.ledger.journal import time_of, time_text

START = datetime(2026, 1, 1, tzinfo=UTC)
POCKETS = [f"Liabilities:Pocket:Member-{number}" for number in range(12)]
PROTECTED = {"Assets:Fund", *POCKETS}
POUNDS_ONLY = "Assets:Pounds"
ACCOUNTS = [
    *(Account(name=name, no_overdraft=True) for name in sorted(PROTECTED)),
    Account(name="Assets:Bank"),
    Account(name=POUNDS_ONLY, currencies=("GBP",)),
    Account(name="Income:Savings"),
]
NAMES = [account.name for account in ACCOUNTS]
GROUP_COMMANDS_MAX = 40


class Storm:
    """The commands of a seed: random, retried, reordered, some with misused keys."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = START
        self.number = 0
        self.reserved = []
        self.entries = []
        self.sent = []

    def group(self):
        """Commands that are committed together, in the order they arrive."""
        made = [self.command() for _ in range(self.random.randint(1, GROUP_COMMANDS_MAX))]
        if self.sent and self.random.random() < 0.5:
            made += self.random.choices(self.sent[-500:], k=3)
        if self.random.random() < 0.3:
            misused = dict(self.random.choice(made))
            misused["memo"] = "another body"
            made.append(misused)
        if self.random.random() < 0.5:
            self.random.shuffle(made)
        self.sent = (self.sent + made)[-500:]
        return made

    def command(self):
        step = self.random.choice((0, 1, 1, 5, 3_600, 90_000, -7_200))
        self.now = max(self.now + timedelta(seconds=step), START)
        self.number += 1
        key = f"key-{self.number}"
        op = self.random.choices(
            ("post", "batch", "reserve", "settle", "void", "expire", "reverse", "close"),
            (50, 8, 18, 14, 6, 0.4, 6, 0.2),
        )[0]
        command = {"op": op, "key": key, "now": time_text(self.now), "memo": ""}
        if op in {"post", "reserve"}:
            command["legs"] = self.legs()
            command["effective"] = self.effective() if op == "post" else None
            if op == "reserve":
                command["expires_s"] = self.random.choice((None, None, 60, 86_400))
            (self.reserved if op == "reserve" else self.entries).append(key)
        elif op == "batch":
            command["entries"] = [
                {"key": f"{key}-{line}", "legs": self.legs()}
                for line in range(self.random.randint(2, 12))
            ]
        elif op in {"settle", "void"}:
            command["about"] = self.random.choice([*self.reserved[-40:], "key-none"])
            command["part"] = self.random.choice((None, 1, 50, 400))
            command["keep"] = self.random.random() < 0.6
            if op == "settle":
                self.entries.append(key)
        elif op == "reverse":
            command["about"] = self.random.choice([*self.entries[-40:], "key-none"])
        return command

    def legs(self):
        currency = self.random.choice(("EUR", "EUR", "EUR", "GBP"))
        count = self.random.choice((2, 2, 2, 3, 5))
        names = self.random.sample(NAMES, count)
        amounts = [self.random.randint(-900, 900) or 1 for _ in names[1:]]
        legs = [[name, currency, minor] for name, minor in zip(names[1:], amounts, strict=True)]
        if sum(amounts):
            legs.append([names[0], currency, -sum(amounts)])
        return legs

    def effective(self):
        if self.random.random() < 0.8:
            return None
        return time_text(self.now - timedelta(hours=self.random.randint(0, 2_000)))


class Model:
    """What the commands should do, in the plainest way."""

    def __init__(self):
        self.records = len(ACCOUNTS)
        self.posted = {}
        self.held_in = {}
        self.held_out = {}
        self.done = {}
        self.pending = {}
        self.legs = {}
        self.reversed = set()
        self.closed = ""
        self.recorded = ""

    def carry_out(self, command):
        now = max(command["now"], self.recorded)
        return getattr(self, command["op"])(command, now)

    def post(self, command, now):
        return self.once(command, now, lambda: self.enter(command["key"], command, now))

    def batch(self, command, now):
        if any(len(entry["legs"]) < 2 for entry in command["entries"]):
            return "EntryInvalid"
        before = self.snapshot()
        for entry in command["entries"]:
            whole = {**entry, "op": "post", "memo": command["memo"], "effective": None}
            outcome = self.once(
                whole, now, lambda whole=whole: self.enter(whole["key"], whole, now)
            )
            if outcome != "ok":
                self.restore(before)
                return outcome
        return "ok"

    def reserve(self, command, now):
        def attempt():
            if any(self.foreign(leg) for leg in command["legs"]):
                return "AccountInvalid"
            held = [
                (self.held_in if minor > 0 else self.held_out, name, currency, abs(minor))
                for name, currency, minor in command["legs"]
            ]
            for book, name, currency, minor in held:
                book[name, currency] = book.get((name, currency), 0) + minor
            if self.overdrawn():
                for book, name, currency, minor in held:
                    book[name, currency] -= minor
                return "OverdraftRefused"
            expires = None
            if command["expires_s"] is not None:
                expires = time_text(
                    time_of(command["now"]) + timedelta(seconds=command["expires_s"])
                )
            self.pending[command["key"]] = {"legs": command["legs"], "expires": expires}
            return "ok"

        if len(command["legs"]) < 2:
            return "EntryInvalid"
        if (
            command["key"] not in self.done
            and command["expires_s"] is not None
            and time_text(time_of(command["now"]) + timedelta(seconds=command["expires_s"])) <= now
        ):
            return "EntryInvalid"
        return self.once(command, now, attempt)

    def settle(self, command, now):
        pending = self.pending.get(command["about"])
        if pending is None:
            return "EntryUnknown"
        if command["part"] is not None and len(pending["original"]) != 2:
            return "PendingExceeded"

        def attempt():
            if not pending["legs"]:
                return "PendingAlreadyResolved"
            if pending["expires"] is not None and pending["expires"] <= now:
                return "PendingExpired"
            part = command["part"]
            if part is None:
                legs = pending["legs"]
            else:
                if part > abs(pending["legs"][0][2]):
                    return "PendingExceeded"
                legs = [
                    [name, currency, part if minor > 0 else -part]
                    for name, currency, minor in pending["legs"]
                ]
            rest = [
                [name, currency, minor - part_minor]
                for (name, currency, minor), (_, _, part_minor) in zip(
                    pending["legs"], legs, strict=True
                )
            ]
            self.let_go(pending["legs"])
            self.add(legs)
            rest = [leg for leg in rest if leg[2]] if command["keep"] else []
            for name, currency, minor in rest:
                book = self.held_in if minor > 0 else self.held_out
                book[name, currency] = book.get((name, currency), 0) + abs(minor)
            pending["legs"] = rest
            self.legs[command["key"]] = legs
            return "ok"

        return self.once(command, now, attempt)

    def void(self, command, now):
        pending = self.pending.get(command["about"])
        if pending is None:
            return "EntryUnknown"

        def attempt():
            if not pending["legs"]:
                return "PendingAlreadyResolved"
            self.let_go(pending["legs"])
            pending["legs"] = []
            return "ok"

        return self.once(command, now, attempt)

    def expire(self, command, now):
        for pending in self.pending.values():
            if pending["legs"] and pending["expires"] and pending["expires"] <= command["now"]:
                self.let_go(pending["legs"])
                pending["legs"] = []
                self.records += 1
                self.recorded = now
        return "ok"

    def reverse(self, command, now):
        if command["about"] not in self.done:
            return "EntryUnknown"

        def attempt():
            legs = self.legs.get(command["about"])
            if legs is None or command["about"] in self.reversed:
                return "ReversalRefused"
            mirrored = [[name, currency, -minor] for name, currency, minor in legs]
            if now < self.closed:
                return "PeriodClosed"
            self.add(mirrored)
            if self.overdrawn():
                self.add(legs)
                return "OverdraftRefused"
            self.reversed.add(command["about"])
            return "ok"

        return self.once(command, now, attempt)

    def close(self, command, now):
        def attempt():
            end = time_text(time_of(command["now"]) - timedelta(days=60))
            if self.closed and end <= self.closed:
                return "PeriodClosed"
            self.closed = end
            return "ok"

        return self.once(command, now, attempt)

    def once(self, command, now, attempt):
        key = command["key"]
        if key in self.done:
            return "ok" if self.done[key] == command["memo"] else "IdempotencyConflict"
        outcome = attempt()
        if outcome == "ok":
            self.done[key] = command["memo"]
            self.records += 1
            self.recorded = now
            if command["op"] == "reserve":
                self.pending[key]["original"] = command["legs"]
        return outcome

    def enter(self, key, command, now):
        legs = command["legs"]
        if len(legs) < 2:
            return "EntryInvalid"
        if (command["effective"] or now) < self.closed:
            return "PeriodClosed"
        if any(self.foreign(leg) for leg in legs):
            return "AccountInvalid"
        self.add(legs)
        if self.overdrawn():
            self.add([[name, currency, -minor] for name, currency, minor in legs])
            return "OverdraftRefused"
        self.legs[key] = legs
        return "ok"

    def foreign(self, leg):
        return leg[0] == POUNDS_ONLY and leg[1] != "GBP"

    def add(self, legs):
        for name, currency, minor in legs:
            self.posted[name, currency] = self.posted.get((name, currency), 0) + minor

    def let_go(self, legs):
        for name, currency, minor in legs:
            (self.held_in if minor > 0 else self.held_out)[name, currency] -= abs(minor)

    def overdrawn(self):
        for name in PROTECTED:
            for currency in ("EUR", "GBP"):
                posted = self.posted.get((name, currency), 0)
                if name.startswith("Assets"):
                    left = posted - self.held_out.get((name, currency), 0)
                else:
                    left = -posted - self.held_in.get((name, currency), 0)
                if left < 0:
                    return True
        return False

    def snapshot(self):
        books = (self.posted, self.held_in, self.held_out, self.done, self.legs)
        return [dict(book) for book in books], self.records, self.recorded

    def restore(self, before):
        books, self.records, self.recorded = before
        self.posted, self.held_in, self.held_out, self.done, self.legs = books
