"""Errors of layers and losses: shapes, types and ranges."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

_CLASSES = "cross_entropy takes logits of shape (batch, classes) and labels of shape (batch,) as int64"

ERRORS = [
    Known(
        r"value cannot be converted to type \S*(?P<type>Half|BFloat16) without overflow",
        "a number in the code is beyond the range of half precision ({type}), which ends at 65504 for float16",
        'Use float("-inf"), torch.finfo(scores.dtype).min or -1e4 for masks; or precision="bf16-mixed".',
        "sktime/pytorch-forecasting#285",
    ),
    Known(
        r"mat1 and mat2 must have the same dtype, but got Double and Float|expected (?:m1 and m2|scalar type) "
        r".*(?:Float but found Double|Double but found Float|double != float|float != double)|Input type \(double\) "
        r"and",
        "the batch is float64 (double, as numpy creates it) but the weights are float32",
        "Convert it in the dataset: tensor.float(), or array.astype('float32').",
        "OUCMachineLearning/OUCML#24",
    ),
    Known(
        r"mat1 and mat2 must have the same dtype, but got Float and (?P<a>Half|BFloat16)|Input type \(float\) and "
        r"(?:bias|weight) type \((?:struct )?c10::(?P<b>Half|BFloat16)\)",
        "the batch is float32 but the weights are in half precision ({a}{b})",
        "Remove .half() or .bfloat16() from the model, and let the Trainer choose where half precision is safe: "
        'precision="16-mixed" or "bf16-mixed".',
        "NZWANG/YOLOV7-AC#2",
    ),
    Known(
        r"Input type \(torch\.cuda\.\w+\) and (?:bias|weight) type \(torch\.\w+\) should be the same",
        "the batch is on the GPU but this layer's weights are not: only registered parts of the module are moved, "
        "and a layer in a plain list or dict, or one that forward creates, is not registered",
        "Store the layers in nn.ModuleList or nn.ModuleDict, or as an attribute assigned in __init__.",
        "rish-16/tokenlearner-pytorch#4",
    ),
    Known(
        r"Input type \(torch\.\w+\) and (?:bias|weight) type \(torch\.cuda\.\w+\) should be the same",
        "the weights are on the GPU but the layer's input is not: it was created in a step or in forward, or is a "
        "part of the batch that was not moved",
        "Create it on the right device: torch.zeros(..., device=self.device); or move it: x.to(self.device).",
        "hzhupku/DCNet#10",
    ),
    Known(
        r"mat1 and mat2 must have the same dtype, but got (?P<a>\w+) and (?P<b>\w+)|Input type \((?P<c>[^)]+)\) and "
        r"(?:bias|weight) type \((?P<d>[^)]+)\) should be the same",
        "the batch has type {a}{c} but the weights {b}{d}",
        "Convert it in the dataset: tensor.float(); images to [0, 1] with ToTensor() or / 255.",
        "pytorch/pytorch#2458",
    ),
    Known(
        r"mat1 and mat2 shapes cannot be multiplied \((?P<a>\d+)x(?P<b>\d+) and (?P<c>\d+)x(?P<d>\d+)\)",
        "a Linear layer with {c} inputs gets {b} ({a} rows)",
        "Set in_features={b}, or flatten its input to {c} values per sample: x.flatten(1).",
        "liyuantsao/BFSR#7",
    ),
    Known(
        r"Found dtype (?P<a>\w+) but expected (?P<b>\w+)",
        "the loss compares different types: the target is not float32 like the prediction (one is {a}, the other {b})",
        "Convert the target: y.float().",
        "huggingface/sentence-transformers#770",
    ),
    Known(
        r"expected scalar type Long but found (?P<a>\w+)|expected target dtype to be Long or Byte, but got "
        r"(?P<c>\w+)|nll_loss\w* not implemented for '(?P<b>\w+)'",
        "the labels are {a}{b}{c}, but class numbers are expected",
        "Convert them: y.long(). For a regression, use mse_loss.",
        "patrickloeber/pytorch-chatbot#17",
    ),
    Known(
        r"Expected floating point type for target with class probabilities, got (?P<type>\w+)",
        f"the labels ({{type}}) have the shape of the logits, which means class probabilities: {_CLASSES}",
        "Pass class numbers of shape (batch,): y.argmax(1) for one-hot labels, y.squeeze(1) for a column; or "
        "y.float() for probabilities. If the model has one output per sample, use BCEWithLogitsLoss and y.float().",
        "George730/E-ResGAT#5",
    ),
    Known(
        r"IndexError: Target (?P<label>-?\d+) is out of bounds",
        "the label {label} is not among the classes of the last layer, which are numbered from 0",
        "Give the last layer as many outputs as there are classes, and use labels 0 to classes - 1; pass a label "
        "that should not count, such as -1 or 255, to the loss as ignore_index.",
        "TencentGameMate/gnn_cross_lingual#5",
    ),
    Known(
        r"0D or 1D target tensor expected, multi-target not supported",
        f"the labels have one dimension too many: {_CLASSES}",
        "Write y.squeeze(1) for a column, y.argmax(1) for one-hot labels.",
        "Vidhiwar/multimodule-ecg-classification#4",
    ),
    Known(
        r"Expected input batch_size \((?P<a>\d+)\) to match target batch_size \((?P<b>\d+)\)",
        "the loss gets {a} predictions and {b} labels: a view or flatten has mixed up the batch dimension",
        "Keep the batch dimension first: x.flatten(1), or x.view(x.size(0), -1). Images of a different size than "
        "the model was written for cause this at x.view(-1, features).",
        "uoguelph-mlrg/Cutout#16",
    ),
    Known(
        r"Expected target size (?P<a>\[[^\]]*\]), got (?P<b>\[[^\]]*\])",
        "the labels have shape {b}, but the logits need {a}: classes are the second dimension of the logits",
        "Move them there: logits.transpose(1, 2) for sequences, permute(0, 3, 1, 2) for images.",
        "sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning#195",
    ),
    Known(
        r"Using a target size \(torch\.Size\((?P<b>\[[^\]]*\])\)\) that is different to the input size "
        r"\(torch\.Size\((?P<a>\[[^\]]*\])\)\)|Target size \(torch\.Size\((?P<c>\[[^\]]*\])\)\) must be the same as "
        r"input size \(torch\.Size\((?P<d>\[[^\]]*\])\)\)",
        "the loss compares a prediction of shape {a}{d} with a target of shape {b}{c}",
        "Give both the same shape: prediction.squeeze(1), or y.unsqueeze(1).",
        "deepset-ai/FARM#229",
    ),
    Known(
        r"all elements of (?:input|target) should be between 0 and 1",
        "BCELoss gets values that are not probabilities: raw outputs of the last layer, labels other than 0 and 1, "
        "or NaN",
        "Use BCEWithLogitsLoss on the raw outputs, or a sigmoid before BCELoss; labels are 0 or 1. If it happens "
        "only after some steps, look for NaN first: the learning rate may be too high.",
        "ray-project/ray#17117",
    ),
    Known(
        r"IndexError: index out of range in self",
        "an Embedding gets an index that is not below num_embeddings, or a negative one",
        "Set num_embeddings to the largest index + 1; look for padding of -1 or -100; and truncate texts that are "
        "longer than the model's positions.",
        "allenai/longformer#187",
    ),
    Known(
        r"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
        r"torch\.(?:cuda\.)?(?P<type>\w+)",
        "an Embedding gets {type} instead of integers: they were not converted, or they come from another layer",
        "Convert the indices: x.long(). An Embedding comes first: two of them can't follow each other in "
        "nn.Sequential, and each takes its own column.",
        "pytorch/pytorch#116598",
    ),
    Known(
        r"Expected \d+D \(unbatched\) or \d+D \(batched\) input to (?P<op>\w+), but got input of size: "
        r"?(?P<size>\[[^\]]*\])",
        "{op} gets a tensor of shape {size}, with the wrong number of dimensions",
        "Pass it (batch, channels, ...): x.unsqueeze(1) adds the channel of gray images. Volumes and videos have "
        "one more dimension, and need Conv3d.",
        "huggingface/pytorch-image-models#1854",
    ),
    Known(
        r"Given groups=\d+, weight of size (?P<w>\[[^\]]*\]), expected input(?P<size>\[[^\]]*\]) to have (?P<a>\d+) "
        r"channels, but got (?P<b>\d+) channels",
        "a convolution for {a} channels gets an input with {b} (shape {size})",
        "Set in_channels={b}, or move the channels to the second place: x.permute(0, 3, 1, 2).",
        "zshuai8/FedGMM_ICML2023#2",
    ),
    Known(
        r"Kernel size can't be greater than actual input size|Output size is too small",
        "the images have become smaller than the layer's window",
        "Use larger images, less pooling, or padding.",
        "XPixelGroup/BasicSR#249",
    ),
    Known(
        r"view size is not compatible with input tensor's size and stride",
        "view needs a contiguous tensor, which it is not after permute or transpose",
        "Write reshape instead of view.",
        "RAIVNLab/STR#4",
    ),
    Known(
        r"shape '(?P<shape>\[[^\]]*\])' is invalid for input of size (?P<n>\d+)",
        "{n} values can't be viewed as {shape}: the size in the code does not match the data",
        "Keep the batch size and let torch compute the rest: x.flatten(1), or x.view(x.size(0), -1).",
        "pytorch/pytorch#38469",
    ),
    Known(
        r"The size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\) at non-singleton "
        r"dimension (?P<d>\d+)",
        "two tensors are combined, but dimension {d} is {a} in one and {b} in the other",
        "Check both shapes at that line; predictions and targets must have the same. If they are 4 and 3, an image "
        "has an alpha channel: open it with .convert('RGB').",
        "VITA-Group/ShapeMatchingGAN#23",
    ),
    Known(
        r"input\.size\(-1\) must be equal to input_size\. Expected (?P<a>\d+), got (?P<b>\d+)",
        "the recurrent layer is made for {a} features per step but gets {b}",
        "Set input_size={b}; for (batch, time, features) also set batch_first=True.",
        "ljynlp/W2NER#23",
    ),
    Known(
        r"(?:linear|conv\w*|relu|dropout|embedding)\(\): argument '\w+' \(position \d+\) must be Tensor, not "
        r"(?P<type>\w+)",
        "a layer gets a {type}: the batch was not unpacked, the previous layer returns several values (an LSTM "
        "does), or its line ends with a comma",
        "Unpack it: x, y = batch; out, _ = self.lstm(x).",
        "raoyongming/CAL#15",
    ),
    Known(
        r"mean\(\): could not infer output dtype|mean\(\): input dtype should be either floating point",
        "the mean of integers or booleans is requested",
        "Write .float().mean().",
        "pyg-team/pytorch_geometric#7735",
    ),
    Known(
        r"a Tensor with (?P<n>\d+) elements cannot be converted to Scalar",
        ".item() is called on a tensor of {n} values",
        "Call .mean() or .sum() first.",
        "UCSB-NLP-Chang/ULD#1",
    ),
    Known(
        r"Boolean value of Tensor with more than one value is ambiguous",
        "a tensor of several values is used as a yes/no condition, or a loss class is called like a function",
        "Write nn.MSELoss()(a, b) or F.mse_loss(a, b); compare with .all() or .any().",
        "nikhilroxtomar/DDANet#1",
    ),
    Known(
        r"\"?(?P<op>\w+)\"? not implemented for '(?P<type>Half|BFloat16)'",
        "this device can't compute {op} in {type}: train a network in half precision on a GPU",
        'Pass precision="32-true" to the Trainer here, and remove .half(); on a GPU, use precision="16-mixed".',
        "huggingface/transformers#27769",
    ),
    Known(
        r"\"?(?P<op>\w+)\"? not implemented for '(?P<type>\w+)'",
        "torch can't compute {op} for values of type {type}",
        "Convert them: .float().",
        "rasbt/machine-learning-book#144",
    ),
    Known(
        r"Dimension out of range \(expected to be in range of (?P<range>\[[^\]]*\]), but got (?P<d>-?\d+)\)",
        "dimension {d} is requested from a tensor that only has {range}: the batch dimension may have been "
        "squeezed away",
        "Name the dimension in squeeze(1), and check the shape for a batch of one.",
        "ludwig-ai/ludwig#1726",
    ),
    Known(
        r"Tensors must have same number of dimensions: got (?P<a>\d+) and (?P<b>\d+)|Sizes of tensors must match "
        r"except in dimension",
        "cat joins tensors whose other dimensions differ",
        "Give them the same shape except in the joined dimension: use unsqueeze or pad.",
        "JJGO/UniverSeg#21",
    ),
]  # fmt: skip
