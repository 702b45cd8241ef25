"""A page to make pictures with, in the browser: python app.py, then open the address that it says."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from utils.console import say
from utils.errors import OneLineParser, UserError, exit_with, tell_interrupts


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is interrupted.

    Raises:
        SystemExit: code 2 for a mistake of the user, told in one sentence.
    """
    parser = OneLineParser(prog="app.py", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in [127.0.0.1]")
    parser.add_argument("--port", type=int, help="port to listen on [the first free one from 7860 on]")
    parser.add_argument("--save_top_dir", default="results/page", help="folder of all that is made [results/page]")
    args = parser.parse_args(argv)
    try:
        if args.port is not None and not 1 <= args.port <= 65535:
            raise UserError(f"--port {args.port} is out of range: give 1 to 65535.")
        return serve(Path(args.save_top_dir).resolve(), args.host, args.port)
    except UserError as error:
        exit_with("app.py", error)
    except KeyboardInterrupt:
        say("app.py: stopped")
        return 130


def serve(folder: Path, host: str, port: int | None) -> int:
    """Serve the page until it is interrupted.

    Raises:
        UserError: gradio is missing, or the folder or the port cannot be used.
    """
    try:
        from page.server import serving

        with serving(folder, host, port) as address:
            say(f"The page is at {address} (pictures go to {folder}; to end it: Ctrl-C)")
            threading.Event().wait()
    except ModuleNotFoundError as error:
        raise UserError(f"the page needs {error.name}: pip install -r requirements-page.txt, or make page.") from error
    except OSError as error:
        raise UserError(f"the page cannot be served ({error}): choose another --port or --save_top_dir.") from error
    return 0


if __name__ == "__main__":
    tell_interrupts("app.py")
    sys.exit(main())
