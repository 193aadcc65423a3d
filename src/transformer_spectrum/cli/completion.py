"""The command `completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse


def add(command: argparse.ArgumentParser) -> None:
    command.description = (
        'Prints a completion script. bash: eval "$(transformer-spectrum completion bash)" in ~/.bashrc; zsh: write it '
        "to a file _transformer-spectrum in a folder of $fpath."
    )
    command.add_argument("shell", choices=("bash", "zsh"), help="which shell")


def run(chosen: argparse.Namespace) -> None:
    import shtab

    whole = chosen.whole_parser()
    (commands,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    for action in (action for command in commands.choices.values() for action in command._actions):
        if action.metavar in ("FILE", "PATH", "RUN"):
            action.complete = shtab.FILE
        elif action.metavar == "FOLDER":
            action.complete = shtab.DIRECTORY
    print(shtab.complete(whole, chosen.shell))
