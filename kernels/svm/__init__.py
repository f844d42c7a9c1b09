"""Support vector machines: dual solvers, the decision function; the loss of logistic regression."""
