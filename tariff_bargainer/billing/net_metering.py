"""Net metering: export nets import within a month, and surplus is carried on."""

from dataclasses import dataclass
from fractions import Fraction

from tariff_bargainer.billing.metered_energy import MeteredEnergy
from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.tariffs.tariff import Tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class NetMonth:
    """One month under net metering [currency]."""

    energy: Fraction
    credit: Fraction


def monthly_net_cost(tariff: Tariff, metered: MeteredEnergy) -> list[NetMonth]:
    """Price net energy month by month."""
    raise UnsupportedRate(
        field="metering",
        problem=f"net metering of {tariff.name} over {metered.n_months} months is not there yet",
    )
