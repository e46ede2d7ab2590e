"""Waiting for a condition, with a limit."""

import sys
import time

WAIT_S = 30.0


def wait_for(what, condition, limit_s=WAIT_S, screen=lambda: "", pause_s=0.1):
    """The first true result of `condition`. Ends the script after `limit_s` without one, with what `screen`
    returns."""
    end = time.monotonic() + limit_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            sys.exit(f"FAILED: waited {limit_s:.0f} s in vain for {what}\n{screen()}".rstrip())
        time.sleep(pause_s)
