"""All commands, and how a failure leaves."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from typing import Any

import typer
from typer.main import get_command

from proxy.cli import (
    alerts,
    backup,
    billing,
    chat,
    completion,
    config,
    doctor,
    export,
    keys,
    llms,
    management_keys,
    master_key,
    prices,
    processes,
    providers,
    requests,
    rerate,
    roles,
    serve,
    snippet,
    status,
    usage,
    users,
    variables,
    verify,
    workspaces,
)
from proxy.cli.fault import DONE, FAILED, Fault
from proxy.cli.options import NAME
from proxy.cli.run import run as run_program

app = typer.Typer(
    name=NAME, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An OpenAI-compatible gateway whose bill is always right.",
    epilog="First start: synapscale serve. Is something wrong: synapscale doctor. Version: synapscale --version.",
)
app.command("serve")(serve.serve)
app.command("gateway")(processes.gateway)
app.command("worker")(processes.worker)
app.command("migrate")(processes.migrate)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("chat")(chat.chat)
app.command("snippet")(snippet.snippet)
# What follows the command is its own: also what looks like an option of ours.
app.command("run", context_settings={"allow_interspersed_args": False})(run_program)
app.add_typer(config.app, name="config")
app.add_typer(providers.app, name="providers")
app.add_typer(llms.app, name="llms")
app.add_typer(llms.app, name="models", help="The same as llms.")
app.add_typer(prices.app, name="prices")
app.add_typer(keys.app, name="keys")
app.add_typer(variables.app, name="variables")
app.add_typer(workspaces.app, name="workspaces")
app.add_typer(users.app, name="users")
app.add_typer(management_keys.app, name="management-keys")
app.command("roles")(roles.roles)
app.add_typer(requests.app, name="requests")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(master_key.app, name="master-key")
app.command("usage")(usage.usage)
app.add_typer(billing.app, name="billing")
app.command("rerate")(rerate.rerate)
app.command("alerts")(alerts.alerts)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("completion")(completion.completion)


def run(arguments: list[str]) -> int:
    """The exit code. Typer itself exits 2 on wrong usage and 1 on Ctrl-C at a prompt."""
    if arguments == ["--version"]:  # no option of the root: Typer would import pydantic to read it, see below
        print(installed_version("synapscale-gateway"))
        return DONE
    if completion.VARIABLE in os.environ:
        completion.answer_shells()
    try:
        command = get_command(app)
        command(arguments, prog_name=NAME, default_map=_no_help_asked(command))
    except Fault as fault:
        print("\n".join(fault.lines()), file=sys.stderr)
        return fault.code
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:
        # `synapscale requests list | head`: the reader has what it wanted. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else DONE if leave.code is None else FAILED
    return DONE


def _no_help_asked(command: Any) -> dict[str, Any]:
    """Defaults of `--help`. Typer 0.29 takes one that was not given for None and imports pydantic to make a bool of it,
    at every level of a command: 0.1 s for each help text and each Tab."""
    below = {name: _no_help_asked(sub) for name, sub in getattr(command, "commands", {}).items()}
    return {"help": False, **below}
