"""Which figures a template stands for, and how much noise they get. Pure.

The longest vector that one home may add is fixed here from a public reference and never from the
members: a home of `REFERENCE_WH_PER_YEAR`, its use spread evenly over all hours, times
`REFERENCE_MARGIN` for larger and less even homes. What a home has above that is cut off, so sums
over homes that use much more come out somewhat low; a larger margin would mean more noise instead.

Source: 3,500 kWh a year is the household of band DC in Eurostat's electricity prices (2,500 to
5,000 kWh), near its middle.
"""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction

import numpy as np

from cloud.data_requests.proposal import ProposalText, Template
from cloud.profiles.coarsening import noised_cuts
from cloud.profiles.noise import epsilon_of, noise_deviation_wh
from cloud.profiles.noised_release import RHO_PER_YEAR, NoiseWanted

REFERENCE_WH_PER_YEAR = 3_500_000
REFERENCE_MARGIN = 2
RHO_PER_REQUEST = RHO_PER_YEAR / 2
"""Half of a home's yearly budget: two requests on the same year, and then no more."""

STEP_S = 3600
CUT: dict[Template, str] = {
    Template.TYPICAL_DAY: "month-hour",
    Template.TIME_OF_USE: "month-band",
    Template.MONTHLY: "month",
    Template.ANNUAL: "year",
}
_YEAR = timedelta(days=365)


def noise_of(text: ProposalText) -> NoiseWanted:
    """How much noise the figures of a proposal get; it follows from the text alone."""
    cut = CUT[text.template]
    return NoiseWanted(
        cut=cut, rho=RHO_PER_REQUEST, length_max_wh=_length_max_wh(cut, _years_of(text))
    )


def deviation_wh(text: ProposalText) -> float:
    """Standard deviation of the noise on each figure [Wh]."""
    wanted = noise_of(text)
    return noise_deviation_wh(wanted.length_max_wh, wanted.rho)


def epsilon_per_request() -> float:
    """The budget of one request as epsilon at a delta of one in a million."""
    return epsilon_of(RHO_PER_REQUEST)


def _years_of(text: ProposalText) -> Fraction:
    period = text.period_end - text.period_start
    return Fraction(int(period.total_seconds()), int(_YEAR.total_seconds()))


def _length_max_wh(cut: str, years: Fraction) -> int:
    """Length of the reference home's vector: even use, by the share of hours in each figure."""
    labels = noised_cuts()[cut].labels
    # A cell of the typical day holds as many hours as its month has days of its type.
    days = np.array([5 / 7, 2 / 7])
    weight = np.tile(np.repeat(days, 24), 12) / (12 * 24)
    shares = np.bincount(labels, weights=weight)
    length = math.sqrt(float((shares**2).sum()))
    return math.ceil(REFERENCE_WH_PER_YEAR * REFERENCE_MARGIN * float(years) * length)
