"""What a program says on its terminal. A stream that cannot take it never stops the work."""

import contextlib
import os
import sys
from typing import TextIO


def say(*lines: str) -> None:
    """Print lines to stdout and flush them.

    Characters that the stream's encoding lacks are escaped with backslashes. A reader that has left, a full device or a
    closed stream silences the stream; it is no error.
    """
    _write(sys.stdout, lines)


def complain(*lines: str) -> None:
    """Print lines to stderr, as :func:`say` does to stdout."""
    _write(sys.stderr, lines)


def _write(stream: TextIO | None, lines: tuple[str, ...]) -> None:
    if stream is None:  # it was closed before the program began
        return
    text = "".join(f"{line}\n" for line in lines)
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Send what the stream still holds nowhere, and all that follows: Python would fail on it again at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
