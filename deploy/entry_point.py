"""Where the program ``concord`` begins. Ctrl-C ends it without a word, also while it is still loading."""

import signal


def main() -> None:
    """Loads the command line and runs it."""
    hears_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in a script's background
    if hears_ctrl_c:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deploy.cli import app  # noqa: PLC0415  this is what takes its time

    if hears_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    app()
