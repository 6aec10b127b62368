"""What Ctrl-C does to a step before it begins: it ends, without the traceback of whatever it was importing.

Imports nothing but the standard library.
"""

import signal
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent.parent


def interrupts_end() -> None:
    """Let Ctrl-C end this process at once if it is a step; another program that imports `lib` is left as it is."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    is_step = file is not None and Path(file).resolve().parent == SCRIPTS
    if is_step and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupts_raise() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, so that a step can tidy up."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
