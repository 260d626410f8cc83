"""The text of an election file, whatever program saved it."""

from pathlib import Path

from solar_fund.errors import ElectionFileInvalid


def read_election_text(path: Path, *, bytes_max: int) -> str:
    """Read a file as UTF-8, or as what older programs write.

    Raises:
        ElectionFileInvalid: The file cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > bytes_max:
            raise ElectionFileInvalid(
                str(path), 0, f"{size} bytes are more than the limit of {bytes_max}"
            )
        written = path.read_bytes()
    except OSError as error:
        raise ElectionFileInvalid(str(path), 0, f"cannot be read: {error.strerror}") from None
    try:
        return written.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Older files are in the Windows encoding of western Europe, where figures are the same.
        return written.decode("cp1252", errors="replace")
