"""What callbacks have counted, and which of them ended training: how a checkpoint knows both."""

from collections import Counter

import keras

from kmodels.tracking import Tracker
from kmodels.training.callbacks import Clock, KeepWeights, StopOnNaN

# What callbacks without get_state count, by class; all of it is reset by their on_train_begin. Subclasses, which may
# count more, are not meant.
_EARLY_STOPPING = ("wait", "best", "best_epoch", "stopped_epoch", "best_weights")
STATE = {
    keras.callbacks.EarlyStopping: _EARLY_STOPPING,
    KeepWeights: _EARLY_STOPPING,
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.History: ("epoch", "history"),
    StopOnNaN: ("diverged",),
    Clock: ("compile_seconds", "train_seconds"),
}
# Without state.
STATELESS = (keras.callbacks.LambdaCallback, keras.callbacks.TerminateOnNaN)
# Those that end training when they have waited for their patience.
STOPPING = (keras.callbacks.EarlyStopping, KeepWeights)
# What has ended a training, as a checkpoint says it.
DIVERGED, PATIENCE, OWN = "diverged", "patience", "own"


def state_of(callback):
    """What a callback has counted; None where that cannot be known."""
    if hasattr(callback, "get_state") and hasattr(callback, "set_state"):
        return callback.get_state()
    names = STATE.get(type(callback))
    return {name: getattr(callback, name) for name in names} if names else None


def restore_states(callbacks, saved):
    """Gives callbacks what they have counted.

    Args:
        callbacks: of the training.
        saved: [(class name, what `state_of` returned)] of those of the training that is resumed.

    Returns:
        Class names of the callbacks that start afresh.
    """
    afresh = []
    for callback, (kind, state) in zip(callbacks, saved, strict=False):
        same = kind == type(callback).__name__ and state is not None
        if same and hasattr(callback, "set_state"):
            callback.set_state(state)
        elif same and type(callback) in STATE:
            for name, value in state.items():
                setattr(callback, name, value)
        # What a Tracker shows is read from the history.
        elif type(callback) not in STATELESS and not isinstance(callback, Tracker):
            afresh.append(type(callback).__name__)
    return afresh


def ended_by(callbacks, epochs_done):
    """What has ended a training after so many epochs, for `why_ended`: a list that JSON can hold.

    Args:
        callbacks: of the training, as they are now.
        epochs_done: how many epochs are finished.
    """
    for index, callback in enumerate(callbacks):
        if type(callback) is StopOnNaN and callback.diverged:
            return [DIVERGED]
        # 0 until patience has ended training, which needs two epochs at least.
        if type(callback) in STOPPING and callback.stopped_epoch and callback.stopped_epoch + 1 == epochs_done:
            return [PATIENCE, index, callback.wait]
    return [OWN, _own(callbacks)]


def why_ended(ended, callbacks):
    """Why nothing is left to train, in words; None where these callbacks would not have ended the training.

    Args:
        ended: what `ended_by` returned; None for a training that had not ended.
        callbacks: of the training that is resumed.
    """
    kind, *details = ended or [None]
    if kind == DIVERGED:
        return "its loss was not a finite number"
    if kind == PATIENCE:
        index, waited = details
        callback = callbacks[index] if index < len(callbacks) else None
        if type(callback) in STOPPING and waited >= callback.patience:
            return f"{callback.monitor} had not improved for {waited} epochs; a larger patience continues it"
    # Which of several it was, nobody knows: with one less, training continues.
    if kind == OWN and details[0] and not Counter(details[0]) - Counter(_own(callbacks)):
        return f"a callback of these had ended it: {', '.join(details[0])}; without it, resume=True continues it"
    return None


def _own(callbacks):
    """Class names of the callbacks whose code is not known, and may end training."""
    return [type(one).__name__ for one in callbacks if _is_own(type(one))]


def _is_own(kind):
    return not kind.__module__.startswith(("keras.", "kmodels.")) or issubclass(kind, keras.callbacks.LambdaCallback)
