"""Bank account numbers: checked where they come in, masked wherever people read them."""

from dataclasses import dataclass

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from solar_fund.errors import AccountNumberInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccount:
    """An account number whose length, characters and check digits are right.

    Attributes:
        iban: Without spaces.
        bic: The bank's identifier, where the registry knows it.
    """

    iban: str
    bic: str | None

    @property
    def masked(self) -> str:
        """Country, check digits and the last four characters only."""
        return mask_iban(self.iban)


def mask_iban(text: str) -> str:
    """An account number as messages and logs may show it."""
    compact = text.replace(" ", "")
    return f"{compact[:4]}…{compact[-4:]}" if len(compact) > 12 else "…"


def check_iban(text: str) -> BankAccount:
    """Check an account number by its country's rules.

    National check digits are verified too where the country has them, but not the German ones:
    there each bank chooses its own method and may change it, so a mismatch proves nothing.

    Raises:
        AccountNumberInvalid: Some rule is broken; the number is masked in the message.

    Source: ISO 13616, with the registry that ships with schwifty.
    """
    try:
        iban = IBAN(text, validate_bban=not text.strip().upper().startswith("DE"))
    except (SchwiftyException, ValueError) as error:
        problem = str(error).replace(text, mask_iban(text)) or type(error).__name__
        raise AccountNumberInvalid(mask_iban(text), problem) from None
    bic = iban.bic
    return BankAccount(iban=str(iban), bic=None if bic is None else str(bic))
