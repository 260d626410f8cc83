"""What a legal form allows, as settings; the rules of the place still have to be read.

Sources: UK Co-operatives handbook 6.3 and the FCA's guidance on community benefit societies (all
profit for the community, interest on shares is a cost); Community Shares handbook (withdrawable
shares at par, limit of GBP 100,000 for individuals, withdrawal at the directors' discretion); US
electric co-operatives' bylaws, article VII (capital credits by patronage, no interest, small sums
carried over).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from solar_fund.errors import DistributionRefused
from solar_fund.money import Money


class LegalForm(StrEnum):
    """Forms that a cooperative energy fund takes."""

    COOPERATIVE = "co-operative"
    BENCOM = "bencom"
    US_COOP = "us-co-op"


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalRules:
    """What a form allows.

    Attributes:
        form: Which one.
        patronage_dividend: Whether surplus may be paid to members by their use.
        surplus_as_capital_credits: Whether surplus is allocated to capital instead of paid out.
        interest_rate_max: Highest yearly interest on members' capital.
        capital_max_minor: Most one member may hold, by currency [minor units].
        payout_min_minor: Smaller sums are carried over, by currency [minor units].
    """

    form: LegalForm
    patronage_dividend: bool
    surplus_as_capital_credits: bool
    interest_rate_max: Decimal
    capital_max_minor: Mapping[str, int] = field(default_factory=dict)
    payout_min_minor: Mapping[str, int] = field(default_factory=dict)

    def check_capital(self, member_id: str, held: Money) -> None:
        """Refuse more capital than one member may hold.

        Raises:
            DistributionRefused: The limit of the form is exceeded.
        """
        limit_minor = self.capital_max_minor.get(held.currency)
        if limit_minor is not None and held.amount_minor > limit_minor:
            limit = Money(limit_minor, held.currency)
            raise DistributionRefused(
                f"member {member_id!r} would hold {held}, the limit of a {self.form} is {limit}"
            )


RULES: Mapping[LegalForm, LegalRules] = {
    LegalForm.COOPERATIVE: LegalRules(
        form=LegalForm.COOPERATIVE,
        patronage_dividend=True,
        surplus_as_capital_credits=False,
        interest_rate_max=Decimal("0.03"),
        capital_max_minor={"GBP": 10_000_000},
    ),
    LegalForm.BENCOM: LegalRules(
        form=LegalForm.BENCOM,
        patronage_dividend=False,
        surplus_as_capital_credits=False,
        interest_rate_max=Decimal("0.03"),
        capital_max_minor={"GBP": 10_000_000},
    ),
    LegalForm.US_COOP: LegalRules(
        form=LegalForm.US_COOP,
        patronage_dividend=True,
        surplus_as_capital_credits=True,
        interest_rate_max=Decimal(0),
        payout_min_minor={"USD": 1_000},
    ),
}
"""The rules of each form. The interest ceiling of 3 % is this project's cautious default."""
