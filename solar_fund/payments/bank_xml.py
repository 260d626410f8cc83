"""Safe reading of the bank's XML: no entities, no external references, bounded size."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from solar_fund.errors import BankFileInvalid

FILE_BYTES_MAX = 50_000_000

_NAMESPACE = re.compile(
    r"\{urn:iso:std:iso:20022:tech:xsd:((?:camt|pain)\.[0-9]{3})\.[0-9]{3}\.[0-9]{2}\}Document"
)


@dataclass(frozen=True, slots=True)
class BankMessage:
    """A parsed message.

    Attributes:
        kind: For example `camt.053`.
        root: Its document.
        prefix: Namespace in braces, to be put before element names.
        sha256: Hash of the file, in hexadecimal.
    """

    kind: str
    root: Element
    prefix: str
    sha256: str

    def each(self, parent: Element, path: str) -> Iterator[Element]:
        """All elements at a path below a parent."""
        return iter(parent.findall(self._full(path)))

    def text(self, parent: Element, path: str) -> str | None:
        """Text of the first element at a path; None if it is missing or empty."""
        found = parent.find(self._full(path))
        text = None if found is None else (found.text or "").strip()
        return text or None

    def element(self, parent: Element, path: str) -> Element | None:
        """The first element at a path."""
        return parent.find(self._full(path))

    def _full(self, path: str) -> str:
        return "/".join(f"{self.prefix}{part}" for part in path.split("/"))


def read_message(content: bytes) -> BankMessage:
    """Parse a bank's message and find out what kind it is.

    Raises:
        BankFileInvalid: It is too large, no well-formed XML, holds entities or a document type, or
            is no ISO 20022 message of camt or pain.
    """
    if len(content) > FILE_BYTES_MAX:
        raise BankFileInvalid("", f"it is larger than {FILE_BYTES_MAX} bytes")
    try:
        root = fromstring(content, forbid_dtd=True)
    except ParseError as error:
        line, column = error.position
        raise BankFileInvalid(f"line {line}, column {column}", "it is no well-formed XML") from None
    except (DefusedXmlException, LookupError, ValueError) as error:
        raise BankFileInvalid("", f"it is refused: {type(error).__name__}") from None
    match = _NAMESPACE.fullmatch(root.tag)
    if match is None:
        raise BankFileInvalid(
            "root element", f"{root.tag[:80]!r} is no ISO 20022 document of camt or pain"
        )
    return BankMessage(
        kind=match.group(1),
        root=root,
        prefix=root.tag.removesuffix("Document"),
        sha256=hashlib.sha256(content).hexdigest(),
    )
