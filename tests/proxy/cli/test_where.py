"""Which gateway and which key."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.fault import Fault
from proxy.cli.options import data_option
from proxy.cli.where import Gateway, foreign, gateway, management_key, unreadable, virtual_key
from tests.proxy.cli.test_running import held


def test_address_from_option_then_running_gateway_then_default(tmp_path: Path) -> None:
    assert gateway(None, None, tmp_path) == Gateway("http://127.0.0.1:4000")
    with held(tmp_path, {"url": "http://localhost:4321"}):
        assert gateway(None, None, tmp_path).base == "http://localhost:4321"
        assert gateway("https://gateway.example/v1/", None, tmp_path) == Gateway("https://gateway.example")


def test_certificate_of_the_one_on_this_machine_is_believed(tmp_path: Path) -> None:
    """Only at its own address: another one's certificate must be named."""
    with held(tmp_path, {"url": "https://localhost:4321", "tls_cert_file": "/here.pem"}):
        assert gateway(None, None, tmp_path).ca_file == Path("/here.pem")
        assert gateway(None, Path("/mine.pem"), tmp_path).ca_file == Path("/mine.pem")
        assert gateway("https://gateway.example", None, tmp_path).ca_file is None
        assert gateway("https://gateway.example", Path("/mine.pem"), tmp_path).ca_file == Path("/mine.pem")


def test_management_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fault) as caught:
        management_key(None, tmp_path)
    assert caught.value.code == 4 and "SYNAPSCALE_ADMIN_KEY" in str(caught.value.next_step)
    (tmp_path / "admin-key").write_text("sk-adm-file\n")
    assert management_key(None, tmp_path) == "sk-adm-file"
    monkeypatch.setenv("SYNAPSCALE_KEY", "sk-adm-environment")
    assert management_key(None, tmp_path) == "sk-adm-environment"
    (tmp_path / "other").write_text("sk-adm-other")
    assert management_key(tmp_path / "other", tmp_path) == "sk-adm-other"
    with pytest.raises(Fault):
        management_key(tmp_path / "none", tmp_path)


def test_virtual_key_for_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "admin-key").write_text("sk-adm-x")  # is no substitute
    with pytest.raises(Fault, match="SYNAPSCALE_API_KEY") as caught:
        virtual_key(tmp_path)
    assert caught.value.code == 4 and f"keys create cli --data-dir {tmp_path})" in str(caught.value.next_step)
    (tmp_path / "first-key").write_text("sk-syn-first")
    assert virtual_key(tmp_path) == "sk-syn-first"
    monkeypatch.setenv("SYNAPSCALE_API_KEY", " sk-syn-mine ")
    assert virtual_key(tmp_path) == "sk-syn-mine"


def test_folder_in_a_command_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_option(Path(".synapscale")) == data_option(tmp_path / ".synapscale") == ""
    assert data_option(Path("my data")) == " --data-dir 'my data'"


def test_key_that_would_break_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPSCALE_API_KEY", "sk-syn-canary\r\nx: y")
    with pytest.raises(Fault) as caught:
        virtual_key(tmp_path)
    assert "canary" not in caught.value.message


def test_folder_of_something_else(tmp_path: Path) -> None:
    assert foreign(tmp_path) is None and foreign(tmp_path / "none") is None
    (tmp_path / "lost+found").mkdir()  # a volume of its own
    assert foreign(tmp_path) is None
    (tmp_path / "thesis.tex").write_text("")
    assert foreign(tmp_path) == "thesis.tex" and foreign(tmp_path / "thesis.tex") is None
    (tmp_path / "master-key").write_text("")
    assert foreign(tmp_path) is None


def test_closed_folder_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not unreadable(tmp_path)

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    assert unreadable(tmp_path)
