"""How much memory a limit of the shell leaves, asked before anything is imported that takes some.

Imports nothing but the standard library. NumPy, OpenCV and onnxruntime map a few hundred MB as they are imported; with
less they end in a traceback, or wait forever for a thread that was never started.
"""

import resource
import sys

# What may be limited, the option of the shell's ulimit, and the MB below which some step's imports fail or hang (seen
# on two cores, with a quarter to spare).
LIMITS = ((resource.RLIMIT_AS, "-v", 640), (resource.RLIMIT_DATA, "-d", 320))


def demand_memory() -> None:
    """End the process with a sentence and code 2 where a limit leaves no step enough to begin."""
    for limit, option, needed in LIMITS:
        allowed = resource.getrlimit(limit)[0]
        if allowed != resource.RLIM_INFINITY and allowed < needed << 20:
            print(
                f"error: ulimit {option} allows {allowed >> 20} MB of memory, and no step begins with less than "
                f"{needed} MB; raise it, or `ulimit {option} unlimited`",
                file=sys.stderr,
            )
            sys.exit(2)
