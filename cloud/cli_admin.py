"""Commands of `coop-cloud` for the operator: people and claim codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_faults import one_line_errors

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cloud.settings import Settings

member_app = typer.Typer(no_args_is_help=True, help="People who can sign in.")
claim_app = typer.Typer(no_args_is_help=True, help="Gateways of the homes.")

DataDir = Annotated[Path, typer.Option("--data", help="Folder that holds everything.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def writing(data: Path) -> Iterator[tuple[Settings, Connection]]:
    """A transaction beside a running server; our own errors are one line and exit code 2."""
    with one_line_errors():
        from cloud.app import open_database
        from cloud.settings import load_settings

        settings = load_settings(data)
        with (
            closing(open_database(settings)) as database,
            database.transaction() as connection,
        ):
            yield settings, connection


@member_app.command("add")
def member_add(
    email: Annotated[str, typer.Argument(help="Address for sign-in links.")],
    name: Annotated[str, typer.Option(help="As the person wants to be called.")],
    data: DataDir = Path("commonwatt-data"),
    role: Annotated[
        list[str] | None,
        typer.Option(help="member, board, supplier, requester, auditor or operator; repeat."),
    ] = None,
    household: Annotated[
        str | None, typer.Option(help="Join this household instead of a new one.")
    ] = None,
    supplier: Annotated[str | None, typer.Option(help="Which supplier the person is of.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Add a person; a member without --household gets a new one.

    Example: coop-cloud member add ada@example.org --name Ada --role member --role board
    """
    from datetime import UTC, datetime

    from cloud.errors import BadInput
    from cloud.members.roles import Role
    from cloud.members.usecases import add_household, add_person

    with writing(data) as (_settings, connection):
        try:
            roles = [Role(item) for item in role or ["member"]]
        except ValueError as fault:
            raise BadInput(f"--role: {fault}; use one of {', '.join(Role)}") from fault
        now = datetime.now(UTC)
        if Role.MEMBER in roles and household is None:
            household = add_household(connection, label=f"Home of {name}", now=now)
        person = add_person(
            connection,
            email=email,
            name=name,
            roles=roles,
            household=household,
            supplier=supplier,
            now=now,
        )
    if as_json:
        print(
            json.dumps(
                {
                    "person_id": person.person_id,
                    "household": person.household,
                    "roles": sorted(person.roles),
                }
            )
        )
    else:
        home = f", household {person.household}" if person.household else ""
        print(f"{person.name} is {', '.join(sorted(person.roles))}{home}")


@member_app.command("link")
def member_link(
    email: Annotated[str, typer.Argument(help="Whom to sign in.")],
    data: DataDir = Path("commonwatt-data"),
    *,
    as_json: AsJson = False,
) -> None:
    """Make a sign-in link to hand over, for 15 minutes and one use, in any browser.

    Example: coop-cloud member link ada@example.org
    """
    from datetime import UTC, datetime

    from cloud.errors import NotFound
    from cloud.members.repository import person_by_email
    from cloud.members.usecases import make_sign_in_link

    with writing(data) as (settings, connection):
        person = person_by_email(connection, email)
        if person is None:
            raise NotFound(f"person with the address {email}")
        token = make_sign_in_link(
            connection, person_id=person.person_id, browser=None, now=datetime.now(UTC)
        )
        url = f"{settings.base_url}/sign-in/{token}"
    print(json.dumps({"url": url, "token": token}) if as_json else url)


@member_app.command("list")
def member_list(data: DataDir = Path("commonwatt-data"), *, as_json: AsJson = False) -> None:
    """List everybody.

    Example: coop-cloud member list --json
    """
    from cloud.members.repository import all_people

    with writing(data) as (_settings, connection):
        everybody = all_people(connection)
    if as_json:
        print(
            json.dumps(
                {
                    "people": [
                        {
                            "person_id": person.person_id,
                            "name": person.name,
                            "email": person.email,
                            "household": person.household,
                            "roles": sorted(person.roles),
                        }
                        for person in everybody
                    ]
                }
            )
        )
        return
    for person in everybody:
        print(f"{person.name}  {person.email}  {', '.join(sorted(person.roles))}")


@claim_app.command("claim")
def gateway_claim(
    household: Annotated[str, typer.Argument(help="The home's pseudonym.")],
    data: DataDir = Path("commonwatt-data"),
    *,
    as_json: AsJson = False,
) -> None:
    """Make a claim code that pairs one gateway with a home, for 15 minutes.

    Example: coop-cloud gateway claim h-0123456789abcdef
    """
    from datetime import UTC, datetime

    from cloud.gateways.usecases import make_claim

    with writing(data) as (_settings, connection):
        code = make_claim(connection, household=household, now=datetime.now(UTC))
    print(json.dumps({"claim_code": code, "household": household}) if as_json else code)
