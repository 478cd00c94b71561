"""Regressions of a report from the accepted baseline, and renewal of the baseline from reports."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Literal

from faultlab.config.scenario import Gate
from faultlab.core.comparison import UNDETECTED, UNTRIED, Standing, lost, standings
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import INCONCLUSIVE, Report, Status
from faultlab.errors import UsageError
from faultlab.gate.baseline_file import Accepted, Silence, Standard


def check(accepted: Accepted, report: Report, today: datetime.date | None = None) -> list[Reason]:
    """Return the regressions of a report from its scenario's baseline."""
    standard = accepted.scenarios.get(report.scenario)
    if standard is None:
        reasons = ["the scenario is not in the baseline; review its report, then add it with --accept"]
    else:
        now = standings(report)
        reasons = [
            *_weaker(standard, report),
            *_undetected(standard, now),
            *_lost(standard, now),
            *_gone(standard, now),
            *_exemptions(standard, now, today or datetime.date.today()),
        ]
    return [_behind(text) for text in reasons]


def missing(accepted: Accepted, scenarios: Iterable[str], run: bool = False) -> list[Reason]:
    """Return a reason for each scenario of the baseline that is missing; with ``run``, only for those that are run."""
    known = [name for name, standard in accepted.scenarios.items() if standard.run or not run]
    gone = sorted(set(known) - set(scenarios))
    return [_behind(f"there is no report of the scenario {name!r}, which is in the baseline") for name in gone]


def _behind(text: str) -> Reason:
    return Reason(ReasonKind.BASELINE, f"baseline: {text}")


def renewed(accepted: Accepted, reports: Iterable[Report], reason: str, expires: datetime.date | None,
            today: datetime.date | None = None) -> Accepted:  # fmt: skip
    """Return the baseline with the reports' results. Silences that were accepted keep their reason and expiry date.

    Silences that are new, expired, or worse than accepted get the given ones. Raises UsageError if these are needed and
    missing, or if the date is past.
    """
    day = today or datetime.date.today()
    if expires is not None and expires < day:
        raise UsageError(f"--expires {expires} is in the past\n    Give the date of your next review.")
    reason = reason.strip()
    scenarios = dict(accepted.scenarios)
    wanting: list[str] = []
    for report in reports:
        found = standings(report)
        known = scenarios[report.scenario].accepted if report.scenario in scenarios else {}
        silences: dict[str, Silence] = {}
        for mode, standing in found.items():
            if standing.status not in UNDETECTED:
                continue
            status: Literal["silent", "warned"] = "silent" if standing.status is Status.SILENT else "warned"
            before = known.get(mode)
            if before is not None and before.expires >= day and (before.status, status) != ("warned", "silent"):
                silences[mode] = before.model_copy(update={"status": status})
            elif len(reason) >= 3 and expires is not None:
                silences[mode] = Silence(status=status, reason=reason, expires=expires)
            else:
                wanting.append(f"{report.scenario}: {mode}")
        scenarios[report.scenario] = Standard(
            demands=_gate(report.demands),
            accepted=silences,
            detected={mode: list(s.detectors) for mode, s in found.items() if s.status is Status.DETECTED},
            no_effect=[mode for mode, s in found.items() if s.status is Status.NO_EFFECT],
            run="scenario" in report.target,
        )
    if wanting:
        listed = ", ".join(wanting[:5]) + (f" and {len(wanting) - 5} more" if len(wanting) > 5 else "")
        remedy = "Give the reason and an expiry date: --reason TEXT --expires 2027-06-30."
        raise UsageError(f"not detected: {listed}\n    {remedy}")
    return Accepted(schema=1, scenarios=scenarios)


def _gate(demands: Demands | None) -> Gate:
    asked = (demands or Demands()).to_json()
    return Gate(**{name: value for name, value in asked.items() if name != "fail_under"})


