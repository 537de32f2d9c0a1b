"""What a document may have at a path, by the annotations of the models. Pure.

A *shape* is the tuple of alternatives at a path: models, containers and scalars, without None. `str | tuple[Node, ...] | None` has
the shape `(str, tuple[Node, ...])`.
"""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Shape = tuple[Any, ...]


def shape_of(annotation: Any) -> Shape:
    """Return the alternatives of an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return shape_of(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(member for alternative in get_args(annotation) for member in shape_of(alternative))
    return () if annotation in (None, NoneType) else (annotation,)


def allowed_keys(shape: Shape) -> list[str]:
    """Return the keys that a document may have here, as they are written."""
    return list(dict.fromkeys(key for model in shape if _is_model(model) for key in _fields(model)))


def shape_below(shape: Shape, key: str | int) -> Shape:
    """Return the shape under a key, or at an index."""
    shapes: list[Any] = []
    for alternative in shape:
        origin: Any = get_origin(alternative)
        inner = get_args(alternative)
        if _is_model(alternative) and key in _fields(alternative):
            shapes += shape_of(_fields(alternative)[str(key)])
        elif origin in (tuple, list) and isinstance(key, int):
            shapes += shape_of(inner[0])
        elif origin is dict:
            shapes += shape_of(inner[1])
    return tuple(dict.fromkeys(shapes))


def branches_labelled(shape: Shape, label: str | int) -> Shape:
    """Return the alternative that pydantic's label of a union's branch means; all of them when that is not clear."""
    text = str(label)
    branches = tuple(alternative for alternative in shape if _has_label(alternative, text))
    return branches or shape


def _has_label(alternative: Any, label: str) -> bool:
    if not _is_model(alternative):
        origin: Any = get_origin(alternative)
        return origin in (tuple, list, dict) and label.startswith(f"{origin.__name__}[")
    literals = (
        value for annotation in _fields(alternative).values() if get_origin(annotation) is Literal for value in get_args(annotation)
    )
    return label in _fields(alternative) or label == alternative.__name__ or label in literals


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {item.alias or name: item.annotation for name, item in model.model_fields.items()}
