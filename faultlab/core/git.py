"""Queries of a folder's git history."""

from __future__ import annotations

import subprocess
from pathlib import Path

from faultlab.errors import UsageError


def check_commit(ref: str, root: Path) -> None:
    """Raise UsageError if the folder is not in a repository or the commit does not exist."""
    ask(root, "rev-parse", "--git-dir", wrong=f"--since {ref}: {root} is not in a git repository")
    unknown = f"--since {ref}: unknown commit; name a commit, branch or tag, such as HEAD~1 or main"
    ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", wrong=unknown)


def changed_files(ref: str, root: Path) -> set[Path]:
    """Return the absolute paths of the files that differ from a commit, including untracked and deleted ones."""
    check_commit(ref, root)
    top = Path((ask(root, "rev-parse", "--show-toplevel") or "").rstrip("\n"))
    wrong = f"--since {ref}: git can't list the changed files of {top}"
    # A rename counts as one deleted and one new file: a reader of either name is affected.
    listed = ask(top, "diff", "--name-only", "--no-renames", "-z", ref, "--", wrong=wrong) or ""
    listed += ask(top, "ls-files", "--others", "--exclude-standard", "-z", wrong=wrong) or ""
    return {(top / name).resolve() for name in listed.split("\0") if name}


def ask(root: Path, *arguments: str, wrong: str = "") -> str | None:
    """Return git's output; if git fails, raise UsageError with ``wrong`` if given, else return None."""
    try:
        made = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError:
        raise UsageError("--since needs git, and git is not installed") from None
    if made.returncode and wrong:
        raise UsageError(wrong)
    return None if made.returncode else made.stdout.decode("utf-8", errors="surrogateescape")
