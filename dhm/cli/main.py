"""The command line: finds the command, parses its flags, runs it, and says what went wrong."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dhm
from dhm.cli.config_flag import read_config
from dhm.cli.flags import Command, Parser, UsageError, add_flags, refuse_unused, split_command
from dhm.cli.hand_commands import HAND_COMMANDS
from dhm.cli.installation import missing_part
from dhm.cli.process import keep_freed_memory, own_messages
from dhm.cli.run_commands import RUN_COMMANDS, WHOLE_JOB
from dhm.cli.study_commands import STUDY_COMMANDS
from dhm.errors import DISK_ERRORS, DhmError, Interrupted

COMMANDS: dict[str, Command] = {**RUN_COMMANDS, **STUDY_COMMANDS, **HAND_COMMANDS}

_ALL: dict[str | None, Command] = {None: WHOLE_JOB, **COMMANDS}
_USAGE_CODE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the words name; `dhm --help` lists all.

    Args:
        argv: Words of the command line, by default those of this process.

    Returns:
        The exit code: 0; 1 for an error or refused input; 2 for a command line that cannot be
        understood; 128 and the number of the signal that ended it.
    """
    if argv is None:
        keep_freed_memory()
        argv = sys.argv[1:]
    with own_messages():
        return _main(list(argv))


def _main(words: list[str]) -> int:
    name = None
    try:
        name, config, others = split_command(words, COMMANDS)
        if "--version" in others:
            print(f"dhm {dhm.__version__}")
            return 0
        return _run(name, config, others)
    except UsageError as error:
        print(f"error: {error} (flags: {_program(name)} --help)", file=sys.stderr)
        return _USAGE_CODE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _end(130)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return interruption.exit_code
    except ModuleNotFoundError as error:
        missing = missing_part(error, name or "training", _ALL[name].extra)
        if missing is None:
            raise
        print(f"error: {missing}", file=sys.stderr)
        return _end(1)
    except (DhmError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DISK_ERRORS:
            raise
        print(f"error: {error}", file=sys.stderr)
        return _end(1)
    except RuntimeError as error:
        message = _device_error(" ".join(str(error).split()))
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return _end(1)


def _device_error(said: str) -> str | None:
    """What JAX says of a device, for the user; None if that is something else."""
    if "Unable to initialize backend" in said:
        return f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r}: {said}"
    if "RESOURCE_EXHAUSTED" in said:
        return f"the device has too little memory, a smaller batch needs less: {said[:200]}"
    return None


def _run(name: str | None, config: list[str], others: list[str]) -> int:
    command = _ALL[name]
    refuse_unused(name, [*others, *config], _ALL)
    try:
        arguments = _parser(name).parse_intermixed_args(others)
    except SystemExit as asked_for_help:
        return int(asked_for_help.code or 0)
    if command.config == "settings":
        arguments.settings = tuple(config)
    elif command.config:
        arguments.config = read_config(config)
        if arguments.config is None and command.config == "required":
            raise UsageError("--config is missing, e.g. --config configs/tiny.py")
    return command.run(arguments)


def _parser(name: str | None) -> Parser:
    """The parser of a command; that of the whole job lists the commands in its help."""
    command = _ALL[name]
    parser = Parser(prog=_program(name), description=command.description, allow_abbrev=False)
    add_flags(parser, command)
    if name is None:
        parser.add_argument("--version", action="store_true", help="prints the version")
        parser.usage = "%(prog)s [COMMAND] [FLAGS]"
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        rows = (f"  {key:10} {one.summary}" for key, one in COMMANDS.items())
        parser.epilog = "\n".join(
            ("commands, for something else or a part of that:", *rows, "",
             f"{_program('COMMAND')} --help explains one")
        )  # fmt: skip
    return parser


def _program(command: str | None) -> str:
    """How this was started, for help texts and messages."""
    started = Path(sys.argv[0]).name
    program = "dhm" if started == "dhm" else "python launch.py"
    return f"{program} {command}" if command else program


def _end(code: int) -> int:
    """The exit code; where other processes train with this one, it ends here without them."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        from dhm.training.processes import end

        end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
