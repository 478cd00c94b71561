"""What git says of a folder's history."""

from __future__ import annotations

import subprocess
from pathlib import Path

from faultlab.errors import UsageError


def check_commit(ref: str, root: Path) -> None:
    """Raises UsageError where the folder is in no repository, or there is no such commit."""
    ask(root, "rev-parse", "--git-dir", wrong=f"--since {ref}: {root} is no repository of git")
    unknown = f"--since {ref}: git knows no such commit; name one, or a branch or tag, such as HEAD~1 or main"
    ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", wrong=unknown)


def changed_files(ref: str, root: Path) -> set[Path]:
    """The files of the repository that are not as they were at a commit, untracked and deleted ones too; absolute."""
    check_commit(ref, root)
    top = Path((ask(root, "rev-parse", "--show-toplevel") or "").rstrip("\n"))
    wrong = f"--since {ref}: git can't say what has changed in {top}"
    # Renames as what they are to a reader of both names: one file gone, another new.
    listed = ask(top, "diff", "--name-only", "--no-renames", "-z", ref, "--", wrong=wrong) or ""
    listed += ask(top, "ls-files", "--others", "--exclude-standard", "-z", wrong=wrong) or ""
    return {(top / name).resolve() for name in listed.split("\0") if name}


def ask(root: Path, *arguments: str, wrong: str = "") -> str | None:
    """What git prints, None where it fails; raises UsageError with ``wrong`` instead, if that is given."""
    try:
        made = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError:
        raise UsageError("--since asks git what has changed, and git is not installed") from None
    if made.returncode and wrong:
        raise UsageError(wrong)
    return None if made.returncode else made.stdout.decode("utf-8", errors="surrogateescape")