def _weaker(standard: Standard, report: Report) -> list[str]:
    """Return the demands of the scenario's gate that are weaker than in the baseline."""
    then, now = standard.demands, _gate(report.demands)
    reasons = []
    for name in ("coverage", "mutants"):
        before, after = getattr(then, name), getattr(now, name)
        if before is not None and (after is None or after < before):
            reasons.append(f"the gate demanded {name} {before}, and now {'none' if after is None else after}")
    limits = [
        ("latency", then.latency, now.latency),
        ("false_alarms", then.false_alarms or 0, now.false_alarms or 0),
        *((f"silent {level}", limit, now.silent.get(level)) for level, limit in sorted(then.silent.items())),
    ]
    for name, before, after in limits:
        if before is not None and (after is None or after > before):
            reasons.append(f"the gate allowed {name} {before}, and now {'any' if after is None else after}")
    return reasons


def _undetected(standard: Standard, now: Mapping[str, Standing]) -> list[str]:
    reasons = []
    for mode, standing in now.items():
        if standing.status not in UNDETECTED:
            continue
        status = "silent" if standing.status is Status.SILENT else "only warned of"
        silence = standard.accepted.get(mode)
        if silence is not None and silence.status == "warned" and standing.status is Status.SILENT:
            reasons.append(f"{mode} is newly silent: it was accepted as only warned of")
        elif silence is None and mode in standard.detected:
            who = ", ".join(standard.detected[mode]) or "a detector"
            reasons.append(f"{mode} is newly {status}: {who} detected it")
        elif silence is None:
            reasons.append(f"{mode} is {status}, which is not accepted in the baseline")
    return reasons


def _lost(standard: Standard, now: Mapping[str, Standing]) -> list[str]:
    """Return the user's detectors that no longer detect a fault that others still detect."""
    then = {mode: Standing(Status.DETECTED, detectors=tuple(who)) for mode, who in standard.detected.items()}
    settled = (*UNDETECTED, *INCONCLUSIVE)  # other reasons report them
    reasons = []
    for found in lost(then, {mode: standing for mode, standing in now.items() if standing.status not in settled}):
        if found.owned:
            instead = (
                f"now only {found.instead}, incidentally"
                if found.by_luck
                else f"now {found.instead or 'without effect'}"
            )
            reasons.append(f"{found.detector} no longer detects {found.mode} ({instead})")
    return reasons


def _gone(standard: Standard, now: Mapping[str, Standing]) -> list[str]:
    tried = {mode for mode, standing in now.items() if standing.status not in UNTRIED}
    return [
        f"{mode} is no longer injected" + (f": it is {now[mode].status.value.replace('_', ' ')}" if mode in now else "")
        for mode in sorted(standard.modes - tried)
    ]


def _exemptions(standard: Standard, now: Mapping[str, Standing], today: datetime.date) -> list[str]:
    reasons = []
    for mode, silence in sorted(standard.accepted.items()):
        if mode in now and now[mode].status is Status.DETECTED:
            who = ", ".join(now[mode].detectors)
            reasons.append(
                f"{mode} is accepted as {silence.status}, but detected by {who}: renew the baseline with --accept"
            )
        elif silence.expires < today and mode in now and now[mode].status not in UNTRIED:
            remedy = "review it, then renew it with --accept"
            reasons.append(
                f"accepting {mode} as {silence.status} ({silence.reason}) expired on {silence.expires}: {remedy}"
            )
    return reasons


def differences(before: Accepted, after: Accepted) -> list[str]:
    """Return the differences of a renewed baseline, one line each."""
    lines = []
    for name, now in sorted(after.scenarios.items()):
        then = before.scenarios.get(name)
        if then is None:
            lines.append(f"{name}: new: {len(now.detected)} detected, {len(now.accepted)} accepted as undetected")
            continue
        for mode in sorted(then.modes | now.modes):
            was, is_ = _line(then, mode), _line(now, mode)
            if was != is_:
                lines.append(f"{name}: {mode}: {was} -> {is_}")
        if then.demands != now.demands:
            lines.append(f"{name}: the gate's demands changed")
    return lines


def _line(standard: Standard, mode: str) -> str:
    if mode in standard.accepted:
        return f"{(silence := standard.accepted[mode]).status}, accepted until {silence.expires}"
    if mode in standard.detected:
        return f"detected by {', '.join(standard.detected[mode])}"
    return "without effect" if mode in standard.no_effect else "not injected"
