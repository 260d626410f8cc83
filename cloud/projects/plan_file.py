"""A project file that came over the web, read within tighter bounds than one on a disk."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from cloud.errors import BadInput, FieldFault
from solar_fund.errors import FundError

if TYPE_CHECKING:
    from solar_fund.projects.project_plan import ProjectPlan

PLAN_BYTES_MAX = 64 * 1024
ARRAYS_MAX = 20
RESERVED_IDS = frozenset({"new", "files", "votes"})

PROJECT_ID_PATTERN = r"[a-z0-9][a-z0-9-]{0,39}"

_PROJECT_ID = re.compile(PROJECT_ID_PATTERN)


def read_plan(plan_text: str, otherwise_id: str = "project") -> ProjectPlan:
    """Read a project file that came over the web.

    Raises:
        BadInput: It is too long, no TOML, or lacks something; the key is named.
    """
    # pvlib takes seconds and 60 MB to load, which a server without projects need not spend.
    from solar_fund.projects.project_file import parse_project  # noqa: PLC0415 - pvlib is heavy

    if len(plan_text.encode()) > PLAN_BYTES_MAX:
        raise plan_fault(f"is longer than {PLAN_BYTES_MAX} bytes")
    try:
        plan = parse_project(tomllib.loads(plan_text), otherwise_id=otherwise_id)
    except FundError as fault:
        raise plan_fault(str(fault)) from fault
    except tomllib.TOMLDecodeError as fault:
        raise plan_fault(f"is no TOML: {fault}") from fault
    except (ArithmeticError, RecursionError, ValueError) as fault:
        raise plan_fault("holds something no project file has") from fault
    if not _PROJECT_ID.fullmatch(plan.project_id) or plan.project_id in RESERVED_IDS:
        raise plan_fault(
            f"id is {plan.project_id[:50]!r}: use 1 to 40 small letters, digits and hyphens"
        )
    if len(plan.arrays) > ARRAYS_MAX:
        raise plan_fault(f"has {len(plan.arrays)} arrays: join them to {ARRAYS_MAX} at most")
    return plan


def short_name(name: str) -> str:
    """A name in addresses, from a title."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "project"


def plan_fault(problem: str) -> BadInput:
    """Say what is wrong with a project file."""
    text = f"project file: {problem}"
    return BadInput(text, faults=(FieldFault(pointer="/project_file", problem=text),))
