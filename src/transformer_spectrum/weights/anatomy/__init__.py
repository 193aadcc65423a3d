"""What the tensors of a foreign model are: their families, and the matrices inside them."""
