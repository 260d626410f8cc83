"""What every page has around it: name, menu, who is signed in, and the token for forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from fastapi import Request

from cloud.members.access import SignedIn
from cloud.members.roles import Person, Role
from cloud.security import csrf_token_of
from cloud.web.pages import Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """An entry of the menu."""

    href: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who is signed in, as the header says it."""

    name: str
    role_label: str


MEMBER_MENU = (
    MenuItem(href="/home", label="Home"),
    MenuItem(href="/votes", label="Votes"),
    MenuItem(href="/projects", label="Projects"),
    MenuItem(href="/data-use", label="Data use"),
    MenuItem(href="/fund", label="Solar fund"),
    MenuItem(href="/log", label="Log"),
)
BOARD_MENU = (
    MenuItem(href="/board", label="Negotiations"),
    MenuItem(href="/board/settlements", label="Settlements"),
    MenuItem(href="/fund", label="Solar fund"),
    MenuItem(href="/votes", label="Votes"),
    MenuItem(href="/projects", label="Projects"),
    MenuItem(href="/data-requests", label="Data requests"),
    MenuItem(href="/log", label="Log"),
)
REQUESTER_MENU = (
    MenuItem(href="/data-requests", label="Data requests"),
    MenuItem(href="/log", label="Log"),
)
AUDITOR_MENU = (
    MenuItem(href="/fund", label="Solar fund"),
    MenuItem(href="/votes", label="Votes"),
    MenuItem(href="/projects", label="Projects"),
    MenuItem(href="/data-requests", label="Data requests"),
    MenuItem(href="/log", label="Log"),
)
PUBLIC_MENU = (
    MenuItem(href="/sign-in", label="Sign in"),
    MenuItem(href="/log", label="Log"),
    MenuItem(href="/docs", label="API"),
)


def pages_of(request: Request) -> Pages:
    """The renderer of the application that serves a request."""
    return cast("Pages", request.app.state.pages)


def menu_of(person: Person | None) -> tuple[MenuItem, ...]:
    """The menu for a person; a member of the board who has a home sees both."""
    if person is None:
        return PUBLIC_MENU
    if person.has(Role.BOARD):
        home = (MEMBER_MENU[0],) if person.has(Role.MEMBER) else ()
        return (*BOARD_MENU[:1], *home, *BOARD_MENU[1:])
    if person.has(Role.MEMBER):
        return MEMBER_MENU
    if person.has(Role.AUDITOR):
        return AUDITOR_MENU
    if person.has(Role.REQUESTER):
        return REQUESTER_MENU
    return (MenuItem(href="/fund", label="Solar fund"), MenuItem(href="/log", label="Log"))


def shell(request: Request, session: SignedIn | None) -> dict[str, Any]:
    """What `base.html` needs.

    Args:
        request: Which page is asked for.
        session: Who asks, if anybody is signed in.
    """
    person = session.person if session else None
    menu = menu_of(person)
    path = f"{request.url.path}/"
    inside = [item.href for item in menu if path.startswith(f"{item.href}/")]
    return {
        "menu": menu,
        "here": max(inside, key=len, default=""),
        "person": None if person is None else Who(name=person.name, role_label=_role(person)),
        "csrf_token": csrf_token_of(session.session_token) if session else "",
    }


def is_board(session: SignedIn | None) -> bool:
    """Whether somebody of the board looks at the page."""
    return session is not None and session.person.has(Role.BOARD)


def _role(person: Person) -> str:
    return next(
        (
            role.value
            for role in (Role.BOARD, Role.AUDITOR, Role.OPERATOR, Role.SUPPLIER, Role.REQUESTER)
            if person.has(role)
        ),
        "",
    )
