"""What requests and answers look like; the OpenAPI description is made from these."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr

__all__ = [
    "Added",
    "EmbedRequest",
    "Embedded",
    "ErrorAnswer",
    "ErrorDetail",
    "FoundHit",
    "Health",
    "ImageItem",
    "Item",
    "Ready",
    "RecordsAnswer",
    "RecordsRequest",
    "Removed",
    "SearchAnswer",
    "SearchRequest",
    "StoredAnswer",
    "TextItem",
    "VerifyAnswer",
    "VerifyRequest",
]

_Number: TypeAlias = FiniteFloat
_Vector: TypeAlias = Annotated[list[_Number], Field(min_length=1, max_length=1_000_000)]
_Value: TypeAlias = (
    StrictBool | StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)] | StrictStr
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageItem(_Strict):
    """A picture: PNG, JPEG, WebP, BMP, TIFF or PGM, as base64."""

    image: Annotated[str, Field(min_length=1)]


class TextItem(_Strict):
    """A text."""

    text: Annotated[str, Field(min_length=1, max_length=100_000)]


Item: TypeAlias = (
    ImageItem
    | TextItem
    | _Vector
    | Annotated[list[_Vector], Field(min_length=1)]
    | Annotated[list[Annotated[list[_Vector], Field(min_length=1)]], Field(min_length=1)]
)
_Items: TypeAlias = Annotated[list[Item], Field(min_length=1, description="Pictures, texts or arrays.")]
_Embeddings: TypeAlias = Annotated[list[_Vector], Field(min_length=1)]
_Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=1_000)]


class EmbedRequest(_Strict):
    """Items to embed."""

    items: _Items


class SearchRequest(_Strict):
    """Items, embeddings or ids of records whose neighbours are wanted: exactly one of the three."""

    items: _Items | None = None
    embeddings: _Embeddings | None = None
    ids: Annotated[list[_Id], Field(min_length=1)] | None = None
    model: str | None = Field(None, description="The fingerprint of the model that made the embeddings.")
    k: Annotated[int, Field(ge=1, strict=True)] = 10
    radius: Annotated[_Number, Field(description="All records at most this far, at most k.")] | None = None
    where: str | None = Field(None, description="A filter: shop = 'A' and price < 20")
    expand: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    rerank: StrictBool = False
    together: StrictBool = Field(False, description="Several are one query: near their mean, one list.")


class VerifyRequest(_Strict):
    """Two items; or two ids of records; or one of each."""

    a: Item | None = None
    b: Item | None = None
    a_id: _Id | None = None
    b_id: _Id | None = None


class RecordsRequest(_Strict):
    """Records to add: items or embeddings, with ids and what is known of them."""

    items: _Items | None = None
    embeddings: _Embeddings | None = None
    model: str | None = None
    ids: Annotated[list[_Id], Field(min_length=1)]
    labels: list[StrictInt | StrictStr | None] | None = None
    metadata: list[dict[str, _Value | None]] | None = None


class Embedded(BaseModel):
    """Embeddings, and the fingerprint of the model that made them."""

    embeddings: list[list[float]]
    dimension: int
    model: str


class FoundHit(BaseModel):
    """A record that was found."""

    id: str
    label: int | str | None
    distance: float
    row: int
    probability: float | None
    metadata: dict[str, Any]


class SearchAnswer(BaseModel):
    """For each item its neighbours, nearest first."""

    hits: list[list[FoundHit]]
    model: str


class VerifyAnswer(BaseModel):
    """Whether two items are alike, and how surely."""

    alike: bool
    distance: float
    threshold: float
    probability: float
    model: str


class StoredAnswer(BaseModel):
    """A record."""

    id: str
    label: int | str | None
    row: int
    metadata: dict[str, Any]


class RecordsAnswer(BaseModel):
    """Records, and how many there are of the kind that was asked for."""

    records: list[StoredAnswer]
    total: int


class Added(BaseModel):
    """How many records were added; they are on the disk."""

    added: int


class Removed(BaseModel):
    """How many records were removed; that is on the disk."""

    removed: int


class Health(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """The model and the index are there."""

    status: str
    records: int
    dimension: int | None
    engine: str
    model: str
    kind: str
    item_shape: list[int]


class ErrorDetail(BaseModel):
    """What went wrong: a word for programs, a line for people, the request's number."""

    code: str
    message: str
    request: str


class ErrorAnswer(BaseModel):
    """Every answer of 400 or above."""

    error: ErrorDetail
