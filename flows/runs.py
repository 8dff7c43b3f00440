"""How a run presents itself in the UI: its name, its log, and what to do when it failed."""

import logging
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

RESUME = (
    "What was finished is kept. When the cause is mended, run the deployment again with the same "
    "parameters: it goes on at the first stage that is missing. See docs/troubleshooting.md"
)


def name_iteration() -> str:
    """Name of a run of one iteration, before the number is known."""
    number = flow_run.parameters.get("iteration")
    return _name(f"iteration {number}" if number else "next iteration")


def name_seed() -> str:
    """Name of a run of the seed phase."""
    return _name("seed phase")


def name_campaign() -> str:
    """Name of a run of several iterations."""
    return _name(f"up to {flow_run.parameters['iterations']} iterations")


def name_evaluation() -> str:
    """Name of a run that scores a policy."""
    number = flow_run.parameters.get("iteration")
    return _name("evaluation" if number is None else f"evaluation of iteration {number}")


def _name(what: str) -> str:
    parameters = flow_run.parameters
    return f"{parameters['campaign']} · {what} ({name_profile(parameters['profile'])})"


def name_profile(profile: str) -> str:
    """A profile as it stands in names: without folder and ending."""
    return Path(profile).stem


def rename_run(name: str) -> None:
    """Give the current run another name; one that cannot be renamed keeps its own."""
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), name=name)
    except Exception as exc:  # hours of work do not end because of a name
        logging.getLogger(__name__).warning("the run keeps its name: %s", type(exc).__name__)


def advise(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Say at the end of a failed run's log how to go on; Prefect calls it by these names."""
    flow_run_logger(flow_run, flow).error(RESUME)


class Quiet(logging.Filter):
    """Leaves out Prefect's line about every task that ended well, and says what Cached means."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line stays."""
        text = record.getMessage()
        if text.startswith("Finished in state Cached("):
            record.msg, record.args = "made before from the same inputs: taken as it is", ()
        return text != "Finished in state Completed()"


def quiet_logs() -> None:
    """Keep the run's log to what is worth reading."""
    tasks = logging.getLogger("prefect.task_runs")
    if not any(isinstance(known, Quiet) for known in tasks.filters):
        tasks.addFilter(Quiet())


quiet_logs()
