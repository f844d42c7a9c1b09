"""Support vector machines: dual solvers and the decision function."""
