"""A script that has mutmut generate the mutants of the files in its settings, and judge none.

Run by the path of this file in its own working folder, where mutmut reads its settings. It prints the result as one
line of JSON. It imports nothing of faultlab, which may itself be mutated.
"""

import json
import os
import sys
import warnings


def main() -> None:
    """Generate the mutants; always exit with 0, and print errors in the line of JSON."""
    # This file's folder, whose modules must not shadow others of the same name.
    del sys.path[0]
    said: dict[str, str | list[str] | bool] = {}
    try:
        from importlib.metadata import version

        said["version"] = version("mutmut")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            from mutmut.__main__ import create_mutants

            os.environ["MUTANT_UNDER_TEST"] = "mutant_generation"
            create_mutants(1)
        said["warnings"] = [str(w.message) for w in caught if issubclass(w.category, SyntaxWarning)]
    except (Exception, SystemExit) as error:
        cause = error.__cause__
        because = f" ({type(cause).__name__}: {cause})" if cause is not None else ""
        said["error"] = f"{type(error).__name__}: {error}{because}"
        said["missing"] = isinstance(error, ModuleNotFoundError) and error.name == "mutmut"
    print(f"\n{json.dumps(said)}", flush=True)


if __name__ == "__main__":
    main()
