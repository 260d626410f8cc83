"""Two ways a letter leaves: to the console, for a first try, and by SMTP."""

from __future__ import annotations

import smtplib
import ssl
import sys
from email.message import EmailMessage

from cloud.errors import CloudError
from cloud.notices.ports import Letter
from cloud.settings import MailSettings

SMTP_TIMEOUT_S = 15


class MailFault(CloudError):
    """A letter could not be handed over."""


class ConsoleMailer:
    """Prints letters on stderr, so that a co-op without a mail server can be tried out."""

    def send(self, letter: Letter) -> None:
        """Print one letter."""
        sys.stderr.write(f"--- mail to {letter.to}: {letter.subject}\n{letter.text}\n---\n")
        sys.stderr.flush()


class SmtpMailer:
    """Hands letters to an SMTP server.

    Args:
        settings: Server and sender.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    def send(self, letter: Letter) -> None:
        """Hand over one letter.

        Raises:
            MailFault: The server cannot be reached or refuses, or a header would break.
        """
        message = _message(letter, self._settings.sender)
        try:
            with self._connect() as server:
                if self._settings.smtp_user:
                    server.login(
                        self._settings.smtp_user, self._settings.smtp_password.get_secret_value()
                    )
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as fault:
            raise MailFault(
                f"SMTP server {self._settings.smtp_host}:{self._settings.smtp_port}: {fault}"
            ) from fault

    def _connect(self) -> smtplib.SMTP:
        host, port = self._settings.smtp_host, self._settings.smtp_port
        tls = ssl.create_default_context()
        if self._settings.smtp_tls == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=SMTP_TIMEOUT_S, context=tls)
        server = smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_S)
        if self._settings.smtp_tls == "starttls":
            try:
                server.starttls(context=tls)
            except (OSError, smtplib.SMTPException):
                server.close()
                raise
        return server


def _message(letter: Letter, sender: str) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message.set_content(letter.text)
    except ValueError as fault:
        raise MailFault(f"the letter cannot be written: {fault}") from fault
    return message


def mailer_for(settings: MailSettings) -> ConsoleMailer | SmtpMailer:
    """The mailer that the settings ask for."""
    return SmtpMailer(settings) if settings.smtp_host else ConsoleMailer()
