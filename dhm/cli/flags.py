"""The flags of all commands: each is described once, and commands name those that they use."""

import argparse
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dhm.errors import BadInputError
from dhm.formats.paths import existing

CONFIG = "--config"
SETTING = "--config."
SETTINGS = (SETTING, "--noconfig.")


class UsageError(Exception):
    """A command line that no command understands."""


class Command(NamedTuple):
    """A sub-command.

    Attributes:
        summary: What it does, in a line.
        description: What it takes and gives.
        run: Does it, and returns the exit code.
        flags: Names in `FLAGS`.
        extra: The extra of the package that brings what it imports.
        config: Whether it takes a config ("required", "optional"), only settings for others'
            configs ("settings"), or none ("").
        words: What words behind the command are, if it takes any: their name and a description.
        workdir: What its --workdir is.
    """

    summary: str
    description: str
    run: Callable[[argparse.Namespace], int]
    flags: tuple[str, ...] = ()
    extra: str = "train"
    config: str = ""
    words: tuple[str, str] | None = None
    workdir: str = "folder of the run (default: runs/<name of the config>)"


def given_path(text: str) -> Path:
    """A path of the command line: with the home of the user for `~`, in its disk's Unicode form."""
    try:
        return existing(text)
    except BadInputError as error:  # argparse takes a ValueError for one of its own
        raise argparse.ArgumentTypeError(str(error)) from error


def _given_text(text: str) -> str:
    """A path, or a pattern of paths, that has to stay text."""
    return str(given_path(text)) if text.startswith("~") else text


