"""A plugin of vLLM's, which it loads in each of its processes: an engine core ends with the worker that started it.

vLLM's core waits for calls on a socket, and nothing tells it of a worker that was killed: it would keep the weights,
and on a GPU all of its memory. See vLLM's `docs/design/plugin_system.md`, group `vllm.general_plugins`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

PARENT = "ALTO_VLLM_PARENT"  # in the environment: the process id of the worker


def end_with_parent() -> None:
    """Watch the worker, if one of ours started this process: cores of `vllm serve` are left alone.

    What asks the worker to end (Ctrl-C, a supervisor) asks its whole process group. This leaves it, as the calls that
    run are for the worker to end first: of a core that went before it they would seem to break.
    """
    parent = multiprocessing.parent_process()
    if parent is None or str(parent.pid) != os.environ.get(PARENT):
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
