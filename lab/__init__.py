"""How the weights come to be and how good they are: the mini world, the training stages, the benchmarks."""
