"""How far endpoints stand from their nulls: the ranks in spreads of the null, the exponents with D and a null."""
