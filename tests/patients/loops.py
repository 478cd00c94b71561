"""Ill training loops without a Trainer, each after a mistake that people make, with what a right diagnosis says.

Every one is a healthy script with one or two places changed; the script without the change is its healthy twin.
"""

from __future__ import annotations

from tests.patients.loop_scripts import BINARY, CLASSIFIER, IMAGES, PLAIN, REGRESSION, Ill

ZERO, BACKWARD, STEP = "        optimizer.zero_grad()\n", "        loss.backward()\n", "        optimizer.step()\n"
ILL = [
    Ill("no-zero-grad", PLAIN, [(ZERO, "")], "never cleared", "zero_grad"),
    Ill("no-step", PLAIN, [(STEP, "")], "never stepped", r"optimizer\.step\(\)"),
    Ill("no-backward", CLASSIFIER, [(BACKWARD, "")], "backward is never called", r"loss\.backward\(\)"),
    Ill(
        "step-without-parentheses",
        CLASSIFIER,
        [("optimizer.step()", "optimizer.step")],
        r"never stepped.*without parentheses",
        r"optimizer\.step\(\)",
    ),
    Ill(
        "optimizer-of-another-model",
        CLASSIFIER,
        [("for epoch in range(4):", "model = Net()\nfor epoch in range(4):")],
        "optimizer holds .* no .*model",
        "after the model",
    ),
    Ill(
        "head-replaced-after-the-optimizer",
        CLASSIFIER,
        [("for epoch in range(4):", "model.head = nn.Linear(32, 3)\nfor epoch in range(4):")],
        r"head\.(weight|bias).*no optimizer|no optimizer.*head",
        "after",
    ),
    Ill(
        "loss-made-again",
        PLAIN,
        [
            (
                "        loss.backward()",
                "        loss = torch.tensor(loss.item(), requires_grad=True)\n        loss.backward()",
            )
        ],
        "no graph leads from the loss",
        "item",
    ),
    Ill(
        "forward-under-no-grad",
        CLASSIFIER,
        [
            (
                "        loss = criterion(model(x), y)",
                "        with torch.no_grad():\n            scores = model(x)\n"
                "        loss = criterion(scores, y).requires_grad_()",
            )
        ],
        "no graph leads from the loss",
        "no_grad",
    ),
    Ill(
        "data-in-forward",
        CLASSIFIER,
        [("x = F.relu(self.norm(self.hidden(x)))", "x = F.relu(self.norm(self.hidden(x))).data")],
        r"hidden.*no graph|no graph.*hidden",
        r"\.data",
    ),
    Ill(
        "eval-all-the-time",
        CLASSIFIER,
        [("    model.train()\n", ""), ("for epoch in range(4):", "model.eval()\nfor epoch in range(4):")],
        "eval mode",
        r"model\.train\(\)",
    ),
    Ill(
        "eval-never-left",
        CLASSIFIER,
        [("    model.train()\n", "")],
        "eval mode after the .*validation",
        r"model\.train\(\)",
    ),
    Ill("validation-in-training-mode", CLASSIFIER, [("    model.eval()\n", "")], "in validation", r"train\(\)"),
    Ill("rate-too-high", PLAIN, [("lr=0.1", "lr=30.0")], "learning rate.*lr=30", "rate"),
    Ill("rate-too-high-for-adam", CLASSIFIER, [("lr=0.01", "lr=20.0")], "learning rate.*20.*diverge", "rate"),
    Ill("rate-too-low", PLAIN, [("lr=0.1", "lr=0.0000001")], "learning rate.*lr=1e-07", "rate"),
    Ill(
        "schedule-per-batch",
        CLASSIFIER,
        [
            ("    scheduler.step()\n", ""),
            ("        optimizer.step()\n", "        optimizer.step()\n        scheduler.step()\n"),
        ],
        "learning rate.*every batch|every batch.*learning rate",
        "once per epoch|after each epoch",
    ),
    Ill(
        "softmax-before-cross-entropy",
        CLASSIFIER,
        [("return self.head(self.drop(x))", "return F.softmax(self.head(self.drop(x)), dim=1)")],
        "softmax",
        "logits",
    ),
    Ill(
        "labels-shuffled",
        PLAIN,
        [("    y = x[:, :3].argmax(dim=1)", "    y = x[:, :3].argmax(dim=1)[torch.randperm(number)]")],
        "does not tell the targets",
        "inputs beside their targets",
    ),
    Ill(
        "labels-shifted",
        PLAIN,
        [("    y = x[:, :3].argmax(dim=1)", "    y = x[:, :3].argmax(dim=1).roll(1)")],
        "labels.*shifted|label.*(previous|next) sample",
        "same index|same order|offset",
    ),
    Ill(
        "constant-inputs",
        PLAIN,
        [("    return x, y", "    return x[:1].expand_as(x).clone(), y")],
        "inputs.*(same|constant)",
        "dataset|inputs",
    ),
    Ill(
        "inputs-not-normalised",
        IMAGES,
        [("loader = DataLoader(", "images = images * 3000 + 20000\nloader = DataLoader(")],
        "inputs.*(scale|normal|standard)",
        "normali|standardi|subtract",
    ),
    Ill(
        "softmax-over-the-batch",
        CLASSIFIER,
        [
            ("criterion = nn.CrossEntropyLoss()", "criterion = nn.NLLLoss()"),
            ("return self.head(self.drop(x))", "return F.log_softmax(self.head(self.drop(x)), dim=0)"),
        ],
        "depends on the other samples of its batch",
        "order of dimensions",
    ),
    Ill(
        "argmax-over-the-batch",
        PLAIN,
        [
            ("batch_size=64", "batch_size=3"),
            ("number, seed):", "number, seed):\n    number -= number % 3"),
            ("predicted = model(inputs).argmax(dim=1)", "predicted = model(inputs).argmax(dim=0)"),
        ],
        "argmax.*dim.*0.*(batch|samples)",
        "dim=1|dim=-1",
    ),
    Ill(
        "exception-swallowed",
        CLASSIFIER,
        [
            (
                "        optimizer.zero_grad()\n        loss = criterion(model(x), y)\n",
                "        try:\n            loss = criterion(model(x.T), y)\n"
                "        except Exception:\n            continue\n        optimizer.zero_grad()\n",
            )
        ],
        "RuntimeError is raised in line .* swallowed",
        "in_features.*catch only",
    ),
    Ill(
        "no-batches",
        CLASSIFIER,
        [("batch_size=32, shuffle=True", "batch_size=1024, shuffle=True, drop_last=True")],
        "no batch.*drop_last|drop_last.*no batch",
        "batch_size|drop_last",
    ),
    Ill(
        "validates-on-the-training-set",
        CLASSIFIER,
        [("validation = DataLoader(validation_set", "validation = DataLoader(train_set")],
        "validation samples also occur in training",
        "splits are disjoint",
    ),
    Ill(
        "left-frozen",
        CLASSIFIER,
        [
            (
                "criterion = nn.Cross",
                "for p in model.parameters():\n    p.requires_grad = False\n"
                "model.head.requires_grad_(True)\ncriterion = nn.Cross",
            )
        ],
        r"requires_grad is False: hidden\.weight",
        "requires_grad",
    ),
    Ill(
        "zero-grad-before-the-step",
        PLAIN,
        [(STEP, "        optimizer.zero_grad()\n        optimizer.step()\n")],
        "cleared between backward and the step",
        "after.*step|before.*backward",
    ),
    Ill(
        "graph-grows",
        CLASSIFIER,
        [
            ("    model.train()\n", "    model.train()\n    total = 0\n"),
            ("        loss.backward()", "        total = total + loss\n        total.backward(retain_graph=True)"),
            ("        optimizer.step()", "        pass"),
            ("    scheduler.step()\n", "    optimizer.step()\n    scheduler.step()\n"),
        ],
        "graph.*grows|earlier (steps|batches)",
        r"detach|item",
    ),
    Ill(
        "clipped-to-zero",
        PLAIN,
        [(STEP, "        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n        optimizer.step()\n")],
        "clip",
        "norm|clip",
    ),
    Ill(
        "dead-relu",
        PLAIN,
        [
            (
                "    criterion = nn.CrossEntropyLoss()",
                "    for layer in model.net[:3:2]:\n        nn.init.constant_(layer.bias, -50.0)\n"
                "    criterion = nn.CrossEntropyLoss()",
            )
        ],
        "relu.*(dead|0 for every|always 0)",
        "bias|init",
    ),
    Ill(
        "summed-loss",
        PLAIN,
        [("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(reduction='sum')"), ("lr=0.1", "lr=0.5")],
        "sum.*batch|reduction",
        "mean",
    ),
    Ill(
        "batches-of-one",
        CLASSIFIER,
        [("batch_size=32", "batch_size=1")],
        "BatchNorm.*(one sample|batch of 1|more than 1)|more than 1 value",
        "batch",
    ),
    Ill(
        "target-broadcast",
        REGRESSION,
        [("model(x[batch]).squeeze(1)", "model(x[batch])")],
        r"compares shapes \(40, 1\) and \(40,\)",
        "same shape",
    ),
    Ill(
        "sigmoid-twice",
        BINARY,
        [("nn.Linear(16, 1))", "nn.Linear(16, 1), nn.Sigmoid())")],
        "output of a sigmoid",
        "logits",
    ),
    Ill(
        "model-made-in-every-epoch",
        PLAIN,
        [
            (
                "        loss = train_epoch(",
                "        model = MLP()\n        optimizer = optim.SGD(model.parameters(), lr=0.1)\n"
                "        loss = train_epoch(",
            )
        ],
        "made (again|anew)|new model",
        "before the loop|once",
    ),
    Ill(
        "sorted-by-label",
        PLAIN,
        [
            ("    return x, y", "    order = y.argsort()\n    return x[order], y[order]"),
            ("batch_size=32, shuffle=True", "batch_size=32"),
        ],
        "sorted by label",
        "shuffle=True",
    ),
    Ill(
        "clipped-before-backward",
        PLAIN,
        [(BACKWARD, "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n        loss.backward()\n")],
        "clipped before backward",
        r"between loss\.backward",
    ),
    Ill(
        "schedule-of-another-optimizer",
        CLASSIFIER,
        [
            (
                "for epoch in range(4):",
                "optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\nfor epoch in range(4):",
            )
        ],
        "StepLR changes the rate of an optimizer that is never stepped",
        "optimizer that the loop steps",
    ),
    Ill(
        "backward-after-the-batches",
        PLAIN,
        [
            (BACKWARD, ""),
            (STEP, ""),
            ("    return total / max", "    loss.backward()\n    optimizer.step()\n    return total / max"),
        ],
        "of 16 batches, only the last one",
        "indent",
    ),
    Ill(
        "time-where-the-batch-is",
        CLASSIFIER,
        [
            ("self.hidden = nn.Linear(10, 32)", "self.hidden = nn.RNN(1, 32)"),
            ("self.norm(self.hidden(x))", "self.norm(self.hidden(x.unsqueeze(2))[0][:, -1])"),
        ],
        "output for a sample depends on the other samples",
        "batch_first=True",
    ),
    Ill(
        "threshold-of-logits",
        BINARY,
        [
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n    with torch.no_grad():\n"
                "        hits = ((model(x) > 0.5).float() == y).sum()\n",
            )
        ],
        "compares the model's output with 0.5",
        "output > 0",
    ),
]
