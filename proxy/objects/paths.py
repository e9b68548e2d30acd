"""The provider objects that a path names (pure). OpenAI's paths, below the version: `/responses/resp_…/cancel`."""

from __future__ import annotations

from typing import NamedTuple

from proxy.objects.kinds import is_id
from proxy.objects.owner import not_found
from proxy.objects.references import Reference

# A word stands for itself, `{kind}` for an id of that kind. First the surface, then what lies below it.
TEMPLATES = (
    "responses/{response}", "responses/{response}/cancel", "responses/{response}/input_items",
    "conversations/{conversation}", "conversations/{conversation}/items", "conversations/{conversation}/items/{item}",
    "chat/completions/{completion}", "chat/completions/{completion}/messages",
    "files/{file}", "files/{file}/content",
    "uploads/{upload}/parts", "uploads/{upload}/complete", "uploads/{upload}/cancel",
    "batches/{batch}", "batches/{batch}/cancel",
    "vector_stores/{vector_store}", "vector_stores/{vector_store}/search",
    "vector_stores/{vector_store}/files", "vector_stores/{vector_store}/files/{file}",
    "vector_stores/{vector_store}/files/{file}/content",
    "vector_stores/{vector_store}/file_batches", "vector_stores/{vector_store}/file_batches/{vector_store_batch}",
    "vector_stores/{vector_store}/file_batches/{vector_store_batch}/cancel",
    "vector_stores/{vector_store}/file_batches/{vector_store_batch}/files",
    "containers/{container}", "containers/{container}/files", "containers/{container}/files/{container_file}",
    "containers/{container}/files/{container_file}/content",
    "videos/{video}", "videos/{video}/content", "videos/{video}/remix",
)  # fmt: skip
_SPLIT = tuple((template, tuple(template.split("/"))) for template in TEMPLATES)


class ObjectPath(NamedTuple):
    """`template`: for logs and metrics. `references`: outermost first."""

    template: str
    references: tuple[Reference, ...]

    @property
    def deleted(self) -> Reference | None:
        """What is gone after a DELETE of the path. A file that is taken out of a vector store is still a file."""
        ends_here = self.template.endswith("}") and self.template != "vector_stores/{vector_store}/files/{file}"
        return self.references[-1] if ends_here else None


def object_path(path: str) -> ObjectPath | None:
    """`path`: below `/v1/`, decoded once. None: it names no object. Raises `Refused` (404) where a part cannot be an id:
    what is sent on is then spelled as it was checked, without dots, slashes and escapes.
    """
    parts = path.strip("/").split("/")
    for template, words in _SPLIT:
        if len(words) == len(parts) and all(
            word[0] == "{" or word == part for word, part in zip(words, parts, strict=True)
        ):
            found = []
            for word, part in zip(words, parts, strict=True):
                if word[0] == "{":
                    kind = word[1:-1]
                    reference = Reference(kind, part, f"{kind}_id")
                    if not is_id(part) or ".." in part:
                        raise not_found(reference)
                    found.append(reference)
            return ObjectPath(template, tuple(found))
    return None
