"""How much noise a request gets follows from its text alone."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from cloud.data_requests.figures import (
    CUT,
    REFERENCE_MARGIN,
    REFERENCE_WH_PER_YEAR,
    RHO_PER_REQUEST,
    deviation_wh,
    noise_of,
)
from cloud.data_requests.proposal import ProposalText, Template
from cloud.profiles.coarsening import noised_cuts
from cloud.profiles.noised_release import RHO_PER_YEAR
from tests.cloud.data_requests.request_builder import BODY, PERIOD_START

YEAR = msgspec.convert(
    BODY | {"period_end": (PERIOD_START + timedelta(days=365)).isoformat()}, type=ProposalText
)


def of(template: Template) -> ProposalText:
    return msgspec.structs.replace(YEAR, template=template)


def test_one_sum_over_a_year_may_hold_twice_the_reference_home() -> None:
    wanted = noise_of(of(Template.ANNUAL))

    assert wanted.length_max_wh == REFERENCE_WH_PER_YEAR * REFERENCE_MARGIN
    expected = REFERENCE_WH_PER_YEAR * REFERENCE_MARGIN / math.sqrt(2 * float(RHO_PER_REQUEST))
    assert deviation_wh(of(Template.ANNUAL)) == pytest.approx(expected)


def test_twelve_even_months_are_shorter_by_the_root_of_twelve() -> None:
    yearly, monthly = noise_of(of(Template.ANNUAL)), noise_of(of(Template.MONTHLY))

    assert monthly.length_max_wh == pytest.approx(yearly.length_max_wh / math.sqrt(12), rel=1e-6)


def test_more_figures_carry_less_noise_each_but_more_of_what_they_show() -> None:
    deviations = [deviation_wh(of(template)) for template in reversed(Template)]
    relative = [
        deviation_wh(of(template)) * template.cells / REFERENCE_WH_PER_YEAR
        for template in reversed(Template)
    ]

    assert deviations == sorted(deviations, reverse=True)
    assert relative == sorted(relative)


def test_half_a_period_is_half_as_long() -> None:
    half = msgspec.structs.replace(
        YEAR, period_end=YEAR.period_start + (YEAR.period_end - YEAR.period_start) / 2
    )

    assert noise_of(half).length_max_wh == pytest.approx(noise_of(YEAR).length_max_wh / 2, rel=1e-6)


@pytest.mark.parametrize("template", list(Template))
def test_a_template_has_as_many_cells_as_its_cut(template: Template) -> None:
    cut = noised_cuts()[CUT[template]]

    assert len(cut.index) == template.cells
    assert len(np.unique(cut.labels)) == template.cells
    assert cut.labels.max() < template.cells


def test_two_requests_use_up_a_year() -> None:
    assert 2 * RHO_PER_REQUEST == RHO_PER_YEAR
