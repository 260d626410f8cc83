"""Letters: written with their cause, sent once, tried again, and given up in the end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import func, select

from cloud.notices.mailers import ConsoleMailer, MailFault, SmtpMailer, mailer_for
from cloud.notices.ports import Letter
from cloud.notices.repository import notices
from cloud.notices.usecases import TRIES_MAX, send_due_letters, write_letter
from cloud.settings import MailSettings
from tests.cloud.coop_builder import Postbox
from tests.ports import free_port

LETTER = Letter(to="ada@example.org", subject="Grüße", text="Guten Tag, Ada.\n")


class BrokenPost:
    def __init__(self) -> None:
        self.tries = 0

    def send(self, letter: Letter) -> None:
        self.tries += 1
        raise MailFault("nobody answers")


def write(coop, now=None, **limits):
    with coop.services.database.transaction() as connection:
        write_letter(connection, LETTER, now=now or coop.clock(), **limits)


def waiting(coop):
    with coop.services.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(notices))


def test_a_letter_is_sent_once_and_then_forgotten(coop):
    # Written for tomorrow, so that the server's own post clerk leaves it alone.
    now = coop.clock() + timedelta(days=1)
    write(coop, now)
    post = Postbox()
    for _ in range(2):
        send_due_letters(coop.services.database, post, now)
    assert post.letters == [LETTER]
    assert waiting(coop) == 0


def test_of_two_clerks_who_see_the_same_letter_one_sends_it(coop):
    now = coop.clock() + timedelta(days=1)
    write(coop, now)
    second = Postbox()

    class SlowPost(Postbox):
        def send(self, letter: Letter) -> None:
            send_due_letters(coop.services.database, second, now)
            super().send(letter)

    first = SlowPost()
    send_due_letters(coop.services.database, first, now)
    assert (first.letters, second.letters) == ([LETTER], [])


def test_a_letter_that_fails_waits_longer_each_time_and_is_given_up_in_the_end(coop):
    post = BrokenPost()
    # Written for tomorrow, so that the server's own post clerk leaves it alone.
    database, now = coop.services.database, coop.clock() + timedelta(days=1)
    write(coop, now)
    send_due_letters(database, post, now)
    send_due_letters(database, post, now + timedelta(seconds=29))
    assert post.tries == 1
    for number in range(1, TRIES_MAX + 3):
        now += timedelta(seconds=30 * 2**number)
        send_due_letters(database, post, now)
    assert post.tries == TRIES_MAX
    assert waiting(coop) == 0


def test_a_letter_that_is_useless_by_now_is_not_sent(coop):
    # Written for tomorrow, so that the server's own post clerk leaves it alone.
    now = coop.clock() + timedelta(days=1)
    late = now + timedelta(minutes=15)
    write(coop, now, useless_after=late)
    post = Postbox()
    assert send_due_letters(coop.services.database, post, late) == 0
    assert (post.letters, waiting(coop)) == ([], 0)


def test_letters_arrive_at_a_real_smtp_server():
    class Inbox:
        def __init__(self) -> None:
            self.letters = []

        async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
            self.letters.append((envelope.rcpt_tos, envelope.content))
            return "250 OK"

    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        settings = MailSettings(
            smtp_host="127.0.0.1",
            smtp_port=controller.port,
            smtp_tls="none",
            sender="c@example.org",
        )
        SmtpMailer(settings).send(LETTER)
    finally:
        controller.stop()
    ((to, content),) = inbox.letters
    assert to == ["ada@example.org"]
    assert b"Guten Tag, Ada." in content


def test_a_mail_server_that_is_not_there_is_a_fault_that_names_it():
    settings = MailSettings(smtp_host="127.0.0.1", smtp_port=free_port(), smtp_tls="none")
    with pytest.raises(MailFault, match=r"127\.0\.0\.1"):
        SmtpMailer(settings).send(LETTER)


def test_without_a_mail_server_letters_are_printed(capsys):
    mailer = mailer_for(MailSettings())
    assert isinstance(mailer, ConsoleMailer)
    mailer.send(LETTER)
    assert "Guten Tag, Ada." in capsys.readouterr().err


@pytest.mark.parametrize("line", ["a\nBcc: x@example.org", "a\r\nX: y"])
def test_a_name_cannot_smuggle_headers_into_a_letter(line):
    settings = MailSettings(smtp_host="127.0.0.1", smtp_port=1, smtp_tls="none")
    with pytest.raises(MailFault, match="cannot be written"):
        SmtpMailer(settings).send(Letter(to="a@b", subject=line, text=""))
