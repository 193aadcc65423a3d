"""How loss functions and optimizers shape the weight spectra of transformers."""

__version__ = "0.1.0"
