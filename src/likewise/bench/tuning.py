"""Hyper-parameters by Optuna: the same number of trials for every method, each of the whole budget.

A trial trains without some of the classes that the fold learns from, and is judged by MAP@R on those; the
classes that the fold holds out are never looked at. What is searched: the learning rate and that of the
loss's own parameters between a tenth and ten times, and every number of the loss above zero between a third
and three times what the method has, all evenly in logarithms. The first trial is the method as it is.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from likewise.bench.contender import trained
from likewise.bench.ledger import Ledger
from likewise.bench.protocol import Fold, Protocol
from likewise.data import split_by_class
from likewise.errors import InputError, MissingExtraError
from likewise.training import Method, NotFiniteError, mean_average_precision

__all__ = ["check_optuna", "search_space", "tuned"]

_VALIDATED = 0.25


def check_optuna() -> Any:
    """Optuna, or a line that says how to install it.

    Raises
    ------
    MissingExtraError
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("tuning needs Optuna: pip install 'likewise[tuning]'") from error
    return optuna


def search_space(method: Method) -> dict[str, tuple[float, float, float]]:
    """What is searched: for each name the method's own value, the least and the largest.

    >>> from likewise.training import METHODS
    >>> [(name, round(own, 3)) for name, (own, _, _) in search_space(METHODS["arcface"]).items()]
    [('learning_rate', 0.002), ('loss_rate', 10.0), ('loss.margin', 0.5), ('loss.scale', 64.0)]
    """
    own = {"learning_rate": method.learning_rate}
    if any(True for _ in method.loss(n_classes=2, dimension=2).parameters()):
        own["loss_rate"] = method.loss_rate
    for name, parameter in inspect.signature(method.kind).parameters.items():
        value = method.options.get(name, parameter.default)
        if isinstance(value, float) and 0 < value < math.inf:
            own[f"loss.{name}"] = value
    reach = {name: 3.0 if name.startswith("loss.") else 10.0 for name in own}
    return {name: (value, value / reach[name], value * reach[name]) for name, value in own.items()}


def tuned(name: str, method: Method, fold: Fold, protocol: Protocol, ledger: Ledger) -> dict[str, float]:
    """The best choice of a method in a fold; trials that the ledger holds aren't run again.

    A trial whose loss isn't finite, or refuses the value, counts and is passed over.
    """
    space = search_space(method)
    parts = split_by_class(fold.learn, unseen_fraction=_fraction(fold), seed=fold.number)
    lines: list[dict[str, Any]] = []
    for number in range(protocol.trials):
        line = ledger.find(row=name, fold=fold.number, number=number)
        if line is None:
            choice = _asked(space, lines, number)
            value: float | None = None
            items = 0
            try:
                made = trained(parts.seen, method, choice, protocol, seed=0)
                items = made.items
                model = made.model
                value = mean_average_precision(
                    model.encoder, model.distance, model.preprocessing, parts.unseen
                )
            except (NotFiniteError, InputError):
                value = None
            line = {
                "kind": "trial",
                "row": name,
                "fold": fold.number,
                "number": number,
                "steps": protocol.steps,
                "items": items,
                "choice": choice,
                "map@r": value,
            }
            ledger.add(line)
        lines.append(line)
    judged = [line for line in lines if line["map@r"] is not None]
    return dict(max(judged, key=lambda line: line["map@r"])["choice"]) if judged else {}


def _fraction(fold: Fold) -> float:
    count = len(fold.learn.classes)
    return max(2, round(_VALIDATED * count)) / count


def _asked(
    space: dict[str, tuple[float, float, float]], before: list[dict[str, Any]], number: int
) -> dict[str, float]:
    """What to try next: of the trials before and the number alone, so that a resumed search is the same."""
    if number == 0:
        return {name: own for name, (own, _, _) in space.items()}
    optuna = check_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {
        name: optuna.distributions.FloatDistribution(low, high, log=True)
        for name, (_, low, high) in space.items()
    }
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=number))
    state = optuna.trial.TrialState
    for line in before:
        done = line["map@r"] is not None
        study.add_trial(
            optuna.trial.create_trial(
                params=line["choice"],
                distributions=distributions,
                value=line["map@r"],
                state=state.COMPLETE if done else state.FAIL,
            )
        )
    asked: dict[str, float] = study.ask(distributions).params
    return asked
