"""Files of weights -> named tensors, one at a time: safetensors, what torch.save wrote, or a Hugging Face folder.

Nothing in a file is executed. What a file is, its content says (`kinds`); a pickle's objects get stand-ins
(`pickles`); which of the tensors are the model is chosen (`contents`, `choice`) and the rest is listed.
"""

from transformer_spectrum.weights.files.choice import Choice, Model, tensors_of
from transformer_spectrum.weights.files.folders import Checkpoint, open_checkpoint
from transformer_spectrum.weights.files.readers import SafetensorsFile, StateDictFile
from transformer_spectrum.weights.files.stored import FLOATING, Beside, Stored, WeightFile, natural

__all__ = [
    "FLOATING",
    "Beside",
    "Checkpoint",
    "Choice",
    "Model",
    "SafetensorsFile",
    "StateDictFile",
    "Stored",
    "WeightFile",
    "natural",
    "open_checkpoint",
    "tensors_of",
]
