from __future__ import annotations

import pytest

from proxy.objects.kinds import KINDS
from proxy.objects.paths import TEMPLATES, object_path
from proxy.wire.refusals import Reason, Refused


def test_what_a_path_names() -> None:
    found = object_path("vector_stores/vs_1/files/file-1/content")
    assert found is not None
    assert [(each.kind, each.id) for each in found.references] == [("vector_store", "vs_1"), ("file", "file-1")]
    assert found.template == "vector_stores/{vector_store}/files/{file}/content"


@pytest.mark.parametrize("path", ["responses", "chat/completions", "files", "models/gpt-4o", "responses/a/b/c", ""])
def test_paths_without_an_object(path: str) -> None:
    assert object_path(path) is None


@pytest.mark.parametrize(
    "id",
    ["..", ".", "resp_1..2", "resp_1%2F..", "resp 1", "resp_1?x=1", "resp_ä", "a" * 300, "resp_1\0", "-", "resp_1;x"],
)
def test_what_cannot_be_an_id_is_not_found(id: str) -> None:
    with pytest.raises(Refused) as refused:
        object_path(f"responses/{id}/cancel")
    assert refused.value.reason is Reason.NOT_FOUND


def test_templates_name_kinds_that_there_are() -> None:
    named = {word[1:-1] for template in TEMPLATES for word in template.split("/") if word.startswith("{")}
    assert named <= KINDS


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("files/file-1", "file-1"), ("conversations/conv_1/items/msg_1", "msg_1"), ("vector_stores/vs_1/files/file-1", None),
        ("responses/resp_1/cancel", None), ("containers/c_1/files/f_1", "f_1"),
    ],
)  # fmt: skip
def test_what_a_delete_deletes(path: str, gone: str | None) -> None:
    found = object_path(path)
    assert found is not None
    assert (None if found.deleted is None else found.deleted.id) == gone
