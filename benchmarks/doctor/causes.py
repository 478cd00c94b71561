"""The findings that count as the cause of a failure mode, written from what the failure mode breaks.

Each entry has a glob of failure modes, a pattern of texts that name the part that it breaks and how, and one of texts
that are true of it and vaguer. The first entry whose glob matches counts. A text is a finding's check, what it says,
and its evidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from faultlab.doctor.finding import OK, Finding

_NO_LEARNING = r"did not change|has changed|does not fall|learns? nothing|nothing is learn|not learn"
_GRADIENTS = r"gradient"
_NOT_FINITE = r"not finite|NaN|infinit"

# fmt: off
ENTRIES: Sequence[tuple[str, str, str]] = (
    ("batch.empty", r"(batch|loader).*(empty|no sample|0 samples)|empty batch", r"batch|shape"),
    ("batch.none", r"(batch|loader|collate).*None|None.*(batch|collate)", r"batch"),
    (
        "batch.repeated",
        r"same (batch|samples|few)|repeat|again and again|batches are (alike|equal|identical)",
        r"batch",
    ),
    ("batch.*", r"batch.*(sample|size|small|part)|samples? (are|is) (lost|missing|dropped)", r"batch|sample"),
    ("checkpoint.wrong-best", r"mode=|direction|(larger|smaller).*better", r"checkpoint"),
    ("checkpoint.*", r"checkpoint", r"load|weights"),
    ("dataset.class-removed", r"class.*(never|missing|absent|no sample|lack)", r"class|label|balance"),
    ("dataset.duplicated", r"same.*sample|duplicat|repeat|again", r"sample|data"),
    ("dataset.empty-validation", r"validation.*(no |empty|never)|no validation", r"validation"),
    ("dataset.empty-training", r"(loader|dataset|training).*(no batch|empty|no sample|nothing)", r"batch|dataset"),
    (
        "dataset.item-stop-iteration",
        r"StopIteration|(ends|fewer|short).*(epoch|batch)|epoch.*(ends|fewer|skip)",
        r"batch",
    ),
    (
        "dataset.random-labels",
        r"labels?.*(not related|unrelated|random|belong|noise)|tell the targets",
        r"label|target",
    ),
    ("dataset.truncated", r"(data|sample|batch).*(missing|fewer|truncat|last part)", r"batch|sample"),
    ("dataset.validation-labels*", r"validation.*label|label.*validation|LabelsAligned", r"label|validation"),
    ("forward.constant", r"output.*(constant|same|not (change|depend|vary))|constant output", _NO_LEARNING),
    ("forward.detached*", r"no graph|detach|cut", _GRADIENTS + "|" + _NO_LEARNING),
    ("forward.double-softmax", r"softmax", r"activation|output"),
    ("forward.extra-class", r"class.*(more|extra|never|outputs)|outputs.*class", r"class"),
    ("forward.half*", r"half|bfloat16|float16|precision", r"type|output"),
    ("forward.mixes-samples", r"(depend|mix).*(other|sample)|SamplesIndependent", r"sample|batch"),
    ("forward.nan", r"output.*(NaN|finite)|" + _NOT_FINITE, r"loss"),
    ("forward.noise", r"noise|random|same input|repeat|differ", r"output|evaluation"),
    ("forward.permutes*", r"order|permut|another sample|SamplesIndependent|align", r"sample|output"),
    ("gradient.accum*", r"accumul|weight.*batch|unequal|batches of (one|unequal) size", _GRADIENTS),
    (
        "gradient.backward-skipped",
        r"backward|no gradient|gradients? (is|are) (None|missing)",
        _GRADIENTS + "|" + _NO_LEARNING,
    ),
    ("gradient.clip*", r"clip", _GRADIENTS + "|too small|" + _NO_LEARNING),
    (
        "gradient.none",
        r"backward|no gradient|gradients? (is|are) (None|missing)|without a gradient",
        _GRADIENTS + "|" + _NO_LEARNING,
    ),
    ("gradient.*", r"gradient|BackwardFaithful", r"step|update|" + _NO_LEARNING),
    ("init.repeated", r"weights.*(put back|again|initial|epoch)|initiali[sz]ed again", r"weights"),
    ("init.buffers*", r"buffer|running|statistics", r"initial|not finite"),
    ("init.nan", r"(weight|parameter).*NaN|NaN.*(weight|parameter)", _NOT_FINITE),
    ("init.*", r"initial", r"weights|layer|neuron|dead|symmetr|alike|" + _NO_LEARNING),
    ("input.constant", r"input.*(constant|same|alike)|samples? (are|is) (alike|the same)", r"input|output"),
    ("input.zero", r"input.*(zero|constant|0\b|same)", r"input|output"),
    ("input.*nan", r"(input|batch|data).*(NaN|finite)", _NOT_FINITE),
    ("input.infinite", r"(input|batch|data).*(inf|finite)", _NOT_FINITE),
    ("input.unscaled", r"inputs?.*(normali|scale|large|mean)", r"input"),
    ("input.shifted", r"inputs?.*(normali|scale|mean|center)", r"input"),
    ("input.train-only*", r"inputs?.*(scale|normali|preprocess|alike)", r"input|validation"),
    (
        "input.validation-augmented",
        r"validation.*(random|augment|differ|same)|(random|augment).*validation",
        r"validation|input",
    ),
    ("input.*", r"input|feature|transform|preprocess", r"data|validation|batch"),
    ("label.class-missing", r"class.*(never|missing|absent|no sample)", r"class|label"),
    ("label.constant", r"(same|one|single) (label|class)|labels? (are|is) (all|constant)", r"label|class|target"),
    ("label.*", r"label|target|class", r"data|validation"),
    ("layer.batchnorm*", r"BatchNorm|running|statistics|normali[sz]ation", r"evaluation|validation"),
    ("layer.dead-relu", r"dead|ReLU|never active|0 for", _GRADIENTS + "|output|" + _NO_LEARNING),
    ("layer.dropout*", r"dropout|drops", r"layer|" + _NO_LEARNING),
    ("layer.activation*", r"activation|ReLU|sigmoid|linear", r"output|layer"),
    ("layer.regular*", r"penal|regulari|decay|norm of the weights|term", r"loss|weights"),
    ("layer.unregistered", r"regist|list|ModuleList|no optimizer", r"weights|parameters"),
    ("layer.duplicated", r"same layer|shared|several times", r"layer|weights"),
    ("layer.*", r"layer|normali[sz]ation", r"output|weights"),
    ("loader.batch-size*", r"batch.*(size|samples)", r"batch"),
    ("loader.sorted", r"sorted|shuffl|order|one class|same label", r"batch|label"),
    ("loader.unshuffled", r"shuffl|order", r"batch|sample"),
    (
        "loader.*",
        r"(batch|loader|epoch).*(fewer|no |none|short|end|promis|empty|yield|once|length)",
        r"batch|loader|epoch",
    ),
    ("loss.infinite", _NOT_FINITE, r"loss"),
    ("loss.nan", _NOT_FINITE, r"loss"),
    ("loss.times*", _NOT_FINITE, r"loss"),
    ("loss.log*", _NOT_FINITE + r"|logarithm", r"loss"),
    ("loss.last-samples*", r"samples?.*(not|ignor|contribute|weight)", r"loss|gradient"),
    ("loss.negated", r"sign|rises|grows|negat|wrong direction|increas", r"loss"),
    ("loss.scaled", r"scale|times|multipl|too (high|low|large)", r"loss|rate"),
    ("loss.summed", r"sum|times|scale", r"loss|rate"),
    ("loss.regulariser*", r"penal|regulari|norm of the weights|term|decay", r"loss|weights"),
    ("loss.zeroed", r"loss.*(0\b|zero|constant|not depend|same)|no graph", _GRADIENTS + "|" + _NO_LEARNING),
    ("loss.offset", r"constant|offset|term|guess|chance", r"loss"),
    ("loss.*", r"loss", r"output|target"),
    ("metric.not-reset", r"(reset|earlier|all) ?.*(epoch|pass|validation)|never (reset|cleared)", r"metric|validation"),
    ("metric.*", r"metric|log|val_|MetricsRecomputed|average", r"validation|monitor"),
    ("mode.*", r"mode|eval|dropout|BatchNorm", r"validation|training"),
    ("optimizer.no-zero-grad", r"clear|zero_grad|earlier steps|stale", _GRADIENTS),
    ("optimizer.weight-decay*", r"decay", r"weights|" + _NO_LEARNING),
    ("optimizer.double-step", r"twice|two steps|2 (steps|times)|steps? .*batch", r"optimizer|step"),
    ("optimizer.empty", r"(empty|no param|without param|holds|has them|no weights)", r"optimizer"),
    (
        "optimizer.foreign*",
        r"another|other model|copy|no optimizer has|holds none|no longer",
        r"optimizer|" + _NO_LEARNING,
    ),
    ("optimizer.l*", r"no optimizer has|not in|left out|missing|holds", r"optimizer|parameters|did not change"),
    ("optimizer.partial*", r"no optimizer has|not in|left out|missing|holds", r"optimizer|parameters|did not change"),
    ("optimizer.none", r"no optimizer", r"optimizer|" + _NO_LEARNING),
    ("optimizer.state*", r"state|moment", r"optimizer"),
    ("optimizer.step-skipped", r"step", r"optimizer|" + _NO_LEARNING),
    ("optimizer.drops-update", r"step|update|put back|did not change|has changed", r"optimizer|" + _NO_LEARNING),
    ("optimizer.*", r"optimizer|SGD|Adam", r"rate|step"),
    ("precision.*", r"half|float16|bfloat16|precision|16-", r"round|type"),
    ("process.*", r"SIGTERM|signal|terminat|stop|ends?", r"process|step"),
    ("random.reseeded*", r"seed|same random|same numbers", r"random|dropout"),
    ("random.*", r"seed|determin|random", r"differ"),
    ("return.none", r"returns? None|Return the loss", _NO_LEARNING),
    ("return.*", r"new(ly)? (tensor|created)|by hand|no graph|returns", _NOT_FINITE + "|" + _NO_LEARNING),
    ("scheduler.*", r"schedul|learning rate|warm", r"rate|step"),
    ("setting.learning-rate*", r"learning rate|rate", r"update|step|" + _NO_LEARNING),
    ("setting.clip*", r"clip", _GRADIENTS + "|" + _NO_LEARNING),
    ("setting.accum*", r"accumul", r"update|step|" + _NO_LEARNING),
    ("setting.manual*", r"automatic_optimization|manual", _NO_LEARNING),
    ("setting.epochs*", r"max_epochs", r"never|nothing"),
    ("setting.fast-dev*", r"fast_dev_run", r"batch"),
    ("setting.limit*", r"limit_", r"batch|validation"),
    ("setting.overfit*", r"overfit", r"batch"),
    ("setting.steps*", r"max_steps", r"step|end"),
    ("setting.*", r"", r""),
    ("step.runs-twice", r"twice|two|2 times", r"step"),
    ("step.swallow*", r"swallow", r"exception|None|finite"),
    ("step.*stop-iteration*", r"StopIteration|skip", r"epoch|end"),
    ("step.skips*", r"-1|skip", r"epoch|batch"),
    ("step.system-exit", r"SystemExit|sys\.exit|exits?", r"end"),
    ("step.validation-renamed", r"validation_step|validation never", r"validation"),
    ("step.*", r"step", r"epoch|end"),
    ("weights.*frozen*", r"frozen|requires_grad|unfreeze", r"did not change|still|gradient"),
    ("weights.*nan", r"(weight|parameter|buffer).*(NaN|finite)|NaN", _NOT_FINITE),
    ("weights.decayed", r"weights?.*(put|scale|decay|chang|shrink|outside|between steps)", r"weights"),
    (
        "weights.*",
        r"weights?.*(chang|put|initial|again|outside|between|written|flip|noise)|WeightsIntact",
        r"weights|neuron",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """The judgment of the findings on one injected fault: ``kind`` is named, vaguer, wrong cause or nothing."""

    mode: str
    kind: str
    findings: tuple[str, ...]


KINDS = ("named", "vaguer", "wrong cause", "nothing")


def judged(mode: str, found: Sequence[Finding], healthy: Sequence[Finding]) -> Verdict:
    """Compare the findings under a fault, except those on the healthy training, with what the fault breaks."""
    usual = {(one.check, one.what) for one in healthy}
    new = [one for one in found if one.verdict != OK and (one.check, one.what) not in usual]
    texts = tuple(f"{one.check}: {one.what} ({one.evidence})" for one in new)
    named, vague = next((entry[1:] for entry in ENTRIES if fnmatchcase(mode, entry[0])), ("", ""))
    kind = "nothing"
    if texts:
        kind = "wrong cause"
        # A finding further down is read by nobody.
        if any(_says(vague, text) for text in texts[:3]):
            kind = "vaguer"
        if any(_says(named, text) for text in texts[:2]):
            kind = "named"
    return Verdict(mode, kind, texts)


def _says(pattern: str, text: str) -> bool:
    return bool(pattern) and re.search(pattern, text, re.IGNORECASE | re.DOTALL) is not None
