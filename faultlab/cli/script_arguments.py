"""Command lines with arguments for the user's script after ``--``."""

from __future__ import annotations

import click

_KEPT = "faultlab.script_arguments"


class WithScriptArguments(click.Command):
    """A command that passes what follows ``--`` to the user's script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, script = args, []
        if "--" in args and not self._begin_paths(ctx, args[: args.index("--")]):
            at = args.index("--")
            own, script = args[:at], args[at + 1 :]
        ctx.meta[_KEPT] = tuple(script)
        try:
            return super().parse_args(ctx, own)
        except click.NoSuchOption as error:
            if set(error.possibilities or ()) - {"--help"}:
                raise
            hint = f"Arguments of your script go after --, as in `-- {error.option_name} ...`."
            raise click.UsageError(f"{error.message} {hint}", ctx) from None

    def _begin_paths(self, ctx: click.Context, own: list[str]) -> bool:
        """Return whether ``--`` only separates options from paths: for a command that takes paths and has none yet."""
        many = [one.name for one in self.params if isinstance(one, click.Argument) and one.nargs == -1]
        if not many:
            return False
        given, _, _ = self.make_parser(ctx).parse_args(args=list(own))
        # click marks a missing value with an object of its own, not with an empty tuple.
        return not any(isinstance(found := given.get(str(name)), (tuple, list)) and found for name in many)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENT...]"]


def script_arguments() -> tuple[str, ...]:
    """Return what follows ``--`` on the current command line."""
    found: tuple[str, ...] = click.get_current_context().meta.get(_KEPT, ())
    return found
