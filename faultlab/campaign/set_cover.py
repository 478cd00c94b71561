"""The smallest set of guards that detects every fault that any guard detects: an exact set cover."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def smallest_cover(detected_by: Mapping[str, Collection[str]], costs: Mapping[str, float]) -> list[str]:
    """Return the fewest guards that together detect every fault; of several such sets the cheapest.

    ``detected_by`` has the guards by fault; faults without any are ignored. ``costs`` are not negative.
    """
    # Imported here since it takes half a second, which most commands can do without.
    import numpy
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows = {frozenset(guards) for guards in detected_by.values() if guards}
    names = sorted({guard for row in rows for guard in row})
    if not names:
        return []
    total = sum(costs.get(name, 0.0) for name in names) or 1.0
    # All costs together weigh less than one guard.
    weights = numpy.array([1 + costs.get(name, 0.0) / (2 * total) for name in names])
    matrix = numpy.array([[float(name in row) for name in names] for row in sorted(rows, key=sorted)])
    solved = milp(
        weights, constraints=LinearConstraint(matrix, lb=1), integrality=numpy.ones(len(names)), bounds=Bounds(0, 1)
    )
    if not solved.success:
        raise RuntimeError(f"the set cover could not be solved: {solved.message}")
    return [name for name, taken in zip(names, solved.x) if taken > 0.5]
