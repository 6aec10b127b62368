"""Commands that a user gives as one text, taken apart into words as a shell does."""

import shlex

from lib.step.errors import UserError


def words(command: str, where: str) -> list[str]:
    """The words of `command`. Raises UserError that names `where` it stands, when a quote in it has no end."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UserError(f"{where} is no command: {command!r} has {str(error)[:1].lower()}{str(error)[1:]}") from None
