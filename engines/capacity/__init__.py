"""What fits where: weights, activations and offloading of a preset on a GPU, computed without one."""
