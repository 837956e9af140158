"""What every command shares: arguments, `--config.key=value` overrides and one-line errors."""

import argparse
import importlib.util
import os
import pathlib
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import ml_collections
from absl import flags
from ml_collections import config_flags

from vidact.errors import UserError

USAGE_EXIT_CODE, INTERRUPTED_EXIT_CODE, UNREAD_EXIT_CODE = 2, 130, 141  # 128 + SIGINT, SIGPIPE


class _Parser(argparse.ArgumentParser):
    """One whose mistakes are a user's mistakes: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parser(doc: str, prog: str) -> argparse.ArgumentParser:
    """An argument parser whose `--help` shows the module's docstring, examples included.

    Args:
      doc: the command's docstring; shown verbatim.
      prog: the name to show, for example `python -m vidact.train`.
    """
    return _Parser(
        prog=prog,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def load_config(path: str | pathlib.Path) -> ml_collections.ConfigDict:
    """Runs `get_config()` of a configuration file.

    Args:
      path: a file, or FILE:NAME for a file of several configurations, which lists them in CHOICES.

    Raises:
      UserError: the file is missing or holds no `get_config`, or has none of that name.
    """
    file, _, name = str(path).partition(":")
    path = pathlib.Path(file)
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file; pick one from configs/")
    sys.path.insert(0, str(path.absolute().parent.parent))  # configs import configs/base.py
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: defines no get_config(); see configs/quickstart.py")
    choices = getattr(module, "CHOICES", ())
    if name not in choices and (name or not getattr(module, "DEFAULT", not choices)):
        told = f"write {path}:NAME with one of {', '.join(choices)}" if choices else "leave it out"
        raise UserError(f"{path}:{name}: no such configuration; {told}")
    return module.get_config(name) if name else module.get_config()


def override(
    config: ml_collections.ConfigDict, arguments: Sequence[str]
) -> ml_collections.ConfigDict:
    """Applies `--config.key=value` arguments, typed by the values that they replace.

    Args:
      config: what to start from; not modified.
      arguments: the command line's remaining arguments.

    Raises:
      UserError: an argument is no override, names an unknown key or has the wrong type.
    """
    unknown = [a for a in arguments if not a.startswith("--config.")]
    if unknown:
        raise UserError(f"{unknown[0]}: unknown argument; see --help")
    config = ml_collections.ConfigDict(config.to_dict())
    values = flags.FlagValues()
    line = ["command", *arguments]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=line)
        rest = values(line)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{' '.join(arguments)}: {reason}; the keys are those of the configuration file"
        ) from error
    if rest:
        raise UserError(f"{rest[0]}: not understood; write --config.key=value")
    return values["config"].value


def check_writable(folder: str | pathlib.Path) -> None:
    """Refuses a folder that could not be made or written to, before the work rather than after.

    Raises:
      UserError: names the part of the path that stands in the way.
    """
    folder = pathlib.Path(folder).absolute()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: cannot be written to; choose another folder")


def check_data(config: ml_collections.ConfigDict) -> None:
    """Refuses a configuration that names no data set; see `data_pipelines.opening.named`.

    Raises:
      UserError: config.data names neither a folder nor, where it is no mixture, sources.
    """
    data = config.data
    if not data.root and (data.mixture or not data.sources):
        raise UserError(
            "config.data.root: empty; set --config.data.root=DIR, or config.data.sources in the "
            "configuration file"
        )


def show(text: str) -> None:
    """Prints `text`, unless its reader (`| head`) has seen enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _mute()


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Calls `main(arguments)` and turns a user's mistakes into one line and exit code 2.

    That is a `UserError`, or an `OSError`: a full disk, a folder without rights. Where the reader
    of the output has gone, the command ends quietly, with the shell's code for that. A pipe that
    breaks between processes is a defect, as is every other exception: Python tells where.
    """
    code: Any = 0
    try:
        code = _code(main)
        sys.stdout.flush()  # at exit Python would tell of a reader that has gone
    except BrokenPipeError:
        if not _unread():
            raise
        _mute()
        code = code or UNREAD_EXIT_CODE
    sys.exit(code)


def _code(main: Callable[[list[str]], None]) -> Any:
    """What `sys.exit` is given once `main` has ended."""
    try:
        main(sys.argv[1:])
    except SystemExit as stop:
        return stop.code
    except UserError as error:
        return _mistake(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        reason = error.strerror or str(error) or type(error).__name__
        return _mistake(f"{where}{' '.join(reason.split())}; mend it and go on")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    return 0


def _mistake(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return USAGE_EXIT_CODE


def _unread() -> bool:
    """Whether the reader of standard output has gone."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    return bool(watch.poll(0))


def _mute() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
