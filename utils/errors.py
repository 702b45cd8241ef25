"""Mistakes that the user can mend, told in one sentence and with exit code 2."""

import argparse
import sys
from typing import NoReturn


class UserError(ValueError):
    """A mistake of the user: the message is one sentence that says what was given, what is allowed and what to do."""


class OneLineParser(argparse.ArgumentParser):
    """A parser that ends bad input with one sentence and exit code 2, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def exit_with(program: str, error: UserError) -> NoReturn:
    """Print ``<program>: error: <sentence>`` to stderr and end with exit code 2.

    Args:
        program: name of the script, for example ``eval.py``.
        error: what went wrong; line breaks in its message become spaces.

    Raises:
        SystemExit: always, with code 2.
    """
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)
