"""What the outbox of notices needs from the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One e-mail, in plain text.

    Args:
        to: Address.
        subject: Subject line.
        text: Body.
    """

    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """Sends letters."""

    def send(self, letter: Letter) -> None:
        """Send one letter.

        Raises:
            MailFault: It could not be handed over; it stays in the outbox.
        """
        ...
