"""Statistics that compare the trainings of one run, made of the tables that `of_training` has written."""
