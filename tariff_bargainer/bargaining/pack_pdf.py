"""A page of HTML printed as PDF, by WeasyPrint where the `pdf` extra is installed."""

from typing import Any, Never

from tariff_bargainer.errors import MissingExtra


def html_to_pdf(html: str) -> bytes:
    """Print a page as PDF; nothing outside the page is fetched, neither files nor addresses.

    Args:
        html: The page, complete with its styles.

    Raises:
        MissingExtra: WeasyPrint, or a library of the system that it needs, is not installed.
    """
    try:
        from weasyprint import HTML  # noqa: PLC0415 - an optional extra, and slow to import
    except (ImportError, OSError) as missing:
        raise MissingExtra(extra="pdf", use="printing a PDF") from missing
    printed: bytes = HTML(string=html, url_fetcher=_fetch_nothing).write_pdf()
    return printed


def _fetch_nothing(url: str, *_: Any, **__: Any) -> Never:
    raise ValueError(url)
