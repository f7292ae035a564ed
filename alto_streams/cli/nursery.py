"""Starts workers by forking: what they all import is imported once, and shared.

A worker's imports take over a second of CPU, and one machine starts a dozen workers. This process imports, waits for
lines of JSON on its standard input, `{"name", "arguments", "env", "log"}`, and forks an `alto-streams` command for
each. It answers with `{"started": pid}` in the order of the lines, and with `{"ended": pid, "code": n}` as they end. It
has no threads and runs no event loop, so a fork finds nothing half done; it ends with its input.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import sys
from typing import Any, NoReturn

from alto_streams.cli import run_command
from alto_streams.settings import settings

_answers = 1  # where they go
PRELOADED = ("alto_streams.app", "alto_streams.gateway", "faust.cli.faust", "uvicorn")


def main() -> None:
    """Fork for each line until the input ends."""
    global _answers
    _answers = os.dup(1)
    os.dup2(2, 1)  # what a module prints as it is imported is no answer
    pipelines = (name.partition(":")[0] for name in os.environ.get("ALTO_PIPELINES", "").split(","))
    for module in (*PRELOADED, *filter(None, pipelines)):
        with contextlib.suppress(Exception):  # the worker that needs it will say what is wrong
            importlib.import_module(module.strip())
    sys.stdout.flush()  # else each fork would write it once more
    gc.collect()
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pending = b""
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _tell_ended()
        if 0 in ready:
            read = os.read(0, 65_536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                _start(json.loads(line), (wake_read, wake_write))


def _start(wanted: dict[str, Any], inherited: tuple[int, int]) -> None:
    pid = os.fork()
    if pid == 0:
        for descriptor in (*inherited, _answers):
            os.close(descriptor)
        _become(wanted)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    _answer({"started": pid})


def _become(wanted: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
            comm.write(f"alto {wanted['name']}"[:15])  # so that ps and top tell them apart
        os.environ.update(wanted["env"])
        random.seed()
        settings.cache_clear()
        sys.argv = ["alto-streams", *wanted["arguments"]]
        code = run_command(wanted["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _tell_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _answer({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _answer(said: dict[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(_answers, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
