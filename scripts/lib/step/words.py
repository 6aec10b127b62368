"""Splits a command that a user gives as one text into words, as a shell does."""

import shlex

from lib.step.errors import UserError


def words(command: str, where: str) -> list[str]:
    """The words of `command`. Raises UserError, which names `where` it stands, when a quote in it is not closed."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UserError(
            f"{where} is not a valid command: {command!r} has {str(error)[:1].lower()}{str(error)[1:]}"
        ) from None
