"""What may stand at a place of a document, by the models' own annotations. Pure.

A *shape* are the alternatives at a place: models, containers, scalars, without None.
"""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Shape = tuple[Any, ...]


def shape_of(annotation: Any) -> Shape:
    """The alternatives of an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return shape_of(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(one for alternative in get_args(annotation) for one in shape_of(alternative))
    return () if annotation in (None, NoneType) else (annotation,)


def known_keys(shape: Shape) -> list[str]:
    """The keys that a document may have here, as they are written."""
    return list(dict.fromkeys(key for model in shape if _is_model(model) for key in _fields(model)))


def below(shape: Shape, step: str | int) -> Shape:
    """What may stand under a key, or at an index."""
    found: list[Any] = []
    for one in shape:
        origin: Any = get_origin(one)
        inner = get_args(one)
        if _is_model(one) and step in _fields(one):
            found += shape_of(_fields(one)[str(step)])
        elif origin in (tuple, list) and isinstance(step, int):
            found += shape_of(inner[0])
        elif origin is dict:
            found += shape_of(inner[1])
    return tuple(dict.fromkeys(found))


def chosen(shape: Shape, label: str | int) -> Shape:
    """The alternative that pydantic's label of a union's branch stands for; all of them when that is not clear."""
    text = str(label)
    found = tuple(one for one in shape if _labels(one, text))
    return found or shape


def _labels(one: Any, label: str) -> bool:
    if not _is_model(one):
        origin: Any = get_origin(one)
        return origin in (tuple, list, dict) and label.startswith(f"{origin.__name__}[")
    literals = (
        value for annotation in _fields(one).values() if get_origin(annotation) is Literal for value in get_args(annotation)
    )
    return label in _fields(one) or label == one.__name__ or label in literals


def _is_model(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {item.alias or name: item.annotation for name, item in model.model_fields.items()}
