"""Turning a template and what it shows into a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from cloud.web import formats
from cloud.web.static_files import StaticFiles


class Pages:
    """Renders the cloud's pages.

    Args:
        coop_name: Shown in the header.
        zone: Time zone of the members.
        currency: ISO 4217 code of the co-op's money.
        demo: Whether to say on every page that all of it is made up.
    """

    def __init__(self, *, coop_name: str, zone: str, currency: str, demo: bool) -> None:
        self.static = StaticFiles()
        self._environment = Environment(
            loader=PackageLoader("cloud.web"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            coop_name=coop_name, zone=zone, currency=currency, demo=demo, asset=self.static.address
        )
        self._environment.filters.update(
            money=lambda amount_minor, decimals=None: formats.money(
                amount_minor, currency, decimals=decimals
            ),
            number=formats.number,
            kwh=formats.kwh,
            percent=formats.percent,
            day=lambda moment: formats.day(moment, zone),
            cents=formats.cents,
            day_and_time=lambda moment: formats.day_and_time(moment, zone),
        )
        self._environment.globals.update(plural=formats.plural, energy=formats.energy)

    def render(
        self, template: str, shown: Mapping[str, Any], *, status_code: int = 200
    ) -> HTMLResponse:
        """Render a page.

        Args:
            template: Name of the template.
            shown: What it shows.
            status_code: HTTP status.
        """
        text = self._environment.get_template(template).render(**shown)
        headers = {"Cache-Control": "no-store"}
        return HTMLResponse(text, status_code=status_code, headers=headers)
