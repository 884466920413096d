"""The Executor: one invocation runs a static schedule, its part of the graph."""
