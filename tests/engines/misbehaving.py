"""What victims do in the tests of engines; each is called with the target, the order and the way to report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultlab.core.orders import Order
from faultlab.core.results import SuiteRun, message_of

FLOOD = 20_000_000
Send = Callable[[dict[str, Any]], None]


def answers(target: Any, order: Order, send: Send) -> None:
    """Says something, leaves a file, and tells what it found."""
    print("said on the way")
    folder = Path(order.shared)
    found = (folder / "given").read_text() if (folder / "given").is_file() else ""
    (folder / "left").write_text("by the run")
    send(message_of(SuiteRun({"given": found})))


def floods(target: Any, order: Order, send: Send) -> None:
    """Prints more than anybody wants to keep, and answers."""
    print("the flood begins")
    sys.stdout.write("x" * FLOOD + "\n")
    print("the flood ends", flush=True)
    send(message_of(SuiteRun()))


def exits(target: Any, order: Order, send: Send) -> None:
    """Ends the process before there is an answer."""
    os._exit(3)


def killed(target: Any, order: Order, send: Send) -> None:
    """Ends as the system ends what takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(target: Any, order: Order, send: Send) -> None:
    """Never comes to its end."""
    (Path(order.shared) / f"{order.id}.pid").write_text(str(os.getpid()))
    time.sleep(10_000)


def leaves_child(target: Any, order: Order, send: Send) -> None:
    """Answers, and has a process of its own go on."""
    child = subprocess.Popen(["sleep", "10000"])
    (Path(order.shared) / f"{order.id}.pid").write_text(str(child.pid))
    send(message_of(SuiteRun()))