def _number(kind: type, low: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < math.inf:
            words = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {words} from {low} on")
        return value

    return parse


def _any_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        message = f"found {text!r}, expected a whole number"
        raise argparse.ArgumentTypeError(message) from error


def _names(text: str) -> list[str]:
    return text.split(",")


FLAGS: Mapping[str, dict[str, Any]] = {
    "--workdir": {"metavar": "DIR", "type": given_path},
    "--replay": {
        "metavar": "FILE",
        "type": given_path,
        "help": "calculates a step again that training stopped at, a file in the run's replay/, "
        "and prints each sample's terms",
    },
    "--coordinator": {
        "metavar": "HOST:PORT",
        "help": "address of the first of several processes that train together",
    },
    "--process-id": {"metavar": "N", "type": _any_integer, "help": "index of this process"},
    "--process-count": {"metavar": "N", "type": _any_integer, "help": "number of processes"},
    "--jobs": {
        "metavar": "N",
        "type": _number(int, 1),
        "default": 1,
        "help": "runs at a time on each device (default: 1)",
    },
    "--variants": {
        "metavar": "A,B",
        "type": _names,
        "help": "variants to run, 'full' among them (default: all)",
    },
    "--subjects": {
        "metavar": "1,2",
        "type": _names,
        "help": "numbers of the people to train on (default: the config's)",
    },
    "--seeds": {
        "metavar": "N",
        "type": _any_integer,
        "default": 2,
        "help": "runs of each variant (default: 2)",
    },
    "--images": {
        "metavar": "FILE",
        "type": _given_text,
        "action": "append",
        "help": "pictures and videos: a file, folder or pattern such as 'photos/*.jpg'",
    },
    "--evidence": {
        "metavar": "FILE",
        "type": _given_text,
        "action": "append",
        "help": "evidence: a file, folder or pattern such as 'seen/*.json'",
    },
    "--out": {"metavar": "DIR", "type": given_path, "help": "folder of the results"},
    "--bbox": {
        "metavar": "X,Y,W,H",
        "help": "box around the hand in every picture, pixels; or 'whole' for the whole picture",
    },
    "--keypoints": {
        "metavar": "FILE",
        "type": given_path,
        "help": "JSON with the keypoints of the pictures",
    },
    "--detector": {
        "metavar": "FILE",
        "type": given_path,
        "help": "MediaPipe's hand_landmarker.task, which finds the hands",
    },
    "--left": {"action": "store_true", "help": "the hands are left ones"},
    "--right": {"action": "store_true", "help": "the hands are right ones"},
    "--focal": {
        "metavar": "PX",
        "type": _number(float, 1.0),
        "help": "focal length of the pictures, pixels",
    },
    "--refine": {"action": "store_true", "help": "fits the predicted angles to the keypoints"},
    "--mesh-every": {
        "metavar": "N",
        "type": _number(int, 0),
        "default": 0,
        "help": "writes the mesh of every n-th frame of a video (default: of none)",
    },
    "--no-meshes": {
        "dest": "meshes",
        "action": "store_false",
        "help": "writes no .obj and .glb of pictures",
    },
    "--no-overlay": {
        "dest": "overlay",
        "action": "store_false",
        "help": "draws and writes no overlay",
    },
    "--what": {
        "metavar": "PART",
        "default": "all",
        "help": "part to measure: raster, losses, step, infer, input or scaling (default: all)",
    },
    "--batch": {
        "metavar": "N",
        "type": _number(int, 1),
        "help": "pictures of the measured training step",
    },
    "--json": {"metavar": "FILE", "type": given_path, "help": "file that gets the numbers"},
    "--picture": {
        "metavar": "FILE",
        "type": given_path,
        "help": "PNG that gets a timeline of the training step",
    },
    "--step-ms": {
        "metavar": "A,B",
        "type": _names,
        "help": "for the model of scaling: ms of a device's step with 8 and with 32 images",
    },
}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose refusals are exceptions."""

    def error(self, message: str):
        """Refuses a command line."""
        # argparse says "argument --seeds: found 0, ..."; the library "--seeds: found 0, ...".
        raise UsageError(message.removeprefix("argument "))


def add_flags(parser: argparse.ArgumentParser, command: Command) -> None:
    """Adds the flags of a command, and the words behind it, to its parser."""
    if command.config in ("required", "optional"):
        parser.add_argument(CONFIG, metavar="FILE", help="config file, e.g. configs/tiny.py")
    if command.config:
        text = "a setting of the config, e.g. --config.train.epochs=3; configs/default.py has all"
        parser.add_argument("--config.KEY", metavar="VALUE", help=text)
    for name in command.flags:
        text = {"help": command.workdir} if name == "--workdir" else {}
        parser.add_argument(name, **FLAGS[name], **text)
    if command.words is not None:
        metavar, text = command.words
        parser.add_argument("words", metavar=metavar, nargs="*", help=text)


def split_command(
    argv: Sequence[str], commands: Iterable[str]
) -> tuple[str | None, list[str], list[str]]:
    """Finds the command, wherever it stands, and what belongs to the config.

    Args:
        argv: The words of the command line.
        commands: Names of commands.

    Returns:
        The command's name, or None if there is none; the words of the config, its file first; and
        all others, in which each flag has its value behind a "=".

    Raises:
        UsageError: If the first word that stands by itself is no command.
    """
    command, config, others = None, [], []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        follows = bool(rest) and not rest[0].startswith("--")
        has_value = name != word
        if name == CONFIG:
            if not has_value and rest:
                word = f"{word}={rest.pop(0)}"
            config.insert(0, word)
        elif name.startswith(SETTINGS):
            config.append(word)
            # Behind a switch, which takes no value, the command may stand.
            if not has_value and follows and rest[0] not in commands:
                config.append(rest.pop(0))
        elif name in FLAGS and "metavar" in FLAGS[name] and not has_value and rest:
            others.append(f"{word}={rest.pop(0)}")
        elif command is None and not word.startswith("-"):
            if word not in commands:
                raise UsageError(f"unknown task {word}{_did_you_mean(word, commands)}")
            command = word
        else:
            others.append(word)
    return command, config, others


def refuse_unused(name: str | None, words: Sequence[str], commands: Mapping[str, Command]) -> None:
    """Refuses the first flag that a command does not use; names the commands that do.

    Args:
        name: The command, or None for the whole job.
        words: Of the command line, but for the command.
        commands: All of them, the whole job as None.

    Raises:
        UsageError: If there is such a flag.
    """
    own = "the whole job" if name is None else name
    uses = {key: command.flags + _config_flags(command) for key, command in commands.items()}
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith(SETTINGS):
            flag = SETTING
        if not flag.startswith("--") or flag in ("--help", *uses[name]):
            continue
        others = [key for key in uses if key is not None and flag in uses[key]]
        shown = f"{SETTING}key" if flag == SETTING else flag
        if others:
            raise UsageError(f"{shown} is a flag of {', '.join(others)}, not of {own}")
        raise UsageError(f"{own} has no flag {shown}{_did_you_mean(flag, uses[name])}")


def _config_flags(command: Command) -> tuple[str, ...]:
    return {"": (), "settings": (SETTING,)}.get(command.config, (CONFIG, SETTING))


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, [one for one in known if one is not None], 1)
    return f"; did you mean {near[0]}?" if near else ""
