"""Mistakes that the user can mend, told in one sentence and with exit code 2."""

import argparse
import sys
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from utils.console import complain, say

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class UserError(ValueError):
    """A mistake of the user: the message is one sentence that says what was given, what is allowed and what to do."""


class OneLineParser(argparse.ArgumentParser):
    """A parser that ends bad input with one sentence and exit code 2, without the usage text."""

    def error(self, message: str) -> NoReturn:
        exit_with(self.prog, UserError(message))

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help to ``file``, or to stdout, whatever becomes of that."""
        if file is not None:
            super().print_help(file)
        else:
            say(self.format_help().rstrip("\n"))


def exit_with(program: str, error: UserError) -> NoReturn:
    """Print ``<program>: error: <sentence>`` to stderr and end with exit code 2.

    Args:
        program: name of the script, for example ``eval.py``.
        error: what went wrong; line breaks in its message become spaces.

    Raises:
        SystemExit: always, with code 2.
    """
    complain(f"{program}: error: {' '.join(str(error).split())}")
    sys.exit(2)


def tell_interrupts(program: str) -> None:
    """From now on, end with one line and exit code 130 where Ctrl-C meets nothing that handles it, as in an import."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            complain(f"{program}: stopped")
            sys.exit(130)
        sys.__excepthook__(kind, error, trace)

    sys.excepthook = hook
