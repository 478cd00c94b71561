"""Text from elsewhere, made safe to show: links of evidence, and the messages of victims."""

from __future__ import annotations

import re

LONGEST = 3000
# Invalid in a page, obeyed by a terminal, or changing the direction of the text around them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def short(text: str, longest: int = 300) -> str:
    """Return the text, or its beginning and its length."""
    return text if len(text) <= longest else f"{text[:longest]} ... [shortened: {len(text):,} characters in full]"


def clipped(text: str, longest: int = LONGEST) -> str:
    """Return the text, or its beginning with an ellipsis."""
    return text if len(text) <= longest else f"{text[:longest]}\N{HORIZONTAL ELLIPSIS}"


def percent(share: float) -> str:
    """Return a share in percent, rounded so that only all of it is 100 % and only none of it is 0 %."""
    whole = round(100 * share)
    if 0 < share < 1 and whole in (0, 100):
        return "less than 1 %" if whole == 0 else "more than 99 %"
    return f"{whole} %"


def harmless(text: str) -> str:
    """Return the text with its control characters escaped as in Python, shortened if it is very long."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], short(text, LONGEST).replace("\r\n", "\n"))


def blocks(text: str) -> list[tuple[bool, str]]:
    """Return the blocks of a docstring's section: whether each is code, and its text."""
    found: list[tuple[bool, list[str]]] = []
    for line in text.splitlines():
        is_code = line.startswith("    ") if line else bool(found) and found[-1][0]
        if not found or found[-1][0] != is_code:
            found.append((is_code, []))
        found[-1][1].append(line[4:] if is_code else line)
    return [(is_code, "\n".join(lines).strip("\n")) for is_code, lines in found]


def address(evidence: str) -> str:
    """Return the URL of a GitHub thread or repository, an arXiv paper or a DOI; empty for any other entry."""
    if match := re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", evidence):
        return f"https://github.com/{match[1]}/issues/{match[2]}"
    if match := re.fullmatch(r"([\w.-]+/[\w.-]+) \(.*\)", evidence):
        return f"https://github.com/{match[1]}"
    if match := re.match(r"arXiv:(\d+\.\d+)", evidence):
        return f"https://arxiv.org/abs/{match[1]}"
    if match := re.match(r"doi:(\S+)", evidence):
        return f"https://doi.org/{match[1].rstrip('.,;')}"
    return ""
