"""Who may what: six roles of people, deny by default. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.StrEnum):
    """What a person is to the co-op. A person may be several things."""

    MEMBER = "member"
    BOARD = "board"
    SUPPLIER = "supplier"
    REQUESTER = "requester"
    AUDITOR = "auditor"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can sign in.

    Args:
        person_id: Random name used everywhere inside.
        email: Address for links and notices, in lower case.
        name: As the person wants to be called.
        household: Pseudonym of the home, for members.
        roles: What the person is.
        supplier: Which supplier the person acts for, with the supplier role.
    """

    person_id: str
    email: str
    name: str
    household: str | None
    roles: frozenset[Role]
    supplier: str | None = None

    def has(self, *wanted: Role) -> bool:
        """Whether the person has at least one of the roles."""
        return not self.roles.isdisjoint(wanted)
