"""Injectors that hang, crash, flood, leak and vandalise, registered as a third party's are: by an entry point."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from faultlab.catalogue.injection_points import StepCall, StepOutput
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "torture.hang-busy", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def hang_busy(call: Call, ctx: Context) -> Any:
    """Spins for ever."""
    while True:
        pass


@failure_mode(
    "torture.hang-asleep", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def hang_asleep(call: Call, ctx: Context) -> Any:
    """Sleeps for ever and ignores every signal that it may."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(10_000)


@failure_mode("torture.hang-locked", seam=StepCall, severity="minor", effect="raises", cause=("x",),
              no_evidence="a torture", hangs=True)  # fmt: skip
def hang_locked(call: Call, ctx: Context) -> Any:
    """Waits for a lock that nobody will release; declared to be a hang."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@failure_mode(
    "torture.stopped", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def stopped(call: Call, ctx: Context) -> Any:
    """Stops its own process."""
    os.kill(os.getpid(), signal.SIGSTOP)


@failure_mode(
    "torture.segfault", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def segfault(call: Call, ctx: Context) -> Any:
    """Reads address 0."""
    ctypes.string_at(0)


@failure_mode("torture.abort", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture")
def abort(call: Call, ctx: Context) -> Any:
    """Aborts."""
    os.abort()


@failure_mode("torture.killed", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture")
def killed(call: Call, ctx: Context) -> Any:
    """Kills its whole process group."""
    os.killpg(0, signal.SIGKILL)


@failure_mode(
    "torture.exits-0", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def exits_0(call: Call, ctx: Context) -> Any:
    """Leaves at once with status 0."""
    os._exit(0)


@failure_mode(
    "torture.exits-3", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def exits_3(call: Call, ctx: Context) -> Any:
    """Leaves at once with status 3."""
    os._exit(3)


@failure_mode(
    "torture.kills-parent", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def kills_parent(call: Call, ctx: Context) -> Any:
    """Kills the process that watches over it."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(10_000)


@failure_mode("torture.floods", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture")
def floods(call: Call, ctx: Context) -> Any:
    """Prints 64 MB to both streams and goes on."""
    for _ in range(32):
        os.write(1, b"o" * (1 << 20))
        os.write(2, b"e" * (1 << 20))
    return _dropped(call)


@failure_mode("torture.floods-for-ever", seam=StepCall, severity="minor", effect="raises", cause=("x",),
              no_evidence="a torture")  # fmt: skip
def floods_for_ever(call: Call, ctx: Context) -> Any:
    """Prints until it is stopped."""
    while True:
        os.write(1, b"flood\n" * 10_000)


@failure_mode(
    "torture.leaves-child", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def leaves_child(call: Call, ctx: Context) -> Any:
    """Leaves a child that sleeps and holds every pipe open."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9999)  # faultlab-torture"], close_fds=False)
    return _dropped(call)


@failure_mode(
    "torture.leaves-daemon", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def leaves_daemon(call: Call, ctx: Context) -> Any:
    """Leaves a daemon: forked twice, in a session of its own, deaf to SIGTERM."""
    code = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(9999)  # faultlab-torture
"""
    subprocess.run([sys.executable, "-c", code], close_fds=False, check=True)
    return _dropped(call)


@failure_mode(
    "torture.leaves-many", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def leaves_many(call: Call, ctx: Context) -> Any:
    """Forks twenty children that sleep, and then hangs itself."""
    for _ in range(20):
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(9999)  # faultlab-torture"])
    time.sleep(10_000)


@failure_mode(
    "torture.closes-pipes", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def closes_pipes(call: Call, ctx: Context) -> Any:
    """Closes every descriptor, the one that it reports through among them."""
    os.closerange(0, 4096)
    return _dropped(call)


@failure_mode(
    "torture.scribbles", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def scribbles(call: Call, ctx: Context) -> Any:
    """Writes rubbish into every descriptor that it has."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'\x00\xff not json {"result": \n')
        except OSError:
            continue
    return _dropped(call)


@failure_mode(
    "torture.mute-error", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def mute_error(call: Call, ctx: Context) -> Any:
    """Raises an exception whose text raises."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    raise ctx.intended(MuteError())


@failure_mode(
    "torture.huge-error", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def huge_error(call: Call, ctx: Context) -> Any:
    """Raises an exception with 64 MB of text."""
    raise ctx.intended(RuntimeError("x" * (64 << 20)))


@failure_mode("torture.surrogate-error", seam=StepCall, severity="minor", effect="raises", cause=("x",),
              no_evidence="a torture")  # fmt: skip
def surrogate_error(call: Call, ctx: Context) -> Any:
    """Raises an exception whose text is no Unicode, with control characters."""
    raise ctx.intended(RuntimeError("\udcff\x00\x1b[31m</script>"))


@failure_mode(
    "torture.breaks-json", seam=StepCall, severity="minor", effect="raises", cause=("x",), no_evidence="a torture"
)
def breaks_json(call: Call, ctx: Context) -> Any:
    """Takes away the encoder that results are serialised with."""
    json.dumps = None  # type: ignore[assignment]
    return _dropped(call)


@failure_mode(
    "torture.leaves-thread", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def leaves_thread(call: Call, ctx: Context) -> Any:
    """Leaves a thread that is no daemon and never ends."""
    threading.Thread(target=time.sleep, args=(9999,)).start()
    return _dropped(call)


@failure_mode(
    "torture.vandalises", seam=StepCall, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def vandalises(call: Call, ctx: Context) -> Any:
    """Empties the environment, leaves the folder, takes stdout away and forgets its children."""
    os.environ.clear()
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout = None  # type: ignore[assignment]
    gc.disable()
    return _dropped(call)


@failure_mode("torture.broken-injector", seam=StepOutput, severity="minor", effect="raises", cause=("x",),
              no_evidence="a torture")  # fmt: skip
def broken_injector(output: Any, ctx: Context) -> Any:
    """Has a bug."""
    return output.no_such_attribute


@failure_mode(
    "torture.does-nothing", seam=StepOutput, severity="minor", effect="silent", cause=("x",), no_evidence="a torture"
)
def does_nothing(output: Any, ctx: Context) -> Any:
    """Claims to act and never changes a thing."""
    return output


def _dropped(call: Call) -> Any:
    call()
    return None
