"""No agent of ours: a patch that somebody else has made stands in a file and goes to the tests as it is."""

from __future__ import annotations

from trajmake.agents.base import Trajectory
from trajmake.agents.history import History
from trajmake.datasets.instance import Instance
from trajmake.outcomes import ExitStatus
from trajmake.predictions import Predictions


def propose(predictions: Predictions, instance: Instance) -> tuple[Trajectory, str]:
    """The trajectory of an instance and its patch, byte for byte as the file has it.

    Without a prediction the exit status is ``no_prediction``, and the patch is empty.
    """
    found = predictions.get(instance.instance_id)
    facts = {"model_digest": predictions.digest(instance.instance_id), "predictions": str(predictions.path)}
    history = History()
    if found is None:
        message = f"{predictions.path} has no prediction for {instance.instance_id}."
        history.stop(message)
        return Trajectory(ExitStatus.NO_PREDICTION, history=history.events, message=message, details=facts), ""
    message = f"The patch of {found.model or 'an unnamed model'} at {found.place} of {predictions.path}."
    history.finish(message)
    facts["model_name_or_path"] = found.model
    return Trajectory(ExitStatus.SUBMITTED, history=history.events, message=message, details=facts), found.patch
