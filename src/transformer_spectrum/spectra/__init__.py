"""Spectra of weight matrices and what is measured on them."""
