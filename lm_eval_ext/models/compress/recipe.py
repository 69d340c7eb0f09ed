"""The recipe: what to do to a model, as data. Read from YAML, logged fully resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.compress.catalogue import method_class
from lm_eval_ext.models.compress.registry import METHODS, Method

__all__ = [
    "Calibration",
    "Recipe",
    "load_recipe",
    "make_step",
    "recipe_folder",
    "recipe_names",
    "recipe_text",
]

# A part of a name that says a method and its level: "wanda-50", "rtn-4", "magnitude-2:4".
_LEVEL = re.compile(r"(\w+)-[\d.:]+")


class Calibration(BaseModel):
    """Which text a data-driven method looks at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "c4"
    """c4, wikitext, demo, or the path of a .txt or .jsonl file."""
    samples: int = Field(default=128, ge=1)
    """Number of token sequences."""
    seqlen: int | None = Field(default=None, ge=2)
    """Tokens a sequence; None means 2,048, or the model's maximum where that is less."""
    seed: int = 0
    """Seed of the draw of documents and positions."""
    short: Literal["error", "keep"] = "error"
    """What to do when too few documents are long enough: stop, or take shorter ones whole (never padded)."""


class Recipe(BaseModel):
    """A named, versioned list of compression steps. No steps = the dense baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: str = Field(min_length=1)
    description: str = ""
    source: str = ""
    """Where the setting comes from: a paper, a tool."""
    steps: tuple[SerializeAsAny[Method], ...] = ()
    calibration: Calibration | None = None
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Weights' dtype that belongs to the setting, or None for any. The loader sets it (`dtype=`), a recipe can't."""

    @field_validator("steps", mode="before")
    @classmethod
    def _parse_steps(cls, value: object) -> tuple[Method, ...]:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"steps: got {value!r}, expected a list of steps, each with a method")
        return tuple(step if isinstance(step, Method) else make_step(step) for step in value)

    @model_validator(mode="after")
    def _check_calibration(self) -> Recipe:
        if self.calibration is not None and not self.needs_calibration:
            raise UserError(f"recipe {self.name!r} sets a calibration, but none of its methods looks at data")
        return self

    @property
    def label(self) -> str:
        """Short name of the recipe in tables."""
        return self.name

    @property
    def method(self) -> str:
        """Methods joined by '+', or 'none' for the dense baseline."""
        return "+".join(step.method for step in self.steps) or "none"

    @property
    def needs_calibration(self) -> bool:
        """Whether some step looks at data."""
        return any(step.needs_calibration for step in self.steps)

    @property
    def sparsity(self) -> float | None:
        """Share of zeros asked for, by the last step that prunes."""
        return next((s.asked_sparsity for s in reversed(self.steps) if s.asked_sparsity is not None), None)

    @property
    def bits(self) -> float | None:
        """Bits a weight asked for, by the last step that quantizes."""
        return next((s.asked_bits for s in reversed(self.steps) if s.asked_bits is not None), None)

    def dtype_warning(self, found: str) -> str | None:
        """One line if a model's weights have another dtype than belongs to this recipe, else None.

        Args:
            found: The loaded weights' dtype, such as "float32".
        """
        if self.dtype in (None, found):
            return None
        return (
            f"recipe {self.name} is a setting of {self.dtype} weights ({self.source}); these are {found}, which is "
            f"another protocol: load the model with dtype={self.dtype}, its dense baseline too"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, defaults included, in plain types."""
        return self.model_dump(mode="json")

    def as_yaml(self) -> str:
        """YAML that loads to an equal recipe."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True)


def _readable(where: str, error: ValidationError) -> UserError:
    """One line out of pydantic's report: every fault with the value seen."""
    faults = []
    for fault in error.errors():
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            return cause
        key = ".".join(str(part) for part in fault["loc"])
        if isinstance(cause, ValueError):
            faults.append(f"{key}: {cause}" if key else str(cause))
            continue
        if fault["type"] == "missing":
            faults.append(f"{key} is missing")
            continue
        faults.append(f"{key}={fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return UserError(f"{where}: {'; '.join(faults)}")


def _build(model: type[BaseModel], where: str, values: Mapping[str, Any]) -> Any:
    """Validate with our messages: an unknown key gets the nearest known one."""
    for key in values:
        if key not in model.model_fields:
            raise unknown_name(f"key of {where}", str(key), list(model.model_fields))
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _readable(where, error) from None


def make_step(values: object) -> Method:
    """Build one step from its plain form.

    Args:
        values: A mapping with `method` and the keys of that method's config.

    Raises:
        UserError: On an unknown method or key (with the nearest one) or a value out of its range.
    """
    if not isinstance(values, Mapping) or "method" not in values:
        raise UserError(f"a step must be a mapping with a method, got {values!r}")
    cls = method_class(values["method"])
    step: Method = _build(cls, f"method {values['method']}", values)
    return step


def make_calibration(values: Mapping[str, Any]) -> Calibration:
    """Build a calibration from its plain form; raises UserError as `make_step` does."""
    calibration: Calibration = _build(Calibration, "calibration", values)
    return calibration


def make_recipe(values: object, where: str) -> Recipe:
    """Build a recipe from its plain form; `where` starts the message of a fault."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: a recipe is a mapping with version, name and steps, got {type(values).__name__}")
    values = dict(values)
    if isinstance(values.get("calibration"), Mapping):
        values["calibration"] = make_calibration(values["calibration"])
    recipe: Recipe = _build(Recipe, where, values)
    return recipe


@cache
def recipe_folder() -> Path:
    """Folder of the packaged recipes: inside the installed package, or the repository's own."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _packaged() -> dict[str, Path]:
    return {path.stem: path for path in sorted(recipe_folder().glob("*.yaml"))}


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted."""
    return sorted(_packaged())


def _find(name_or_path: str) -> Path:
    packaged = _packaged()
    if name_or_path in packaged:
        return packaged[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise UserError(f"recipe file {name_or_path!r} does not exist; give a path to a YAML file or a packaged name")
    raise unknown_name("recipe", name_or_path, list(packaged))


def recipe_text(name_or_path: str) -> str:
    """The YAML text of a recipe as it was written; raises UserError for a name or file that can't be read."""
    return _read(_find(name_or_path), name_or_path)


def load_recipe(name_or_path: str) -> Recipe:
    """Load a packaged recipe by name, or any recipe by the path of its YAML file.

    Raises:
        UserError: If there is none, it is not valid YAML, it holds an unknown or repeated key or a bad value, or its
            name says another thing than its steps. The message names the recipe or file.
    """
    if not isinstance(name_or_path, str):
        raise UserError(f"recipe must be a packaged name or a path to a YAML file, got {name_or_path!r}")
    path, where = _find(name_or_path), f"recipe {name_or_path!r}"
    try:
        values = yaml.load(_read(path, name_or_path), _OnceLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not readable YAML: {' '.join(str(error).split())}") from None
    try:
        recipe = make_recipe(values, where)
    except UserError as error:
        raise error if where in str(error) else UserError(f"{where}: {error}") from None
    _refuse_false_name(recipe, path, where)
    return recipe


class _OnceLoader(yaml.SafeLoader):
    """YAML without two of its traps: repeated keys (the last wins), and 2:4, a number to base 60."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | str:
        """A number, or the text of a pattern N:M."""
        return str(node.value) if ":" in node.value else super().construct_yaml_int(node)


_OnceLoader.add_constructor("tag:yaml.org,2002:int", _OnceLoader.construct_number)


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"recipe {name!r} is not readable YAML: {error}") from None
    except OSError as error:
        raise UserError(f"recipe {name!r} can't be read: {error.strerror}") from None


def _refuse_false_name(recipe: Recipe, path: Path, where: str) -> None:
    """Refuse the name of a packaged recipe that does something else, and a label that the steps don't have.

    Tables show the name: a copy of wanda-50 with another sparsity must not go on as wanda-50.
    """
    does = "+".join(step.method + step.level for step in recipe.steps) or "none"
    own = _packaged().get(recipe.name)
    if own is not None and own != path and own.resolve() != path.resolve():
        packaged = load_recipe(recipe.name)
        if (packaged.steps, packaged.calibration, packaged.dtype) != (recipe.steps, recipe.calibration, recipe.dtype):
            raise UserError(
                f"{where} is named {recipe.name!r}, but the packaged recipe of that name is another one; "
                "give it a name of its own"
            )
        return
    said = [_LEVEL.fullmatch(part) for part in recipe.name.split("+")]
    if recipe.name != does and all(match is not None and match[1] in METHODS for match in said):
        raise UserError(f"{where} is named {recipe.name!r}, but its steps are {does}; give it a name that is true")
