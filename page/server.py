"""Starts the page: on this machine alone unless told, without a word to anyone else, with files of one folder only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")
LARGEST_UPLOAD = "50mb"
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO_FONTS = ["ui-monospace", "SFMono-Regular", "Consolas", "Liberation Mono", "monospace"]


@contextmanager
def serving(folder: Path, host: str, port: int | None) -> Iterator[str]:
    """Serve the page while the block runs.

    Args:
        folder: pictures, uploads and caches lie in it; made where it is missing.
        host: the address to listen on.
        port: None takes the first free one from 7860 on.

    Yields:
        The address of the page.

    Raises:
        OSError: the port is taken.
    """
    _prepare(folder)
    import gradio as gr

    from page.layout import build
    from page.maker import Maker

    maker = Maker(folder)
    page = build(maker)
    theme = gr.themes.Soft(font=FONTS, font_mono=MONO_FONTS)
    try:
        _, address, _ = page.queue(default_concurrency_limit=1).launch(
            server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True, footer_links=[],
            run_history=False, enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
            allowed_paths=[str(folder)], max_file_size=LARGEST_UPLOAD, theme=theme, css_paths=STYLE,
        )  # fmt: skip
        yield address
    finally:
        page.close()
        maker.close()


def _prepare(folder: Path) -> None:
    """Make the folder, and tell gradio, before it is imported, to stay in it and to call nobody."""
    hidden = folder / ".page"
    hidden.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(hidden / "uploads"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    os.environ.setdefault("DIFFUSION_SYNC_CACHE", str(hidden / "cache"))
    os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")  # gradio asks itself whether it answers
