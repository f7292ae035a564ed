"""From names in ALTO_PIPELINES, or of `--app`, to pipelines: `module:attribute`, or `module` for its `pipeline`."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from alto_streams.define.pipeline import Pipeline
from alto_streams.errors import ConfigError, PipelineError

SETTING = "ALTO_PIPELINES"
USUAL = "pipeline"
EXAMPLE = "my_module:pipeline"


def load_pipelines(names: Sequence[str], redo: Sequence[str] = ()) -> dict[str, Pipeline]:
    """The pipelines of these names, by their own name, checked.

    Broken calls of the stages in `redo` (`pipeline.stage`) begin anew.

    Raises:
        ConfigError: there is no name, or one names no pipeline, naming `ALTO_PIPELINES`; or there is no such stage,
            naming `ALTO_REDO`.
        PipelineError: a pipeline is wrong in itself.
    """
    if not names:
        raise ConfigError(f"{SETTING}: it names no pipeline; give one as {EXAMPLE}, or leave the setting out")
    found: dict[str, Pipeline] = {}
    places: dict[str, str] = {}
    for name in names:
        pipeline = pipeline_at(name)
        _ = pipeline.root
        if found.setdefault(pipeline.name, pipeline) is not pipeline:
            raise ConfigError(
                f"{SETTING}: {places[pipeline.name]} and {name} are both named {pipeline.name!r}, so they would share "
                "their topics; give one of them another name: Pipeline(name, ...)"
            )
        places.setdefault(pipeline.name, name)
    for each in redo:
        name, _, stage = each.partition(".")
        if name not in found:
            raise ConfigError(f"ALTO_REDO: {each}: there is no pipeline {name!r}; known: {', '.join(found)}")
        try:
            found[name].redo(stage)
        except PipelineError as error:
            raise ConfigError(f"ALTO_REDO: {each}: {error}") from None
    return found


def pipeline_at(name: str, setting: str = SETTING) -> Pipeline:
    """The pipeline of one name. `setting`: where it was given, for errors.

    Raises:
        ConfigError: it is a path, its module cannot be imported, or it has no such pipeline; says what to write.
        PipelineError: the module defines a pipeline that is wrong.
    """
    module_name, attribute = parted(name, setting)
    module = _imported(module_name, f"{setting}: {name}")
    pipeline = getattr(module, attribute, None)
    if isinstance(pipeline, Pipeline):
        return pipeline
    there = [each for each, value in vars(module).items() if isinstance(value, Pipeline)]
    what = f"is {type(pipeline).__name__}, no Pipeline" if hasattr(module, attribute) else "is not there"
    remedy = f"write {' or '.join(f'{module_name}:{each}' for each in there)}" if there else "that module has none"
    raise ConfigError(f"{setting}: {name}: {attribute!r} {what}; {remedy}")


def parted(name: str, setting: str = SETTING) -> tuple[str, str]:
    """Module and attribute of a name.

    Raises:
        ConfigError: it has neither of the two forms; says which would be right.
    """
    module, colon, attribute = name.partition(":")
    attribute = attribute if colon else USUAL
    if os.sep in module or module.endswith(".py"):
        said = module.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")
        right = f"{said}:{attribute or USUAL}" if all(part.isidentifier() for part in said.split(".")) else EXAMPLE
        raise ConfigError(
            f"{setting}: {name}: it is a path; name the module as Python imports it: {right} (a module in the folder "
            "where the command is run is found)"
        )
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"{setting}: {name!r}: expected module:attribute, such as {EXAMPLE}")
    return module, attribute


def module_of(name: str) -> str:
    """The module of a name, for what stands beside its pipeline. Raises `ConfigError` as `parted` does."""
    return parted(name)[0]


def _imported(module: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise ConfigError(
                f"{where}: there is no module {error.name!r} in {os.getcwd()}, nor is one installed; run the "
                "command where the module stands, or put its folder into PYTHONPATH"
            ) from error
        raise ConfigError(f"{where}: {error}{_place(error)}; install it") from error
    except PipelineError as error:
        raise PipelineError(f"{error}{_place(error)}") from error
    except ConfigError:
        raise
    except SyntaxError as error:
        at = f"{error.filename}, line {error.lineno}" if error.filename else module
        raise ConfigError(f"{where}: {at}: {error.msg}") from error
    except SystemExit as error:
        raise ConfigError(
            f"{where}: it ends the process when it is imported{_place(error)}; put what is to run under "
            'if __name__ == "__main__"'
        ) from error
    except Exception as error:
        raise ConfigError(f"{where}: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in the imported code it was raised, or the definition stands that was refused."""
    others = (str(Path(__file__).parent), "importlib")
    frames = [
        each for each in traceback.extract_tb(error.__traceback__) if not any(part in each.filename for part in others)
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
