"""``faultlab completion``: print the script for shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from faultlab.cli import COMPLETE_VARIABLE, PROGRAM

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print a shell script that completes commands, options, failure modes and scenario files.

    \b
    bash: echo 'eval "$(faultlab completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(faultlab completion zsh)"' >> ~/.zshrc
    fish: faultlab completion fish > ~/.config/fish/completions/faultlab.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    root = click.get_current_context().find_root().command
    click.echo(made(root, {}, PROGRAM, COMPLETE_VARIABLE).source())
