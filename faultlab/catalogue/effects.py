"""The effect of a failure mode: what a framework does about it, in all versions or in some.

A declaration names one word for every framework and version, or a mapping::

    effect={"lightning": "silent", "lightning>=2.7": "raises", "torch": "raises"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

# A dependency of pytest. It is small, and imports nothing else.
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from faultlab.core import framework_names

EFFECTS = ("raises", "warns", "silent")
Declared = str | Mapping[str, str]

_KEY = re.compile(r"([A-Za-z][\w.-]*)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class VersionRange:
    """The effect in some versions of a framework; ``versions`` is a specifier such as ``>=2.7``."""

    framework: str
    versions: str
    effect: str

    def contains(self, version: str) -> bool:
        """Return whether the version is in the range. A pre-release counts as its release: 2.7.0rc1 as 2.7.0."""
        try:
            release = Version(Version(version).base_version)
        except InvalidVersion:
            return False
        return SpecifierSet(self.versions).contains(release)


@dataclass(frozen=True)
class Effects:
    """The effects of a failure mode by framework and version.

    Args:
        general: The effect by framework, in the versions that no range contains. Lightning's is always given, and holds
            for every framework that is not named.
        ranges: The exceptions by version, in the order of the declaration; the last one that contains the version
            decides.
    """

    general: Mapping[str, str]
    ranges: tuple[VersionRange, ...] = ()

    @classmethod
    def parse(cls, declared: object) -> Effects:
        """Return the effects of a declaration: a word, or words by framework and version range.

        Raises:
            ValueError: A word, framework or version range is invalid; the message is lowercase and has a remedy.
        """
        if isinstance(declared, str):
            return cls({framework_names.DEFAULT: _word(declared)})
        if not isinstance(declared, Mapping):
            raise ValueError(f"invalid effect {declared!r}: expected a word or a mapping of words by framework")
        general: dict[str, str] = {}
        ranges: dict[tuple[str, str], VersionRange] = {}
        for key, word in declared.items():
            framework, versions = _key(key)
            if (framework, versions) in ranges or (not versions and framework in general):
                raise ValueError(f"duplicate effect of {key!r}. Remove one of them.")
            if versions:
                ranges[framework, versions] = VersionRange(framework, versions, _word(word, key))
            else:
                general[framework] = _word(word, key)
        if framework_names.DEFAULT not in general:
            expected = f"expected the key {framework_names.DEFAULT!r}, whose effect holds where no other key applies"
            raise ValueError(f"incomplete effect: {expected}")
        return cls(general, tuple(ranges.values()))

    def on(self, framework: str = framework_names.DEFAULT, version: str = "") -> str:
        """Return the effect in a version of a framework; without a version, the one that no range changes."""
        for one in reversed(self.ranges):
            if one.framework == framework and version and one.contains(version):
                return one.effect
        return self.general.get(framework, self.general[framework_names.DEFAULT])

    def ranges_of(self, framework: str) -> list[VersionRange]:
        """Return the framework's exceptions by version."""
        return [one for one in self.ranges if one.framework == framework]

    def to_json(self) -> dict[str, str]:
        """Return the effects in the form of a declaration."""
        return {**self.general, **{f"{one.framework}{one.versions}": one.effect for one in self.ranges}}


def _word(word: object, key: str = "") -> str:
    if word not in EFFECTS:
        place = f" of {key!r}" if key else ""
        raise ValueError(f"invalid effect {word!r}{place}: expected one of {', '.join(EFFECTS)}")
    return str(word)


def _key(key: object) -> tuple[str, str]:
    """Return the framework and the version specifier of a key such as ``lightning>=2.7``."""
    match = _KEY.fullmatch(key.strip()) if isinstance(key, str) else None
    if match is None:
        example = f"{framework_names.DEFAULT}>=2.7"
        raise ValueError(f"invalid key {key!r} of effect: expected a framework, such as 'torch' or {example!r}")
    framework, versions = match.groups()
    known = framework_names.known()
    if framework not in known:
        close = get_close_matches(framework, known, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown framework {framework!r} in effect: expected one of {', '.join(known)}.{hint}")
    try:
        specifiers = SpecifierSet(versions)
        limits = [Version(one.version.removesuffix(".*")) for one in specifiers]
    except (InvalidSpecifier, InvalidVersion):
        raise ValueError(f"invalid versions {versions!r} in effect {key!r}: expected a range such as '>=2.7'") from None
    if early := [str(limit) for limit in limits if limit.is_prerelease]:
        raise ValueError(f"pre-release {early[0]} in effect {key!r}: it counts as its release. Name the release.")
    return framework, str(specifiers)
